"""The metadata service: DigitalOcean's paths under /metadata/v1, answered to the droplet that asks.

Who asks is told by the client's address, public or private, and by nothing a droplet could say. Served at
169.254.169.254 inside each region's network; cloud-init reads it at first boot.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from sqlalchemy import or_, select
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .store import Store
from .tables import Droplet, Vpc

# DigitalOcean's resolvers; the lab's router answers at the same addresses.
NAMESERVERS = ["67.207.67.2", "67.207.67.3"]


def create_app(store: Store, *, region: str | None = None) -> Starlette:
    """The service on ``store``. ``region`` narrows the search: private ranges are one account's, yet a socket
    inside a region's network should answer that region's droplets only."""

    def document(client: str) -> dict[str, Any] | None:
        """What the droplet at address ``client`` may know of itself."""
        with store.read() as db:
            here = select(Droplet).where(or_(Droplet.public_ipv4 == client, Droplet.private_ipv4 == client))
            if region:
                here = here.where(Droplet.region == region)
            row = db.scalars(here).first()
            if row is None:
                return None
            return describe(row, store.account(db).public_range, db.get_one(Vpc, row.vpc_id).ip_range)

    async def answer(request: Request) -> Response:
        client = request.client.host if request.client else ""
        known = await run_in_threadpool(document, client)
        if known is None:
            return PlainTextResponse("not found", status_code=404)
        path = request.path_params.get("path")
        if path is None:
            return JSONResponse(known)
        value = walk(known, [part for part in path.split("/") if part])
        return PlainTextResponse("not found", status_code=404) if value is None else PlainTextResponse(value)

    return Starlette(
        routes=[
            Route("/metadata/v1.json", answer),
            Route("/metadata/v1", answer_root := _with_path(answer, "")),
            Route("/metadata/v1/", answer_root),
            Route("/metadata/v1/{path:path}", answer),
        ]
    )


def _with_path(answer, path: str):
    async def endpoint(request: Request) -> Response:
        request.path_params["path"] = path
        return await answer(request)

    return endpoint


def describe(row: Droplet, public_range: str, vpc_range: str) -> dict[str, Any]:
    """The droplet's document, as /metadata/v1.json shows it."""
    return {
        "droplet_id": row.id,
        "hostname": row.name,
        "user_data": row.user_data,
        "vendor_data": "",
        "public_keys": row.public_keys,
        "auth_key": "",
        "region": row.region,
        "interfaces": {
            "private": [_interface(row, row.private_ipv4, vpc_range, "private")],
            "public": [_interface(row, row.public_ipv4, public_range, "public")],
        },
        "floating_ip": {"ipv4": {"active": False}},
        "reserved_ip": {"ipv4": {"active": False}},
        "dns": {"nameservers": NAMESERVERS},
        "tags": row.tags,
        "features": {"dhcp_enabled": False},
    }


def _interface(row: Droplet, address: str, cidr: str, kind: str) -> dict[str, Any]:
    network = ipaddress.IPv4Network(cidr)
    return {
        "ipv4": {
            "ip_address": address,
            "netmask": str(network.netmask),
            "gateway": str(network.network_address + 1),
        },
        "mac": mac(row.id, kind),
        "type": kind,
    }


def mac(droplet_id: int, kind: str) -> str:
    """The hardware address of a droplet's ``public`` or ``private`` interface: locally administered, from its id."""
    octets = droplet_id.to_bytes(8, "big")[-4:]
    return ":".join(f"{octet:02x}" for octet in (0x02, 0 if kind == "public" else 1, *octets))


# Where a path's word is not the document's.
_WORDS = {"id": "droplet_id", "ip_address": "ip_address"}


def walk(document: Any, parts: list[str]) -> str | None:
    """What a path below /metadata/v1/ answers: a value, a list of what is below (folders end in /), or None."""
    value = document
    for depth, part in enumerate(parts):
        if isinstance(value, dict):
            word = part if depth else part.replace("-", "_")
            value = value.get(_WORDS.get(word, word))
        elif isinstance(value, list):
            value = value[int(part)] if part.isdigit() and len(part) < 6 and int(part) < len(value) else None
        else:
            return None
    if isinstance(value, dict):
        return "\n".join(_entry(name, each, top=not parts) for name, each in value.items())
    if isinstance(value, list):
        folders = any(isinstance(each, dict) for each in value)
        return "\n".join(f"{index}/" for index in range(len(value))) if folders else "\n".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _entry(name: str, value: Any, *, top: bool) -> str:
    """A line of a listing. The document's words have underscores, the first level of the paths has hyphens."""
    word = {"droplet_id": "id"}.get(
        name, name.replace("_", "-") if top and name not in _UNDERSCORED else name
    )
    folder = isinstance(value, dict) or (isinstance(value, list) and name in _FOLDERS)
    return f"{word}/" if folder else word


_UNDERSCORED = {"floating_ip", "reserved_ip"}
_FOLDERS = {"public", "private", "tags"}
