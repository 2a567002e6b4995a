"""A watch's mail, taken by a real mail server (aiosmtpd): TLS first, then the password, and nothing without either."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from infra.drift import Drift
from seawall.drift import tell
from seawall.drift.history import History
from tests.unit.test_drift_history import difference, report

PASSWORD = "correct horse"


def certificate(folder: Path, address: str) -> Path:
    """A certificate for ``address`` with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    own = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "mail.pem"
    path.write_bytes(own.public_bytes(pem) + key.private_bytes(pem, form, serialization.NoEncryption()))
    return path


class Box:
    """What the server took: each envelope, and whether it came over TLS from somebody who had logged in."""

    def __init__(self) -> None:
        self.taken: list[tuple[Envelope, bool, bool]] = []
        self.logins: list[bytes] = []

    async def handle_DATA(self, _server: object, session: Session, envelope: Envelope) -> str:
        self.taken.append((envelope, session.ssl is not None, session.authenticated))
        return "250 taken"

    def login(self, _server, _session, _envelope, _mechanism, given) -> AuthResult:
        self.logins.append(given.password)
        return AuthResult(success=given.password == PASSWORD.encode(), handled=False)


class Server(Controller):
    """A controller whose port is whichever the kernel gives it for 0."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def mail(tmp_path):
    """A server on a port the kernel chose; ``address`` is in its certificate."""
    running = []

    def serve(address: str = "127.0.0.1") -> tuple[Box, int, Path]:
        box, path = Box(), certificate(tmp_path, address)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        controller = Server(
            box,
            hostname="127.0.0.1",
            port=0,
            tls_context=context,
            require_starttls=True,
            authenticator=box.login,
            auth_required=True,
            auth_require_tls=True,
        )
        controller.start()
        running.append(controller)
        return box, controller.port, path

    yield serve
    for each in running:
        each.stop()


def told(tmp_path: Path, port: int, password: str) -> list[str]:
    secret = tmp_path / "password"
    secret.write_text(password)
    secret.chmod(0o600)
    history = History(tmp_path / "drift.sqlite")
    try:
        history.record(report(difference()))
        return tell.tell(
            history,
            "prod",
            Drift.model_validate(
                {
                    "tell": {
                        "email": {
                            "host": "127.0.0.1",
                            "port": port,
                            "sender": "drift@x.example",
                            "to": ["ops@x.example", "audit@x.example"],
                            "user": "drift",
                            "passwordFile": str(secret),
                        }
                    }
                }
            ),
        )
    finally:
        history.close()


def test_a_mail_goes_over_tls_with_a_login_once(tmp_path, monkeypatch, mail):
    box, port, authority = mail()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert told(tmp_path, port, PASSWORD) == []
    ((envelope, encrypted, known),) = box.taken
    assert (encrypted, known) == (True, True)
    assert envelope.rcpt_tos == ["ops@x.example", "audit@x.example"]
    read = message_from_bytes(envelope.content)
    assert read["Subject"] == "Seawall drift, prod: 1 new"
    assert "New: [cloud] firewall net" in read.get_payload(decode=True).decode()
    assert told(tmp_path, port, PASSWORD) == []
    assert len(box.taken) == 1, "the same difference was told twice"


def test_a_server_that_nobody_vouches_for_gets_no_password(tmp_path, monkeypatch, mail):
    box, port, _ = mail()
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    (said,) = told(tmp_path, port, PASSWORD)
    assert "SSLCertVerificationError" in said
    assert (box.taken, box.logins) == ([], [])


def test_nor_does_one_with_another_servers_certificate(tmp_path, monkeypatch, mail):
    box, port, authority = mail("127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    (said,) = told(tmp_path, port, PASSWORD)
    assert "SSLCertVerificationError" in said
    assert (box.taken, box.logins) == ([], [])


def test_a_refused_password_is_told_without_it(tmp_path, monkeypatch, mail):
    box, port, authority = mail()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    (said,) = told(tmp_path, port, "wrong horse")
    assert "SMTPAuthenticationError 535" in said
    assert "horse" not in said
    assert box.taken == []
