"""The lab's stand-in for Let's Encrypt: an authority of the account's own that issues for 90 days."""

from __future__ import annotations

import datetime
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import select
from sqlalchemy.orm import Session

from .tables import Certificate, Kept, LoadBalancer

DAYS = 90
RENEW_DAYS = 30
"""Days before its end at which a certificate is renewed, as DigitalOcean does."""

_PEM = serialization.Encoding.PEM


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _written(key: ec.EllipticCurvePrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, plain).decode()


def make(now: datetime.datetime) -> dict[str, str]:
    """An authority: its certificate and key as PEM."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _named("Seawall lab, in Let's Encrypt's place")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return {"certificate": certificate.public_bytes(_PEM).decode(), "key": _written(key)}


def issue(authority: dict[str, str], names: list[str], now: datetime.datetime) -> tuple[str, str]:
    """A certificate for ``names`` and its key, both PEM."""
    issuer = x509.load_pem_x509_certificate(authority["certificate"].encode())
    signer = serialization.load_pem_private_key(authority["key"].encode(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_named(names[0][:64]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    return certificate.public_bytes(_PEM).decode(), _written(key)


def issued(db: Session, name: str, names: list[str], now: datetime.datetime) -> Certificate:
    """A certificate from the lab's authority, which is made when first needed. A wildcard's zone counts as served."""
    kept = db.get(Kept, ("authority", "lets-encrypt"))
    if kept is None:
        kept = Kept(kind="authority", id="lets-encrypt", body=make(now))
        db.add(kept)
    leaf, key = issue(kept.body, names, now)
    held = x509.load_pem_x509_certificate(leaf.encode())
    return Certificate(
        id=str(uuid.uuid4()),
        name=name,
        type="lets_encrypt",
        leaf=leaf,
        chain=kept.body["certificate"],
        private_key=key,
        dns_names=names,
        sha1_fingerprint=held.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 (a name, not a proof)
        not_after=held.not_valid_after_utc,
        created_at=now,
    )


def renew_due(db: Session, now: datetime.datetime) -> list[str]:
    """Renew what ends soon, under a new id and the same name, as DigitalOcean does; load balancers follow at once.

    Returns the names.
    """
    due = now + datetime.timedelta(days=RENEW_DAYS)
    rows = select(Certificate).where(Certificate.type == "lets_encrypt", Certificate.not_after < due)
    names = []
    for old in list(db.scalars(rows)):
        new = issued(db, old.name, old.dns_names, now)
        db.delete(old)
        db.flush()  # names are unique
        db.add(new)
        for balancer in db.scalars(select(LoadBalancer)):
            rules = [
                rule | ({"certificate_id": new.id} if rule["certificate_id"] == old.id else {})
                for rule in balancer.settings["forwarding_rules"]
            ]
            if rules != balancer.settings["forwarding_rules"]:
                balancer.settings = balancer.settings | {"forwarding_rules": rules}
        names.append(new.name)
    return names
