"""Load balancers: a real haproxy in front of real members, asked by a real client."""

from __future__ import annotations

import datetime
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.network import balancer, plan, router
from lab.world import Certificate, Forwarding, HealthCheck, LoadBalancer
from tests.lab.machines_support import WEB1, WEB2, Lab, eventually, tcp, wall

pytestmark = pytest.mark.timeout(240)

ID = "b1c2d3e4-0000-4000-8000-000000000001"
HEALTH = HealthCheck("https", 443, "/", interval=1, timeout=1, unhealthy=2, healthy=1)

SERVER = """
import http.server, os, socket, ssl, threading
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        broken = os.path.exists("/run/broken")
        told = "".join(f"{k}: {v}\\n" for k, v in self.headers.items())
        body = f"served by {socket.gethostname()}\\n{told}".encode()
        self.send_response(500 if broken else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/member.pem")
class BehindProxy(Answer):
    "TLS begins after one line of the PROXY protocol; whoever begins otherwise is hung up on."
    def setup(self):
        said = b""
        while not said.endswith(b"\\r\\n") and (byte := self.request.recv(1)):
            said += byte
        if not said.startswith(b"PROXY "):
            raise ConnectionError(said)
        self.request = context.wrap_socket(self.request, server_side=True)
        super().setup()
        self.said = said.decode()
    def do_GET(self):
        self.headers["X-Said"] = self.said.strip()
        super().do_GET()
proxied = http.server.ThreadingHTTPServer(("0.0.0.0", 8443), BehindProxy)
threading.Thread(target=proxied.serve_forever, daemon=True).start()
server = http.server.ThreadingHTTPServer(("0.0.0.0", 443), Answer)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    leaf, key = _self_signed("app.seawall.test")
    return Certificate("cert-1", "site", leaf, "", key)


@pytest.fixture(scope="module")
def members(small_lab: Lab) -> Lab:
    """HTTPS on both web droplets, with certificates nobody vouches for."""
    for number in (WEB1, WEB2):
        leaf, key = _self_signed(small_lab.droplet(number).name)
        root = small_lab.machine(number).root
        (root / "srv/member.pem").write_text(leaf + key)
        (root / "srv/member.py").write_text(SERVER)
        small_lab.run(number, "systemd-run -q --unit=member python3 /srv/member.py")
        address = small_lab.droplet(number).public_ipv4
        assert eventually(lambda a=address: small_lab.probe("host", a, 443) == "open")
    return small_lab


@pytest.fixture
def lab(members: Lab) -> Iterator[Lab]:
    yield members
    members.network(load_balancers={}, certificates={})
    assert balancer.existing(members.instance) == set()


def site(lab: Lab, **changes: object) -> LoadBalancer:
    """443 → 443 by TLS at both ends, 80 → 301."""
    given: dict[str, object] = {
        "id": ID,
        "name": "site",
        "region": "fra1",
        "vpc_id": "vpc-a",
        "public_ipv4": lab.instance.address(50),
        "private_ipv4": "10.77.0.50",
        "forwarding": (Forwarding("https", 443, "https", 443, "cert-1"),),
        "health_check": HEALTH,
        "members": frozenset({WEB1, WEB2}),
        "tls_cipher_policy": "STRONG",
        "redirect_http_to_https": True,
    }
    return LoadBalancer(**{**given, **changes})  # type: ignore[arg-type]


def stand(lab: Lab, certificate: Certificate, **changes: object) -> str:
    """Make the load balancer and return its address, once it serves."""
    it = site(lab, **changes)
    lab.network(load_balancers={it.id: it}, certificates={certificate.id: certificate})
    return it.public_ipv4


def curl(
    address: str,
    *flags: str,
    url: str = "https://app.seawall.test/",
    where: str = "host",
    lab: Lab | None = None,
) -> str:
    port = "443" if url.startswith("https") else "80"
    words = [
        "curl",
        "-sSk",
        "--max-time",
        "5",
        "--resolve",
        f"app.seawall.test:{port}:{address}",
        *flags,
        url,
    ]
    enter = [] if where == "host" or lab is None else router.inside(lab.instance.namespace(where))
    return subprocess.run([*enter, *words], capture_output=True, text=True, check=False).stdout


def test_terminates_tls_and_speaks_to_all_members(lab: Lab, certificate: Certificate) -> None:
    address = stand(lab, certificate)
    pages = [curl(address) for _ in range(6)]
    assert {page.partition("\n")[0] for page in pages} == {"served by web-1", "served by web-2"}
    assert "http 2" in curl(address, "--http2", "-o", "/dev/null", "-w", "http %{http_version}")
    told = pages[0].lower()
    assert f"x-forwarded-for: {lab.instance.address(plan.ADMINISTRATOR)}" in told
    assert "x-forwarded-proto: https" in told
    assert "x-forwarded-port: 443" in told
    assert _presented(address) == ssl.PEM_cert_to_DER_cert(certificate.leaf)


def test_the_proxy_protocol_tells_who_connects_health_checks_too(lab: Lab, certificate: Certificate) -> None:
    """Members that take nothing else are healthy, so the checks carry the header; without it nobody is served."""
    by_proxy = {
        "forwarding": (Forwarding("https", 443, "https", 8443, "cert-1"),),
        "health_check": replace(HEALTH, port=8443),
    }
    address = stand(lab, certificate, proxy_protocol=True, **by_proxy)
    client = lab.instance.address(plan.ADMINISTRATOR)
    told = f"PROXY TCP4 {client} {address} "
    assert eventually(lambda: all(told in curl(address) for _ in range(4)))
    stand(lab, certificate, proxy_protocol=False, **by_proxy)
    assert eventually(lambda: curl(address, "-o", "/dev/null", "-w", "%{http_code}") == "503")


def test_port_80_redirects_and_every_other_is_silent(lab: Lab, certificate: Certificate) -> None:
    address = stand(lab, certificate)
    answer = curl(
        address, "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", url="http://app.seawall.test/a?b=c"
    )
    assert answer == "301 https://app.seawall.test/a?b=c"
    for port in (22, 8443, 1023):
        assert lab.probe("outside", address, port) == "silence"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_policies_are_digitaloceans(lab: Lab, certificate: Certificate) -> None:
    address = stand(lab, certificate)
    assert _handshake(address, ssl.TLSVersion.TLSv1_3)
    assert _handshake(address, ssl.TLSVersion.TLSv1_2)
    assert not _handshake(address, ssl.TLSVersion.TLSv1_1)
    assert not _handshake(address, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA")
    stand(lab, certificate, tls_cipher_policy="DEFAULT")
    assert eventually(lambda: _handshake(address, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA"))
    assert not _handshake(address, ssl.TLSVersion.TLSv1_1)


def test_unhealthy_members_get_nothing(lab: Lab, certificate: Certificate) -> None:
    address = stand(lab, certificate)

    def seen() -> set[str]:
        return {curl(address).partition("\n")[0] for _ in range(4)}

    lab.run(WEB1, "touch /run/broken")
    try:
        assert eventually(lambda: seen() == {"served by web-2"})
        # A reload must not forget what was known: not one request may reach the broken member.
        stand(lab, certificate, idle_timeout=90)
        assert all(curl(address).startswith("served by web-2") for _ in range(20))
    finally:
        lab.run(WEB1, "rm -f /run/broken")
    assert eventually(lambda: seen() == {"served by web-1", "served by web-2"})


def test_no_member_is_503(lab: Lab, certificate: Certificate) -> None:
    address = stand(lab, certificate, members=frozenset())
    assert curl(address, "-o", "/dev/null", "-w", "%{http_code}") == "503"


def test_members_change_without_dropping_a_connection(lab: Lab, certificate: Certificate) -> None:
    address = stand(lab, certificate, members=frozenset({WEB1}))
    failures: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            page = curl(address)
            if not page.startswith("served by"):
                failures.append(page or "nothing")

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    context = _context()
    with socket.create_connection((address, 443), 5) as plain, context.wrap_socket(plain) as kept:
        for some in ({WEB1, WEB2}, {WEB2}):
            stand(lab, certificate, members=frozenset(some))
        assert eventually(lambda: curl(address).startswith("served by web-2"))
        kept.sendall(b"GET / HTTP/1.1\r\nHost: app.seawall.test\r\n\r\n")
        assert b"200 OK" in kept.recv(4096)
    over.set()
    for asker in askers:
        asker.join()
    assert failures == []


def test_a_certificate_is_replaced_without_losing_a_request(lab: Lab, certificate: Certificate) -> None:
    """As a new name made beside the old one, changed over to, and the old one gone: every request is answered."""
    address = stand(lab, certificate)
    assert eventually(lambda: curl(address).startswith("served by"))
    leaf, key = _self_signed("app.seawall.test")
    newer = Certificate("cert-2", "site-2", leaf, "", key)
    both = {each.id: each for each in (certificate, newer)}
    failures: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            page = curl(address)
            if not page.startswith("served by"):
                failures.append(page or "nothing")

    asker = threading.Thread(target=ask)
    asker.start()
    lab.network(certificates=both)
    assert _presented(address) == ssl.PEM_cert_to_DER_cert(certificate.leaf)
    it = site(lab, forwarding=(Forwarding("https", 443, "https", 443, newer.id),))
    lab.network(load_balancers={it.id: it}, certificates=both)
    assert eventually(lambda: _presented(address) == ssl.PEM_cert_to_DER_cert(leaf))
    lab.network(load_balancers={it.id: it}, certificates={newer.id: newer})
    assert curl(address).startswith("served by")
    over.set()
    asker.join()
    assert failures == []


def test_passes_the_members_firewall_only_by_its_address(lab: Lab, certificate: Certificate) -> None:
    it = site(lab)
    by_uid = tcp(443, f"{it.private_ipv4}/32", f"{it.public_ipv4}/32")
    lab.network(
        wall({WEB1, WEB2}, (by_uid,)), load_balancers={it.id: it}, certificates={certificate.id: certificate}
    )
    assert eventually(lambda: curl(it.public_ipv4).startswith("served by"))
    assert lab.probe("outside", lab.droplet(WEB1).public_ipv4, 443) == "silence"
    lab.network(wall({WEB1, WEB2}, (tcp(9),)))
    assert eventually(lambda: curl(it.public_ipv4, "-o", "/dev/null", "-w", "%{http_code}") == "503")


def test_own_allow_and_deny_lists(lab: Lab, certificate: Certificate) -> None:
    administrator = lab.instance.address(plan.ADMINISTRATOR)
    address = stand(lab, certificate, allow=(f"{administrator}/32",))
    assert curl(address).startswith("served by")
    assert curl(address, where="outside", lab=lab) == ""
    stand(lab, certificate, deny=(f"{administrator}/32",))
    assert eventually(lambda: curl(address) == "")
    assert curl(address, where="outside", lab=lab).startswith("served by")


def test_keys_are_the_owners_alone(lab: Lab, certificate: Certificate) -> None:
    stand(lab, certificate)
    folder = balancer.Balancer(lab.instance, ID).folder
    for path in [*folder.glob("*.pem"), folder / "control", folder, folder.parent]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert "PRIVATE" not in " ".join(_command_lines())


def test_survives_its_masters_death(lab: Lab, certificate: Certificate) -> None:
    address = stand(lab, certificate)
    it = balancer.Balancer(lab.instance, ID)
    it.group.kill()
    assert eventually(lambda: not it.group.processes())
    lab.network()
    assert curl(address).startswith("served by")


def _self_signed(name: str) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return leaf.public_bytes(encoding).decode(), private.decode()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _handshake(address: str, version: ssl.TLSVersion, suites: str | None = None) -> bool:
    context = _context()
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(f"{suites or 'ALL'}:@SECLEVEL=0")
    try:
        with socket.create_connection((address, 443), 5) as plain, context.wrap_socket(plain) as secure:
            return secure.version() is not None
    except OSError:
        return False


def _presented(address: str) -> bytes | None:
    with socket.create_connection((address, 443), 5) as plain, _context().wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True)


def _command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().decode(errors="replace")
        except OSError:
            continue
