"""A real Pulumi on our language host, provider and plugin, against the record-only API.

One stack lives through the whole file, in order: created, unchanged, refreshed, changed, replaced, damaged by hand,
refused, adopted and destroyed.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.engine import choose

CHECKOUT = Path(__file__).resolve().parents[2]
TOKEN = secrets.token_hex(24)

PROGRAM = """
import sys
from pathlib import Path

import pulumi
import pulumi_digitalocean as do

sys.path.insert(0, {checkout!r})
from infra.hostkey import HostKey

settings = pulumi.Config()
here = Path({folder!r})
if message := settings.get("refuse"):
    raise pulumi.RunError(message)
if settings.get("crash"):
    raise ValueError("a mistake of the program's author")
print("the program says hello")

vpc = do.Vpc("main", name="t-vpc", region="fra1", ip_range="10.31.0.0/24")
tag = do.Tag("tag", name="t-all")
key = do.SshKey("ops", name="t-ops", public_key={public_key!r})
firewall = do.Firewall(
    "wall",
    name="t-wall",
    tags=[tag.name],
    inbound_rules=[
        {{"protocol": "tcp", "port_range": settings.get("port") or "2222", "source_addresses": ["203.0.113.9/32"]}},
        {{"protocol": "icmp", "source_addresses": ["10.31.0.0/24"]}},
    ],
    outbound_rules=[
        {{"protocol": "tcp", "port_range": "all", "destination_addresses": ["::/0", "0.0.0.0/0"]}},
        {{"protocol": "udp", "port_range": "53", "destination_addresses": ["67.207.67.3/32", "67.207.67.2/32"]}},
    ],
)
host_key = HostKey("app-1", settings.get("host") or "app-1")
droplet = do.Droplet(
    "app-1",
    name="app-1",
    image="debian-12-x64",
    region="fra1",
    size=settings.get("size") or "s-1vcpu-1gb",
    vpc_uuid=vpc.id,
    ssh_keys=[key.fingerprint],
    tags=[tag.name],
    user_data=host_key.private_key.apply(lambda key: "#cloud-config\\n#" + key.replace("\\n", "|")),
    opts=pulumi.ResourceOptions(depends_on=[firewall]),
)
certificate = do.Certificate(
    "site",
    name=f"t-site-{{settings.get('certificate') or 1}}",
    private_key=(here / "site.key").read_text(),
    leaf_certificate=(here / "site.pem").read_text(),
    # Its name is ours, so the provider would delete the old one first, which the load balancer still holds.
    opts=pulumi.ResourceOptions(delete_before_replace=False),
)
balancer = do.LoadBalancer(
    "balancer",
    name="t-balancer",
    region="fra1",
    vpc_uuid=vpc.id,
    droplet_ids=[droplet.id.apply(int)],
    redirect_http_to_https=True,
    tls_cipher_policy="STRONG",
    http_idle_timeout_seconds=settings.get_int("idle") or 60,
    forwarding_rules=[
        {{
            "entry_protocol": "https",
            "entry_port": 443,
            "target_protocol": "https",
            "target_port": 443,
            "certificate_name": certificate.name,
        }}
    ],
    healthcheck={{"protocol": "https", "port": 443, "path": "/healthz"}},
    opts=pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create=settings.get("patience"))),
)
grown = settings.get("certificate") == "2"
way_out = do.VpcNatGateway(
    "way-out",
    name="t-out",
    type="PUBLIC",
    region="fra1",
    size=1,
    vpcs=[{{"vpc_uuid": vpc.id, "default_gateway": True}}],
)
alone = do.Droplet(
    "alone",
    name="alone",
    image="debian-12-x64",
    region="fra1",
    size="s-1vcpu-1gb",
    vpc_uuid=vpc.id,
    public_networking=False,
    backups=True,
    backup_policy={{"plan": "daily", "hour": 4}},
    opts=pulumi.ResourceOptions(depends_on=[way_out]),
)
address = do.ReservedIp("app-1", region="fra1", opts=pulumi.ResourceOptions(ignore_changes=["dropletId"]))
do.ReservedIpAssignment("app-1", ip_address=address.ip_address, droplet_id=droplet.id.apply(int))
zone = do.Domain("zone", name="seawall.test")
site = do.DnsRecord("site", domain=zone.name, type="A", name="app", value=balancer.ip, ttl=600 if grown else 300)
do.DnsRecord("caa", domain=zone.name, type="CAA", name="@", value="letsencrypt.org.", flags=0, tag="issue")
project = do.Project(
    "project",
    name="t-project",
    environment="Production",
    resources=[droplet.droplet_urn, zone.domain_urn] if grown else [droplet.droplet_urn],
)
do.MonitorAlert(
    "cpu",
    description="hot",
    type="v1/insights/droplet/cpu",
    compare="GreaterThan",
    value=80.5 if grown else 90,
    window="5m",
    tags=[tag.name],
    alerts={{"emails": ["ops@example.com"]}},
)
check = do.UptimeCheck("site", name="t-site", target="https://app.seawall.test/", type="https", regions=["eu_west"])
do.UptimeAlert(
    "ends",
    name="t-ends",
    check_id=check.id,
    type="ssl_expiry",
    threshold=30 if grown else 21,
    comparison="less_than",
    period="1h",
    notifications=[{{"emails": ["ops@example.com"]}}],
)
if found := settings.get("found"):
    do.Vpc("found", name="by-hand", region="fra1", ip_range="10.99.0.0/24", opts=pulumi.ResourceOptions(import_=found))
if region := settings.get("nowhere"):
    do.Vpc("nowhere", name="nowhere", region=region)
if ports := settings.get("ports"):
    do.Firewall("odd", name="odd", inbound_rules=[{{"protocol": "tcp", "port_range": ports}}])
pulumi.export("ip", droplet.ipv4_address)
pulumi.export("host_key", host_key.public_key)
pulumi.export("certificate", certificate.uuid)
pulumi.export("names", [site.fqdn, way_out.egresses[0].public_gateways[0].ipv4, alone.ipv4_address])
"""


GROWN = {"size": "s-1vcpu-2gb", "certificate": "2"}
"""What the stack has become half-way; a disk cannot shrink again."""


@dataclass
class Stack:
    """A throw-away project, its state and the API it talks to."""

    folder: Path
    environment: dict[str, str]
    api: httpx.Client

    def pulumi(self, *words: str, succeeds: bool = True, **environment: str) -> str:
        """Run pulumi and return everything it printed."""
        ended = subprocess.run(
            ["pulumi", "--non-interactive", "--color", "never", *words],
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert (ended.returncode == 0) is succeeds, ended.stdout
        return ended.stdout

    def set(self, **settings: str) -> None:
        """Exactly these settings, none of those set before."""
        file = self.folder / "Pulumi.test.yaml"
        found = yaml.safe_load(file.read_text())
        found["config"] = {f"engine-test:{name}": value for name, value in settings.items()}
        file.write_text(yaml.safe_dump(found))

    def up(self, *words: str, succeeds: bool = True, **environment: str) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", *words, succeeds=succeeds, **environment)

    def droplet(self, name: str) -> dict[str, Any]:
        return next(each for each in self.get("/v2/droplets")["droplets"] if each["name"] == name)

    def state(self) -> dict[str, dict[str, Any]]:
        """The resources in the state by ``type name``."""
        found = json.loads(self.pulumi("stack", "export"))["deployment"].get("resources", [])
        return {f"{r['type'].split(':')[-1]} {r['urn'].split('::')[-1]}": r for r in found}

    def get(self, path: str) -> Any:
        answer = self.api.get(path)
        answer.raise_for_status()
        return answer.json()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _certificate(folder: Path) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app.seawall.test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("app.seawall.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    (folder / "site.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / "site.pem").write_bytes(certificate.public_bytes(pem))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder, port = tmp_path_factory.mktemp("api"), _free_port()
    token = folder / "token"
    with open(token, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(TOKEN)
    words = ["--record-only", "--port", str(port), "--data", str(folder), "--token-file", str(token)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.api", *words], cwd=CHECKOUT, stdout=log, stderr=log
        )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            deadline = time.monotonic() + 20
            while True:
                try:
                    client.get("/v2/account").raise_for_status()
                    break
                except httpx.HTTPError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        pytest.fail(f"the API did not start: {(folder / 'log').read_text()}")
                    time.sleep(0.05)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@pytest.fixture(scope="module")
def stack(api: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    toolchain = choose.toolchain()
    if not toolchain.engine.ready or not toolchain.engine.path:
        pytest.skip(f"no Pulumi engine here yet: {toolchain.engine.remedy}")
    folder = tmp_path_factory.mktemp("project")
    _certificate(folder)
    public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8UyYrJ1PVRkDd5uLhm7qL4vTk4mFkxlpNcRgrDbpN9 ops\n"
    (folder / "infra").mkdir()
    (folder / "state").mkdir()
    (folder / "infra" / "__main__.py").write_text(
        PROGRAM.format(checkout=str(CHECKOUT), folder=str(folder), public_key=public_key)
    )
    (folder / "Pulumi.yaml").write_text(
        json.dumps(
            {
                "name": "engine-test",
                "runtime": {"name": "python", "options": {"virtualenv": ".venv"}},
                "main": "infra",
                "plugins": {
                    "providers": [{"name": "seawall", "path": str(CHECKOUT / "infra" / "provider")}],
                },
            }
        )
    )
    path = [choose.BIN, toolchain.engine.path.parent, Path(sys.executable).parent]
    environment = {
        "PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]]),
        "HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder}/state",
        "PULUMI_CONFIG_PASSPHRASE": "only for this test",
        "PULUMI_STACK": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "DIGITALOCEAN_API_URL": str(api.base_url),
        "DIGITALOCEAN_TOKEN": TOKEN,
    }
    found = Stack(folder, environment, api)
    found.pulumi("stack", "init", "test")
    return found


def test_a_token_is_asked_for_before_anything_is_created(stack: Stack) -> None:
    said = stack.pulumi("preview", succeeds=False, DIGITALOCEAN_TOKEN="")
    assert "There is no DigitalOcean token. Set DIGITALOCEAN_TOKEN" in said
    assert "Traceback" not in said


def test_a_preview_creates_nothing(stack: Stack) -> None:
    assert "20 to create" in stack.pulumi("preview")
    assert stack.get("/v2/droplets")["droplets"] == []


def test_a_creation_that_is_not_ready_in_time_stays_in_the_state(stack: Stack) -> None:
    stack.set(patience="1ms")
    said = stack.up(succeeds=False)
    assert "Waiting for the load balancer t-balancer to be ready took longer than" in said
    assert stack.state()["LoadBalancer balancer"]["initErrors"]
    stack.set()
    stack.up()
    assert "initErrors" not in stack.state()["LoadBalancer balancer"]
    assert len(stack.get("/v2/load_balancers")["load_balancers"]) == 1


def test_everything_is_as_declared(stack: Stack) -> None:
    droplet = stack.droplet("app-1")
    assert (droplet["name"], droplet["size_slug"], droplet["tags"]) == ("app-1", "s-1vcpu-1gb", ["t-all"])
    assert droplet["status"] == "active"
    (balancer,) = stack.get("/v2/load_balancers")["load_balancers"]
    outputs = json.loads(stack.pulumi("stack", "output", "--json"))
    assert balancer["forwarding_rules"][0]["certificate_id"] == outputs["certificate"]
    assert (balancer["tls_cipher_policy"], balancer["droplet_ids"]) == ("STRONG", [droplet["id"]])
    (wall,) = stack.get("/v2/firewalls")["firewalls"]
    assert wall["status"] == "succeeded"
    assert {rule["ports"] for rule in wall["outbound_rules"]} == {"0", "53"}
    assert outputs["host_key"].startswith("ssh-ed25519 AAAA")


def test_the_environment_is_as_declared(stack: Stack) -> None:
    droplet, alone = stack.droplet("app-1"), stack.droplet("alone")
    assert [each["type"] for each in alone["networks"]["v4"]] == ["private"]
    assert "backups" in alone["features"]
    (reserved,) = stack.get("/v2/reserved_ips")["reserved_ips"]
    assert reserved["droplet"] == {"id": droplet["id"], "name": "app-1"}
    (gateway,) = stack.get("/v2/vpc_nat_gateways")["vpc_nat_gateways"]
    (balancer,) = stack.get("/v2/load_balancers")["load_balancers"]
    outputs = json.loads(stack.pulumi("stack", "output", "--json"))
    out = gateway["egresses"]["public_gateways"][0]["ipv4"]
    assert outputs["names"] == ["app.seawall.test", out, ""]
    records = stack.get("/v2/domains/seawall.test/records")["domain_records"]
    found = {(each["type"], each["name"]): (each["data"], each["ttl"]) for each in records}
    assert found["A", "app"] == (balancer["ip"], 300)
    assert found["CAA", "@"] == ("letsencrypt.org.", 1800)
    project = next(each for each in stack.get("/v2/projects")["projects"] if each["name"] == "t-project")
    inside = stack.get(f"/v2/projects/{project['id']}/resources")["resources"]
    assert [each["urn"] for each in inside] == [f"do:droplet:{droplet['id']}"]
    (alert,) = stack.get("/v2/monitoring/alerts")["policies"]
    assert (alert["value"], alert["tags"], alert["alerts"]["email"]) == (90, ["t-all"], ["ops@example.com"])
    (check,) = stack.get("/v2/uptime/checks")["checks"]
    (ends,) = stack.get(f"/v2/uptime/checks/{check['id']}/alerts")["alerts"]
    assert (ends["type"], ends["threshold"]) == ("ssl_expiry", 21)


def test_the_state_is_written_as_the_official_provider_writes_it(stack: Stack) -> None:
    state = stack.state()
    droplet = state["Droplet app-1"]
    assert droplet["inputs"]["__defaults"] == ["resizeDisk"]
    assert json.loads(droplet["outputs"]["__meta"]) == {
        "e2bfb730-ecaa-11e6-8f88-34363bc7c4c0": {
            "create": 3600 * 10**9,
            "update": 3600 * 10**9,
            "delete": 60 * 10**9,
        },
        "schema_version": "1",
    }
    certificate = state["Certificate site"]
    assert certificate["id"] == certificate["outputs"]["name"] == "t-site-1"
    assert certificate["outputs"]["domains"] == ["app.seawall.test"]
    rule = state["LoadBalancer balancer"]["outputs"]["forwardingRules"][0]
    assert rule["certificateId"] == rule["certificateName"] == "t-site-1"
    assert state["Firewall wall"]["outputs"]["outboundRules"][0]["portRange"] == "all"


def test_no_secret_lies_in_the_state_in_the_clear(stack: Stack) -> None:
    secret = "".join((stack.folder / "site.key").read_text().splitlines()[1:-1])[:40]
    for file in (path for path in (stack.folder / "state").rglob("*") if path.is_file()):
        content = file.read_text(errors="replace")
        assert secret not in content
        assert "PRIVATE KEY" not in content
        assert "cloud-config" not in content
        assert TOKEN not in content


def test_nothing_changes_and_nothing_is_asked_of_the_cloud(stack: Stack) -> None:
    assert "20 unchanged" in stack.up("--expect-no-changes")


def test_a_refresh_finds_nothing_to_do(stack: Stack) -> None:
    stack.pulumi("refresh", "--yes", "--skip-preview")
    assert "20 unchanged" in stack.pulumi("preview", "--refresh", "--expect-no-changes")


def test_changes_in_place(stack: Stack) -> None:
    before = stack.state()
    stack.set(size="s-1vcpu-2gb", port="2223", idle="90", host="renamed")
    assert "4 updated" in stack.up()
    after = stack.state()
    for name in ("Droplet app-1", "Firewall wall", "LoadBalancer balancer", "HostKey app-1"):
        assert before[name]["id"] == after[name]["id"]
    assert stack.droplet("app-1")["size_slug"] == "s-1vcpu-2gb"
    assert stack.droplet("app-1")["status"] == "active"
    assert stack.get("/v2/load_balancers")["load_balancers"][0]["http_idle_timeout_seconds"] == 90
    ports = {rule["ports"] for rule in stack.get("/v2/firewalls")["firewalls"][0]["inbound_rules"]}
    assert "2223" in ports
    assert before["HostKey app-1"]["outputs"]["publicKey"] == after["HostKey app-1"]["outputs"]["publicKey"]


def test_an_attached_certificate_is_replaced_new_one_first(stack: Stack) -> None:
    stack.set(**GROWN)
    said = stack.up()
    assert "1 replaced" in said
    assert (
        "7 updated" in said
    )  # load balancer, firewall and host key go back; record, project and two alerts grow
    records = stack.get("/v2/domains/seawall.test/records")["domain_records"]
    assert [each["ttl"] for each in records if each["name"] == "app"] == [600]
    (alert,) = stack.get("/v2/monitoring/alerts")["policies"]
    assert alert["value"] == 80.5
    (left,) = stack.get("/v2/certificates")["certificates"]
    assert left["name"] == "t-site-2"
    (balancer,) = stack.get("/v2/load_balancers")["load_balancers"]
    assert balancer["forwarding_rules"][0]["certificate_id"] == left["id"]


def test_what_was_changed_and_deleted_by_hand_is_put_back(stack: Stack) -> None:
    droplet = stack.droplet("app-1")
    (wall,) = stack.get("/v2/firewalls")["firewalls"]
    stack.api.delete(f"/v2/firewalls/{wall['id']}").raise_for_status()
    body = {"resources": [{"resource_id": str(droplet["id"]), "resource_type": "droplet"}]}
    stack.api.request("DELETE", "/v2/tags/t-all/resources", json=body).raise_for_status()
    said = stack.up("--refresh")
    assert "1 created" in said
    assert "1 updated" in said
    assert stack.droplet("app-1")["tags"] == ["t-all"]
    assert stack.get("/v2/firewalls")["firewalls"][0]["name"] == "t-wall"


def test_what_is_there_can_be_adopted(stack: Stack) -> None:
    body = {"name": "by-hand", "region": "fra1", "ip_range": "10.99.0.0/24"}
    found = stack.api.post("/v2/vpcs", json=body).json()["vpc"]["id"]
    stack.set(**GROWN, found=found)
    assert "1 imported" in stack.up()
    assert stack.state()["Vpc found"]["id"] == found


def test_refusals_are_one_clear_paragraph(stack: Stack) -> None:
    found = stack.state()["Vpc found"]["id"]
    stack.set(**GROWN, found=found, refuse="The CIDR 8.8.8.0/24 is not private: use one of RFC 1918.")
    said = stack.pulumi("preview", succeeds=False)
    assert "error: The CIDR 8.8.8.0/24 is not private: use one of RFC 1918." in said
    assert "Traceback" not in said
    stack.set(**GROWN, found=found, crash="1")
    said = stack.pulumi("preview", succeeds=False)
    assert "Program failed with an unhandled exception" in said
    assert "ValueError: a mistake of the program's author" in said
    assert "language_host.py" not in said
    stack.set(**GROWN, found=found, ports="http")
    said = stack.up(succeeds=False)
    assert "inboundRules[0].portRange is 'http'; ports are `443`, `8000-8100` or `all`" in said
    stack.set(**GROWN, found=found, nowhere="mars1")
    said = stack.up(succeeds=False)
    assert "DigitalOcean refused creating the VPC nowhere: " in said
    assert "(422 unprocessable_entity" in said
    assert "Correct the value in the stack's settings and run `pulumi up` again." in said
    assert "Traceback" not in said
    said = stack.up(succeeds=False, DIGITALOCEAN_TOKEN="x" * 40)
    assert "The token is missing, wrong or expired" in said


def test_all_is_taken_down(stack: Stack) -> None:
    stack.pulumi("destroy", "--yes", "--skip-preview")
    for kind in (
        "droplets",
        "firewalls",
        "load_balancers",
        "certificates",
        "tags",
        "reserved_ips",
        "domains",
    ):
        assert stack.get(f"/v2/{kind}")[kind] == []
    assert stack.get("/v2/vpc_nat_gateways")["vpc_nat_gateways"] == []
    assert stack.get("/v2/monitoring/alerts")["policies"] == []
    assert stack.get("/v2/uptime/checks")["checks"] == []
    assert [each["is_default"] for each in stack.get("/v2/projects")["projects"]] == [True]
    assert stack.get("/v2/account/keys")["ssh_keys"] == []
    assert [vpc["name"] for vpc in stack.get("/v2/vpcs")["vpcs"] if not vpc["default"]] == []
    assert stack.state() == {}
