"""SSH keys of the account, found by id or by MD5 fingerprint."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from pydantic import Field
from sqlalchemy import select

from ..errors import not_found, unprocessable
from ..http import MAX_ID, Call, Request, Service
from ..tables import SshKey

service = Service()

KINDS = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
HARDWARE = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
Name = Annotated[str, Field(min_length=1, max_length=255)]


class Create(Request):
    name: Name
    public_key: Annotated[str, Field(max_length=16384)]


class Update(Request):
    name: Name


def answer(row: SshKey) -> dict[str, Any]:
    return {"id": row.id, "fingerprint": row.fingerprint, "public_key": row.public_key, "name": row.name}


def fingerprint(public_key: str) -> str:
    """The MD5 fingerprint, which is DigitalOcean's name for a key. ValueError where the text is no key."""
    kind, _, rest = public_key.strip().partition(" ")
    try:
        blob = base64.b64decode(rest.split(" ", 1)[0], validate=True)
        length = int.from_bytes(blob[:4], "big")
        if (
            blob[4 : 4 + length].decode() != kind
            or kind not in KINDS + HARDWARE
            or "\n" in public_key.strip()
        ):
            raise ValueError(kind)
        if kind in KINDS:
            load_ssh_public_key(f"{kind} {rest}".encode())
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise ValueError("Key invalid, key should be of the format `type key [comment]`") from None
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, 32, 2))


def find(call: Call, identifier: str | int) -> SshKey | None:
    """A key by id or fingerprint."""
    text = str(identifier)
    if text.isascii() and text.isdigit():
        return call.db.get(SshKey, int(text)) if len(text) < 20 and int(text) <= MAX_ID else None
    return call.db.scalar(select(SshKey).where(SshKey.fingerprint == text))


def _found(call: Call) -> SshKey:
    row = find(call, call.path["key_id"])
    if row is None:
        raise not_found()
    return row


@service.get("/v2/account/keys")
def index(call: Call) -> dict[str, Any]:
    return call.page("ssh_keys", select(SshKey).order_by(SshKey.id), answer)


@service.post("/v2/account/keys")
def create(call: Call) -> dict[str, Any]:
    wanted = call.body(Create)
    try:
        digest = fingerprint(wanted.public_key)
    except ValueError as error:
        raise unprocessable(str(error)) from None
    if find(call, digest):
        raise unprocessable("SSH Key is already in use on your account")
    row = SshKey(name=wanted.name, fingerprint=digest, public_key=wanted.public_key.strip())
    call.db.add(row)
    call.db.flush()
    return {"ssh_key": answer(row)}


@service.get("/v2/account/keys/{key_id}")
def show(call: Call) -> dict[str, Any]:
    return {"ssh_key": answer(_found(call))}


@service.put("/v2/account/keys/{key_id}")
def update(call: Call) -> dict[str, Any]:
    row = _found(call)
    row.name = call.body(Update).name
    return {"ssh_key": answer(row)}


@service.delete("/v2/account/keys/{key_id}")
def remove(call: Call) -> None:
    call.db.delete(_found(call))
