"""Public keys and certificates, looked at before the cloud sees them. Messages never hold key material."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

RSA_BITS = 3072
"""The shortest RSA key that a hardened sshd accepts (RequiredRSASize)."""

SECURITY_KEYS = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
ACCEPTED = ("ssh-ed25519", "ssh-rsa", *SECURITY_KEYS)
"""Key types that a hardened host lets in (roles/sshd, ``sshd_user_key_algorithms``)."""

ADVICE = "`ssh-keygen -t ed25519` makes a good one; give the file that ends in .pub"


@dataclass(frozen=True)
class Pem:
    """A certificate, chain or key. ``said``: where it came from, for messages; ``path``: the file, if one."""

    text: str = field(repr=False)
    said: str
    path: Path | None = None

    def __str__(self) -> str:
        return self.said


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror})") from None


def public_key(text: str) -> str:
    """An OpenSSH public key as one tidy line; ``ValueError`` if it is none, or one no host would accept."""
    lines = text.strip().splitlines()
    if "PRIVATE KEY" in text:
        raise ValueError(f"this is a private key, which must never leave its owner. {ADVICE}")
    parts = lines[0].split() if len(lines) == 1 else []
    if len(parts) < 2:
        raise ValueError(f"this is not one public key on one line. {ADVICE}")
    kind = parts[0]
    if kind == "ssh-dss":
        raise ValueError(f"this is a DSA key, which is broken and which OpenSSH no longer takes. {ADVICE}")
    if kind.startswith("ecdsa-"):
        raise ValueError(f"this is an ECDSA key on a NIST curve, which hardened hosts don't accept. {ADVICE}")
    if kind not in ACCEPTED:
        raise ValueError(
            f"this is not a public key: it begins with neither {' nor '.join(ACCEPTED)}. {ADVICE}"
        )
    try:
        if kind in SECURITY_KEYS:
            blob = base64.b64decode(parts[1], validate=True)
            named = int.from_bytes(blob[:4], "big")
            if blob[4 : 4 + named].decode() != kind or len(blob) < named + 40:
                raise ValueError
        else:
            key = serialization.load_ssh_public_key(" ".join(parts[:2]).encode())
    except ValueError:
        raise ValueError(f"this {kind} key is damaged: it can't be decoded. Copy it again, whole") from None
    if kind == "ssh-rsa" and key.key_size < RSA_BITS:  # type: ignore[union-attr]
        raise ValueError(
            f"this RSA key has {key.key_size} bits, and hosts accept {RSA_BITS} and more. {ADVICE}"  # type: ignore[union-attr]
        )
    return " ".join(parts)


def bare(key: str) -> str:
    """A public key without its comment."""
    return " ".join(key.split()[:2])


def fingerprint(key: str) -> str:
    """The MD5 fingerprint by which DigitalOcean knows a key (a name, not a protection)."""
    digest = hashlib.md5(base64.b64decode(key.split()[1]), usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, 32, 2))


def certificate_faults(domain: str, leaf: Pem, chain: Pem | None, key: Pem, now: datetime) -> list[str]:
    """What is wrong with a certificate for ``domain``, one paragraph each."""
    try:
        found = x509.load_pem_x509_certificates(leaf.text.encode())[0]
        issuers = x509.load_pem_x509_certificates(chain.text.encode()) if chain else []
    except ValueError:
        return [
            f"{leaf}, or its chain, is no PEM certificate. It has to begin with -----BEGIN CERTIFICATE-----."
        ]
    problems = []
    ends, begins = found.not_valid_after_utc, found.not_valid_before_utc
    if not begins <= now <= ends:
        problems.append(
            f"The certificate {leaf} "
            + (
                f"expired on {ends:%Y-%m-%d}"
                if now > ends
                else f"is not valid before {begins:%Y-%m-%d %H:%M} UTC"
            )
            + ": every visitor would be warned off. Put a current one in its place, or use `kind: letsEncrypt`."
        )
    names = _names(found)
    if not any(_matches(domain, name) for name in names):
        problems.append(
            f"The certificate {leaf} is for {', '.join(names) or 'no domain at all'}, and the site is {domain}. Use "
            "one that names it, or correct seawall:domain."
        )
    if issuers and not _issued(found, issuers[0]):
        problems.append(
            f"The certificate {leaf} was not issued by the first one of {chain}: browsers could not follow the chain. "
            "The chain holds the intermediate certificates, the leaf's issuer first."
        )
    if key.path and (mode := key.path.stat().st_mode) & 0o077:
        problems.append(f"Others on this machine may read {key} (mode {mode & 0o777:o}). `chmod 600 {key}`.")
    return problems + _key_faults(found, leaf, key)


def _key_faults(certificate: x509.Certificate, leaf: Pem, pem: Pem) -> list[str]:
    try:
        key = serialization.load_pem_private_key(pem.text.encode(), None)
    except TypeError:
        return [
            f"The private key {pem} is encrypted, and a load balancer can't ask for its passphrase. Decrypt it."
        ]
    except ValueError:
        return [f"{pem} is no private key in PEM. It has to begin with -----BEGIN PRIVATE KEY-----."]
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        return [
            f"The private key {pem} does not belong to the certificate {leaf}. Give the key it was requested with."
        ]
    return []


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)


def _matches(domain: str, name: str) -> bool:
    """A wildcard stands for one label (RFC 6125)."""
    return name.lower() == domain or (name.startswith("*.") and domain.partition(".")[2] == name[2:].lower())


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
