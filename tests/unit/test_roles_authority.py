"""The kit's authority: what it signs, when it renews, and that its key is private."""

from __future__ import annotations

import hashlib
import stat
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.test_roles_modules import plugin

authority = plugin("controller", "seawall_authority")
NAMES, ADDRESSES = ["app-1", "app-1.4711"], ["10.20.0.3"]


@pytest.fixture
def ours(tmp_path):
    return authority.load_or_create(tmp_path / "ca")


@pytest.fixture
def key():
    return ec.generate_private_key(ec.SECP256R1())


def public(key) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, spki).decode()


def request(key, *names) -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "whatever")])
    builder = x509.CertificateSigningRequestBuilder(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def why(ours, key, certificate, names=NAMES, addresses=ADDRESSES, days=0):
    now = datetime.now(UTC) + timedelta(days=days)
    return authority.why_new(certificate, public(key), ours[0], names, addresses, 30, now)


def test_its_key_is_private_and_made_once(tmp_path):
    first, _ = authority.load_or_create(tmp_path / "ca")
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "ca" / "ca.key").stat().st_mode) == 0o600
    assert authority.load_or_create(tmp_path / "ca")[0] == first


def test_a_good_certificate_stays(ours, key):
    assert why(ours, key, authority.sign(request(key), ours, NAMES, ADDRESSES)) == ""


def test_it_is_renewed_thirty_days_before_it_ends(ours, key):
    certificate = authority.sign(request(key), ours, NAMES, ADDRESSES)
    assert why(ours, key, certificate, days=334) == ""
    assert why(ours, key, certificate, days=336).startswith("the certificate ends on")


def test_another_key_name_or_authority_needs_a_new_one(ours, key, tmp_path):
    certificate = authority.sign(request(key), ours, NAMES, ADDRESSES)
    assert (
        why(ours, ec.generate_private_key(ec.SECP256R1()), certificate)
        == "the certificate is for another key"
    )
    assert why(ours, key, certificate, names=["app-1", "app-1.4712"]).startswith(
        "the certificate is for 10.20.0.3"
    )
    other = authority.load_or_create(tmp_path / "other")
    assert "not from this authority" in why(other, key, certificate)
    assert "not from this authority" in why(ours, key, "no certificate")
    assert why(ours, key, "") == "there is no certificate"


def test_names_come_from_the_declaration_never_from_the_request(ours, key):
    signed = x509.load_pem_x509_certificate(
        authority.sign(request(key, "logs-1"), ours, NAMES, ADDRESSES).encode()
    )
    names = signed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == NAMES
    assert signed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_an_authority_cannot_be_made_with_its_certificates(ours):
    constraints = ours[0].extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


# --- Fingerprints -------------------------------------------------------------------------------------------


def test_a_fingerprint_is_what_openssl_says_of_the_key(key):
    der = ["openssl", "pkey", "-pubin", "-outform", "DER"]
    said = subprocess.run(der, input=public(key).encode(), capture_output=True, check=True).stdout
    sha = hashlib.sha256(said).hexdigest()
    assert authority.fingerprint(authority.public(public(key))) == f"{sha[:32]}.{sha[32:]}.sha256"
    assert authority.fingerprint(authority.requested(request(key))) == f"{sha[:32]}.{sha[32:]}.sha256"


def test_renewal_keeps_the_fingerprint_and_another_key_has_another(ours, key):
    names = [authority.fingerprint(authority.requested(request(each))) for each in (key, key)]
    other = authority.fingerprint(authority.requested(request(ec.generate_private_key(ec.SECP256R1()))))
    assert names[0] == names[1] != other
    certificate = authority.sign(request(key), ours, ["app-1.4711", names[0]], [])
    assert why(ours, key, certificate, ["app-1.4711", names[0]], []) == ""
    assert why(ours, key, certificate, ["app-1.4711", other], [])


def test_the_record_has_one_fingerprint_a_name():
    text = authority.kept(authority.kept("", "app-1.1", "a.sha256"), "app-2.2", "b.sha256")
    assert authority.held(authority.kept(text, "app-1.1", "c.sha256")) == {
        "app-1.1": "c.sha256",
        "app-2.2": "b.sha256",
    }


KEYS = {"app-1.1": "a.sha256", "app-2.2": "b.sha256", "gone.9": "z.sha256"}


@pytest.mark.parametrize(
    ("names", "revoked", "permitted"),
    [
        (["app-1.1", "app-2.2"], [], ["a.sha256", "b.sha256"]),
        (["app-1.1", "new.3"], [], ["a.sha256", "new.3"]),  # no certificate yet
        (["app-1.1", "app-2.2"], ["a.sha256"], ["b.sha256"]),  # a key, its name still declared
        (["app-1.1", "app-2.2"], ["app-2.2"], ["a.sha256"]),  # a whole host
        (["new.3"], ["new.3"], []),
        ([], [], []),
    ],
)
def test_permitted_are_fingerprints_of_declared_hosts_that_are_not_revoked(names, revoked, permitted):
    assert authority.permitted(names, KEYS, revoked) == permitted
