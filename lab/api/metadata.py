"""The metadata service: DigitalOcean's paths under /metadata/v1, answered to the droplet that asks.

Who asks is told by the client's address, public or private, and by nothing a droplet could say. Served at
169.254.169.254 inside each region's network; cloud-init reads it at first boot. Any process on a droplet can.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from sqlalchemy import or_, select
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from .store import Store
from .tables import Droplet, Vpc

# DigitalOcean's resolvers; the lab's router answers at the same addresses.
NAMESERVERS = ["67.207.67.2", "67.207.67.3"]


def create_app(store: Store, *, region: str | None = None) -> Starlette:
    """The service on ``store``; ``region`` is the one whose network the socket is in, None for any."""

    def document(client: str) -> dict[str, Any] | None:
        """What the droplet at address ``client`` may know of itself."""
        with store.read() as db:
            asking = select(Droplet).where(or_(Droplet.public_ipv4 == client, Droplet.private_ipv4 == client))
            row = db.scalars(asking.where(Droplet.region == region) if region else asking).first()
            if row is None:
                return None
            return describe(row, store.account(db).public_range, db.get_one(Vpc, row.vpc_id).ip_range)

    async def answer(request: Request) -> Response:
        known = await run_in_threadpool(document, request.client.host if request.client else "")
        if known is None:
            return PlainTextResponse("not found", status_code=404)
        if request.url.path.endswith("/v1.json"):
            return JSONResponse(known)
        path, texts = request.path_params.get("path", ""), paths(known)
        if path not in texts and f"{path}/" in folders(texts):
            return RedirectResponse(f"/metadata/v1/{path}/", status_code=301)
        found = look_up(texts, path)
        return PlainTextResponse("not found", status_code=404) if found is None else PlainTextResponse(found)

    paths_served = ("/metadata/v1.json", "/metadata/v1", "/metadata/v1/", "/metadata/v1/{path:path}")
    return Starlette(routes=[Route(path, answer) for path in paths_served])


def describe(row: Droplet, public_range: str, vpc_range: str) -> dict[str, Any]:
    """The droplet's document, as /metadata/v1.json shows it."""
    reserved = {"ipv4": {"active": False}}
    return {
        "droplet_id": row.id,
        "hostname": row.name,
        **({"user_data": row.user_data} if row.user_data else {}),
        "vendor_data": "",
        "public_keys": row.public_keys,
        "region": row.region,
        "interfaces": {
            "private": [_interface(row.id, row.private_ipv4, vpc_range, "private")],
            "public": [_interface(row.id, row.public_ipv4, public_range, "public")]
            if row.public_ipv4
            else [],
        },
        "dns": {"nameservers": NAMESERVERS},
        "floating_ip": reserved,
        "reserved_ip": reserved,
        "tags": row.tags,
        "features": {"dhcp_enabled": False},
    }


def _interface(droplet_id: int, address: str, cidr: str, kind: str) -> dict[str, Any]:
    network = ipaddress.IPv4Network(cidr)
    return {
        "ipv4": {
            "ip_address": address,
            "netmask": str(network.netmask),
            "gateway": str(network.network_address + 1),
        },
        "mac": mac(droplet_id, kind),
        "type": kind,
    }


def mac(droplet_id: int, kind: str) -> str:
    """The hardware address of a droplet's ``public`` or ``private`` interface: locally administered, by its id."""
    octets = droplet_id.to_bytes(8, "big")[-4:]
    return ":".join(f"{octet:02x}" for octet in (0x02, 0 if kind == "public" else 1, *octets))


def paths(document: dict[str, Any]) -> dict[str, str]:
    """The document as the texts below /metadata/v1/, in the order an index lists them."""
    texts = {
        "id": str(document["droplet_id"]),
        "hostname": document["hostname"],
        "user-data": document.get("user_data", ""),
        "vendor-data": document["vendor_data"],
        "public-keys": "\n".join(document["public_keys"]),
        "region": document["region"],
    }
    for kind, interfaces in document["interfaces"].items():
        for number, interface in enumerate(interfaces):
            at, ipv4 = f"interfaces/{kind}/{number}", interface["ipv4"]
            texts |= {
                f"{at}/ipv4/address": ipv4["ip_address"],
                f"{at}/ipv4/netmask": ipv4["netmask"],
                f"{at}/ipv4/gateway": ipv4["gateway"],
                f"{at}/mac": interface["mac"],
                f"{at}/type": kind,
            }
    return texts | {
        "dns/nameservers": "\n".join(document["dns"]["nameservers"]),
        "floating_ip/ipv4/active": "false",
        "reserved_ip/ipv4/active": "false",
        "tags/": "\n".join(document["tags"]),
        "features/dhcp_enabled": "false",
    }


def folders(texts: dict[str, str]) -> set[str]:
    """Every index below /metadata/v1/, with its slash."""
    return {key[: end + 1] for key in texts for end, letter in enumerate(key) if letter == "/"}


def look_up(texts: dict[str, str], path: str) -> str | None:
    """A text, or an index of what is below (one a line, a slash after what goes deeper), or None."""
    if path in texts:
        return texts[path]
    if path and path not in folders(texts):
        return None
    below = (key.removeprefix(path).partition("/") for key in texts if key.startswith(path))
    return "\n".join(dict.fromkeys(head + slash for head, slash, _ in below))
