"""What the API refuses, and how: status, id, and a sentence that names the thing."""

from __future__ import annotations

import subprocess
from datetime import timedelta

import pytest

from lab.api.limits import Limits

from .api_support import ANYWHERE, Clock, cloud, custom_certificate, ssh_key

IN = {"protocol": "tcp", "ports": "443", "sources": ANYWHERE}
HTTP = {"entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80}
UNKNOWN = "9e1fa2b4-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with cloud(tmp_path_factory.mktemp("refusals") / "api.sqlite3") as lab:
        lab.tag("known")
        yield lab


@pytest.mark.parametrize(
    "path",
    [
        "/v2/account/keys/1",
        "/v2/account/keys/aa:bb",
        "/v2/actions/1",
        "/v2/actions/99999999999999999999999999",
        f"/v2/certificates/{UNKNOWN}",
        "/v2/droplets/1",
        "/v2/droplets/one",
        "/v2/droplets/-1",
        "/v2/droplets/1/actions",
        f"/v2/firewalls/{UNKNOWN}",
        "/v2/images/windows",
        f"/v2/load_balancers/{UNKNOWN}",
        f"/v2/projects/{UNKNOWN}",
        "/v2/tags/nothing",
        f"/v2/vpcs/{UNKNOWN}",
        f"/v2/vpcs/{UNKNOWN}/members",
    ],
)
def test_what_is_not_there_is_404(lab, path):
    assert lab.ask("GET", path, expect=404)["id"] == "not_found"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "under_score"}, "Only valid hostname"),
        ({"name": None}, "name"),
        ({"names": []}, "names"),
        ({"names": [f"n{i}" for i in range(11)]}, "names"),
        ({"region": "mars1"}, "invalid region"),
        ({"size": "s-99"}, "invalid size"),
        ({"image": "windows-95"}, "invalid image"),
        ({"image": 1}, "invalid image"),
        ({"region": "lon1", "size": "s-1vcpu-512mb-10gb"}, "not available in this region"),
        ({"ssh_keys": [4711]}, "4711 are invalid key identifiers"),
        ({"vpc_uuid": UNKNOWN}, "no VPC"),
        ({"user_data": "x" * (64 * 1024 + 1)}, "65536 bytes"),
        ({"user_data": "ä" * (32 * 1024 + 1)}, "65536 bytes"),
        ({"tags": ["no spaces"]}, "tags"),
        ({"ipv6": True}, "ipv6 is not available"),
        ({"volumes": ["x"]}, "volumes is not available"),
        ({"backups": True, "backup_policy": {"plan": "hourly"}}, "backup_policy.plan"),
        ({"ssh_keys": "all"}, "ssh_keys"),
    ],
)
def test_droplets(lab, change, says):
    body = {"name": "app-1", "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-12-x64"} | change
    assert says in lab.ask("POST", "/v2/droplets", body, 422)["message"]
    assert lab.ask("GET", "/v2/droplets")["droplets"] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"inbound_rules": []}, "at least one rule"),
        ({"inbound_rules": [IN] * 51}, "at most 50 rules"),
        ({"droplet_ids": [4711]}, "droplet 4711 does not exist"),
        ({"droplet_ids": list(range(1, 12))}, "at most 10 droplets"),
        ({"tags": ["unheard-of"]}, "'unheard-of' does not exist"),
        ({"name": "x y"}, "name"),
        ({"inbound_rules": [IN | {"protocol": "sctp"}]}, "protocol"),
        ({"inbound_rules": [IN | {"ports": "0-99999"}]}, "ports"),
        ({"inbound_rules": [IN | {"ports": "90-80"}]}, "ports"),
        ({"inbound_rules": [IN | {"ports": ""}]}, "ports"),
        ({"inbound_rules": [IN | {"action": "maybe"}]}, "action"),
        ({"inbound_rules": [IN | {"sources": {}}]}, "must name"),
        ({"inbound_rules": [IN | {"sources": {"addresses": ["10.0.0.0/33"]}}]}, "10.0.0.0/33"),
        ({"inbound_rules": [IN | {"sources": {"load_balancer_uids": [UNKNOWN]}}]}, "load balancer"),
        ({"inbound_rules": [IN | {"sources": {"tags": ["unheard-of"]}}]}, "unheard-of"),
        ({"inbound_rules": [IN | {"sources": {"kubernetes_ids": ["x"], "tags": ["known"]}}]}, "Kubernetes"),
        ({"inbound_rules": {}}, "inbound_rules"),
    ],
)
def test_firewalls(lab, change, says):
    body = {"name": "web", "inbound_rules": [IN]} | change
    assert says in lab.ask("POST", "/v2/firewalls", body, 422)["message"]
    assert lab.ask("GET", "/v2/firewalls")["firewalls"] == []


def test_a_firewall_takes_five_tags(lab):
    for number in range(6):
        lab.tag(f"five-{number}")
    wall = lab.firewall("tagged", tags=[f"five-{number}" for number in range(5)])
    body = {"tags": ["five-5"]}
    assert "5 tags" in lab.ask("POST", f"/v2/firewalls/{wall['id']}/tags", body, 422)["message"]
    assert lab.ask(
        "DELETE", f"/v2/firewalls/{wall['id']}/rules", {"inbound_rules": [IN]}, 422
    )  # the last rule
    assert lab.ask(
        "DELETE", f"/v2/firewalls/{wall['id']}/rules", {"inbound_rules": [IN | {"ports": "1"}]}, 404
    )
    assert (
        lab.ask("POST", "/v2/firewalls", {"name": "tagged", "inbound_rules": [IN]}, 409)["id"] == "conflict"
    )
    lab.ask("DELETE", f"/v2/firewalls/{wall['id']}", expect=204)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"ip_range": "8.8.0.0/16"}, "RFC 1918"),
        ({"ip_range": "10.0.0.0/8"}, "/16 and /28"),
        ({"ip_range": "10.9.0.0/29"}, "/16 and /28"),
        ({"ip_range": "10.9.0.1/24"}, "CIDR"),
        ({"ip_range": "fd00::/16"}, "CIDR"),
        ({"region": "mars1"}, "not a region"),
        ({"name": "no_underscore"}, "name"),
        ({"description": "x" * 256}, "description"),
    ],
)
def test_vpcs(lab, body, says):
    wanted = {"name": "wrong", "region": "fra1", "ip_range": "10.9.0.0/24"} | body
    assert says in lab.ask("POST", "/v2/vpcs", wanted, 422)["message"]


def test_vpcs_do_not_overlap_and_are_not_deleted_under_their_members(lab):
    vpc = lab.vpc("10.30.0.0/20", name="first")
    overlapping = {"name": "second", "region": "ams3", "ip_range": "10.30.8.0/24"}
    assert "overlaps" in lab.ask("POST", "/v2/vpcs", overlapping, 422)["message"]
    same_name = {"name": "first", "region": "fra1", "ip_range": "10.31.0.0/20"}
    assert lab.ask("POST", "/v2/vpcs", same_name, 409)["id"] == "conflict"

    droplet = lab.droplet("member", vpc_uuid=vpc["id"])
    assert "members" in lab.ask("DELETE", f"/v2/vpcs/{vpc['id']}", expect=403)["message"]
    lab.ask("DELETE", f"/v2/droplets/{droplet['id']}", expect=204)
    lab.settle()
    lab.ask("DELETE", f"/v2/vpcs/{vpc['id']}", expect=204)


def test_a_default_vpc_comes_when_needed_and_stays(lab):
    droplet = lab.droplet("lonely", region="ams3")
    vpc = lab.ask("GET", f"/v2/vpcs/{droplet['vpc_uuid']}", expect=200)["vpc"]
    assert (vpc["default"], vpc["region"]) == (True, "ams3")
    assert lab.droplet("second", region="ams3")["vpc_uuid"] == vpc["id"]
    for each in lab.ask("GET", "/v2/droplets")["droplets"]:
        lab.ask("DELETE", f"/v2/droplets/{each['id']}", expect=204)
    lab.settle()
    assert "default" in lab.ask("DELETE", f"/v2/vpcs/{vpc['id']}", expect=403)["message"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"forwarding_rules": []}, "forwarding_rules"),
        ({"forwarding_rules": [HTTP, HTTP]}, "used twice"),
        ({"forwarding_rules": [HTTP | {"entry_protocol": "udp"}]}, "entry_protocol"),
        ({"forwarding_rules": [HTTP | {"entry_port": 0}]}, "entry_port"),
        ({"forwarding_rules": [HTTP | {"entry_protocol": "https"}]}, "certificate_id"),
        ({"forwarding_rules": [HTTP | {"entry_protocol": "https", "certificate_id": UNKNOWN}]}, UNKNOWN),
        ({"redirect_http_to_https": True}, "443"),
        ({"http_idle_timeout_seconds": 29}, "http_idle_timeout_seconds"),
        ({"tls_cipher_policy": "WEAK"}, "tls_cipher_policy"),
        ({"firewall": {"allow": ["192.0.2.1"]}}, "192.0.2.1"),
        ({"firewall": {"deny": ["cidr:192.0.2.0/99"]}}, "192.0.2.0/99"),
        ({"droplet_ids": [4711]}, "4711"),
        ({"droplet_ids": [1], "tag": "known"}, "exclude"),
        ({"region": "mars1"}, "mars1"),
        ({"region": ""}, "region"),
        ({"network": "INTERNAL"}, "network"),
        ({"project_id": UNKNOWN}, "project"),
        ({"health_check": {"port": 70000}}, "port"),
    ],
)
def test_load_balancers(lab, change, says):
    body = {"name": "edge", "region": "fra1", "forwarding_rules": [HTTP]} | change
    assert says in lab.ask("POST", "/v2/load_balancers", body, 422)["message"]
    assert lab.ask("GET", "/v2/load_balancers")["load_balancers"] == []


def _swapped(field):
    return custom_certificate() | {field: custom_certificate()[field]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (custom_certificate(timedelta(days=-9), timedelta(days=-1)), "expired"),
        (custom_certificate(timedelta(days=1), timedelta(days=9)), "not valid before"),
        (_swapped("private_key"), "does not belong"),
        (_swapped("certificate_chain"), "did not issue"),
        (custom_certificate() | {"private_key": "secret-looking text"}, "private key in PEM"),
        (custom_certificate() | {"leaf_certificate": "x"}, "not a certificate"),
        ({"type": "lets_encrypt", "dns_names": ["app.seawall.test"]}, "not within a domain of this account"),
        ({"type": "lets_encrypt", "dns_names": []}, "at least one is needed"),
        ({"type": "lets_encrypt", "dns_names": ["no name"]}, "is not a domain name"),
    ],
    ids=[
        "expired",
        "early",
        "other-key",
        "other-chain",
        "no-key",
        "no-leaf",
        "no-zone",
        "no-names",
        "no-name",
    ],
)
def test_certificates(lab, body, says):
    refused = lab.ask("POST", "/v2/certificates", {"name": "wrong", **body}, 422)
    assert says in refused["message"]
    assert "secret-looking" not in str(refused)


def test_a_certificate_in_use_stays_and_its_key_is_never_told(lab):
    certificate = lab.certificate("used")
    https = HTTP | {"entry_protocol": "https", "entry_port": 443, "certificate_id": certificate["id"]}
    balancer = lab.balancer("user", forwarding_rules=[https])
    assert "not in use" in lab.ask("DELETE", f"/v2/certificates/{certificate['id']}", expect=403)["message"]
    assert "PRIVATE KEY" not in lab.http.get("/v2/certificates").text
    lab.ask("POST", "/v2/certificates", {"name": "used", **custom_certificate()}, 409)
    lab.ask("DELETE", f"/v2/load_balancers/{balancer['id']}", expect=204)
    lab.ask("DELETE", f"/v2/certificates/{certificate['id']}", expect=204)


def test_ssh_keys(lab, tmp_path):
    key = ssh_key()
    made = lab.ask("POST", "/v2/account/keys", {"name": "one", "public_key": key}, 201)["ssh_key"]
    (tmp_path / "key.pub").write_text(key)
    seen = subprocess.run(
        ["ssh-keygen", "-l", "-E", "md5", "-f", tmp_path / "key.pub"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"MD5:{made['fingerprint']}" in seen.stdout
    again = {"name": "two", "public_key": key}
    assert "already in use" in lab.ask("POST", "/v2/account/keys", again, 422)["message"]
    for wrong in (
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        key.replace("ssh-ed25519", "ssh-rsa"),
        f"{key}\n{key}",
    ):
        lab.ask("POST", "/v2/account/keys", {"name": "two", "public_key": wrong}, 422)


def test_droplet_actions(lab):
    droplet = lab.droplet("act")
    at = f"/v2/droplets/{droplet['id']}/actions"
    for kind in ("dance", "create", "destroy", "snapshot", "password_reset", "power_on", "resize"):
        assert lab.ask("POST", at, {"type": kind}, 422)["id"] == "unprocessable_entity"
    assert "name" in lab.ask("POST", at, {"type": "rename"}, 422)["message"]
    assert "image" in lab.ask("POST", at, {"type": "rebuild"}, 422)["message"]
    lab.ask("POST", "/v2/droplets/actions", {"type": "reboot"}, 422)  # no tag_name
    lab.ask("DELETE", "/v2/droplets?tag_name=known", expect=404)
    lab.ask("DELETE", "/v2/droplets", expect=422)
    lab.ask("DELETE", f"/v2/droplets/{droplet['id']}", expect=204)
    lab.settle()


def test_a_body_that_is_no_json_and_one_too_long(lab):
    assert lab.http.post("/v2/tags", content=b"{").status_code == 400
    assert lab.http.post("/v2/tags", content=b'{"name": NaN}').status_code == 400
    assert lab.http.post("/v2/tags", content=b'{"name": "\\ud800"}').status_code == 400
    assert lab.http.post("/v2/tags", content=b"[]").status_code == 422
    assert lab.http.post("/v2/tags", content=b" " * (1024 * 1024 + 1)).status_code == 413


def test_limits(tmp_path):
    clock = Clock()
    with cloud(tmp_path / "api.sqlite3", clock=clock, limits=Limits(per_hour=5, per_minute=3)) as lab:
        for left in (4, 3, 2):
            answer = lab.http.get("/v2/account")
            assert answer.headers["ratelimit-limit"] == "5"
            assert answer.headers["ratelimit-remaining"] == str(left)
        burst = lab.http.get("/v2/account")
        assert (burst.status_code, burst.json()["id"]) == (429, "too_many_requests")
        assert burst.headers["retry-after"] == "60"
        assert lab.http.get("/v2/account", headers={"Authorization": "Bearer other"}).status_code == 401

        clock.pass_by(60)
        assert [lab.http.get("/v2/account").status_code for _ in range(3)] == [200, 200, 429]
        hour = lab.http.get("/v2/account")
        assert (hour.headers["ratelimit-remaining"], hour.headers["retry-after"]) == ("0", "3540")
        assert int(hour.headers["ratelimit-reset"]) == int(clock.now.timestamp()) + 3540
        clock.pass_by(3540)
        assert lab.http.get("/v2/account").status_code == 200


def test_the_droplet_limit_and_the_end_of_the_addresses(tmp_path):
    with cloud(tmp_path / "api.sqlite3", public_range="198.51.100.0/28", droplet_limit=6) as lab:
        for number in range(5):  # .10 to .14
            lab.droplet(f"n{number}", settle=False)
        body = {"name": "n5", "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-12-x64"}
        assert "no address is left" in lab.ask("POST", "/v2/droplets", body, 422)["message"]
        two = {key: value for key, value in body.items() if key != "name"} | {"names": ["a", "b"]}
        assert "exceed your droplet limit" in lab.ask("POST", "/v2/droplets", two, 422)["message"]
        lab.settle()
