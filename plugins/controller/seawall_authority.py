"""The kit's own small certificate authority: one key on the controller, certificates for the kit's hosts only.

The key never leaves ``directory`` and the hosts' keys never come here: hosts send requests. Which names a
certificate gets is the declaration's to say, never the request's.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
RECORD = "fingerprints.json"  # beside the authority's key: a name's fingerprint
# A host's clock may be a little behind the controller's.
BACKDATED = timedelta(hours=1)


def load_or_create(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The authority's certificate and key, made at the first call. Callers hold a lock around it."""
    key_path, certificate_path = directory / "ca.key", directory / "ca.pem"
    if certificate_path.exists():
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate(certificate_path.read_bytes()), key
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Seawall host authority")])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # The key first: without its certificate it is made again, and nothing was signed with it yet.
    _write(key_path, pem, 0o600)
    _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate, key


def why_new(
    certificate: str,
    public_key: str,
    authority: x509.Certificate,
    names: list[str],
    addresses: list[str],
    renew_days: int,
    now: datetime,
) -> str:
    """Why a host needs a new certificate; empty where the one it has is good. Pure."""
    if not public_key:
        return "there is no private key"
    if not certificate:
        return "there is no certificate"
    try:
        have = x509.load_pem_x509_certificate(certificate.encode())
        have.verify_directly_issued_by(authority)
    except Exception as error:  # cryptography has one exception per way of being no certificate of ours
        return f"the certificate is not from this authority ({type(error).__name__})"
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    if (
        have.public_key().public_bytes(serialization.Encoding.PEM, spki).decode().strip()
        != public_key.strip()
    ):
        return "the certificate is for another key"
    if have.not_valid_after_utc - now < timedelta(days=renew_days):
        return f"the certificate ends on {have.not_valid_after_utc:%Y-%m-%d}"
    subject = have.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    declared = {*names, *addresses}
    named = {
        *subject.get_values_for_type(x509.DNSName),
        *map(str, subject.get_values_for_type(x509.IPAddress)),
    }
    return "" if named == declared else f"the certificate is for {', '.join(sorted(named))}"


def sign(
    request: str,
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    names: list[str],
    addresses: list[str],
) -> str:
    """A certificate over the request's key with exactly ``names`` and ``addresses``, as PEM."""
    issuer, key = authority
    wanted = x509.load_pem_x509_csr(request.encode())
    if not wanted.is_signature_valid:
        raise ValueError("the signing request is not signed with its own key")
    now = datetime.now(UTC)
    ends = min(now + timedelta(days=CERTIFICATE_DAYS), issuer.not_valid_after_utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    public = wanted.public_key()
    certificate = (
        x509.CertificateBuilder(issuer.subject, subject, public, x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def fingerprint(public_key: PublicKeyTypes) -> str:
    """A key's SHA-256 (over SubjectPublicKeyInfo, as in RFC 7469) as a DNS name, which the key's certificates bear.

    rsyslog permits names. Its own fingerprints are SHA-1, of certificates, and by its documentation put an end to
    looking at who signed and until when. This way all three count, and a renewal, which keeps the key, changes nothing.
    """
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    digest = hashlib.sha256(public_key.public_bytes(serialization.Encoding.DER, spki)).hexdigest()
    return f"{digest[:32]}.{digest[32:]}.sha256"  # a label has at most 63 characters


def requested(request: str) -> PublicKeyTypes:
    """The key that a request is for."""
    return x509.load_pem_x509_csr(request.encode()).public_key()


def public(text: str) -> PublicKeyTypes:
    """A public key of its PEM text."""
    return serialization.load_pem_public_key(text.encode())


def held(text: str) -> dict[str, str]:
    """Which fingerprint each name's certificate bears, of the record's text."""
    return json.loads(text or "{}")


def kept(text: str, name: str, fingerprint: str) -> str:
    """The record's text, in which ``name``'s certificate bears ``fingerprint``."""
    return json.dumps({**held(text), name: fingerprint}, indent=1, sort_keys=True) + "\n"


def permitted(names: list[str], fingerprints: dict[str, str], revoked: list[str]) -> list[str]:
    """What to permit of hosts called ``names``: each one's fingerprint. Pure.

    A host that has no certificate yet is permitted by name, which only the authority gives. ``revoked`` are
    fingerprints, or names of hosts that may not send at all.
    """
    wanted = [fingerprints.get(name, name) for name in names if name not in revoked]
    return [each for each in wanted if each not in revoked]


def pem(certificate: x509.Certificate) -> str:
    """A certificate's text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(fd)
    os.rename(f"{path}.new", path)
