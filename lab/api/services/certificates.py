"""TLS certificates: custom ones, looked into before they are taken, and those of the lab's own authority, which stands
in for Let's Encrypt. Private keys are never answered."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from pydantic import Field
from sqlalchemy import select

from .. import authority
from ..errors import conflict, forbidden, unprocessable
from ..http import Call, Request, Service, iso
from ..tables import Certificate, Kept, LoadBalancer
from ..transitions import remaining

service = Service()

Pem = Annotated[str, Field(max_length=65536)]


class Create(Request):
    name: Annotated[str, Field(min_length=1, max_length=255)]
    type: Literal["custom", "lets_encrypt"] = "custom"
    private_key: Pem = Field("", repr=False)
    leaf_certificate: Pem = ""
    certificate_chain: Pem = ""
    dns_names: list[str] = []


def inspect(leaf: str, private_key: str, chain: str, now: datetime) -> x509.Certificate:
    """The leaf, once it is known to be usable. ValueError names what is wrong, and no key material."""
    certificate = _parse(leaf, "leaf_certificate")[0]
    try:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("private_key: is not an unencrypted private key in PEM") from None
    if _spki(key.public_key()) != _spki(certificate.public_key()):
        raise ValueError("private_key: does not belong to leaf_certificate")
    if certificate.not_valid_after_utc <= now:
        raise ValueError(f"leaf_certificate: expired at {iso(certificate.not_valid_after_utc)}")
    if certificate.not_valid_before_utc > now:
        raise ValueError(f"leaf_certificate: is not valid before {iso(certificate.not_valid_before_utc)}")
    issued = certificate
    for issuer in _parse(chain, "certificate_chain") if chain.strip() else []:
        try:
            issued.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            raise ValueError(
                f"certificate_chain: {issuer.subject.rfc4514_string()} did not issue "
                f"{issued.subject.rfc4514_string()}; the chain goes from the leaf's issuer upwards"
            ) from None
        issued = issuer
    return certificate


def _parse(text: str, field: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise ValueError(f"{field}: is not a certificate in PEM") from None


def _spki(key: Any) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)


def answer(call: Call, row: Certificate) -> dict[str, Any]:
    pending = remaining(call.transitions.certificate, row.created_at, call.now)
    return {
        "id": row.id,
        "name": row.name,
        "not_after": iso(row.not_after),
        "sha1_fingerprint": row.sha1_fingerprint,
        "created_at": iso(row.created_at),
        "dns_names": row.dns_names,
        "state": "pending" if pending else "verified",
        "type": row.type,
    }


def _found(call: Call) -> Certificate:
    return call.get(Certificate, call.path["certificate_id"])


@service.get("/v2/certificates")
def index(call: Call) -> dict[str, Any]:
    rows = select(Certificate).order_by(Certificate.created_at, Certificate.id)
    if name := call.query.get("name"):
        rows = rows.where(Certificate.name == name)
    return call.page("certificates", rows, lambda row: answer(call, row))


@service.post("/v2/certificates")
def create(call: Call) -> dict[str, Any]:
    wanted = call.body(Create)
    if call.db.scalar(select(Certificate).where(Certificate.name == wanted.name)):
        raise conflict(f"a certificate named {wanted.name!r} already exists: names are unique")
    if wanted.type == "lets_encrypt":
        _refuse_unserved(call, wanted.dns_names)
        row = authority.issued(call.db, wanted.name, wanted.dns_names, call.now)
        call.db.add(row)
        return {"certificate": answer(call, row)}
    try:
        leaf = inspect(wanted.leaf_certificate, wanted.private_key, wanted.certificate_chain, call.now)
        names = _dns_names(leaf)
    except ValueError as error:
        raise unprocessable(str(error)) from None
    row = Certificate(
        id=str(uuid.uuid4()),
        name=wanted.name,
        type="custom",
        leaf=wanted.leaf_certificate,
        chain=wanted.certificate_chain,
        private_key=wanted.private_key,
        dns_names=names,
        sha1_fingerprint=leaf.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 (a name, not a proof)
        not_after=leaf.not_valid_after_utc,
        created_at=call.now,
    )
    call.db.add(row)
    return {"certificate": answer(call, row)}


def _refuse_unserved(call: Call, names: list[str]) -> None:
    """422 for names whose DNS isn't in the account: the proof is made there."""
    zones = set(call.db.scalars(select(Kept.id).where(Kept.kind == "domain")))
    if not names:
        raise unprocessable("dns_names: at least one is needed")
    for name in names:
        if not re.fullmatch(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", name):
            raise unprocessable(f"dns_names: {name[:80]!r} is not a domain name")
        if not any(name == zone or name.endswith(f".{zone}") for zone in zones):
            raise unprocessable(f"dns_names: {name} is not within a domain of this account")


@service.get("/v2/certificates/{certificate_id}")
def show(call: Call) -> dict[str, Any]:
    return {"certificate": answer(call, _found(call))}


@service.delete("/v2/certificates/{certificate_id}")
def remove(call: Call) -> None:
    row = _found(call)
    for balancer in call.db.scalars(select(LoadBalancer)):
        if any(rule["certificate_id"] == row.id for rule in balancer.settings["forwarding_rules"]):
            raise forbidden("Make sure the certificate is not in use before deleting it")
    call.db.delete(row)
