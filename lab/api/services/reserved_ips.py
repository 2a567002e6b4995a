"""Reserved addresses. The lab keeps them; no packet is ever sent to one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from .. import addresses
from ..errors import unprocessable
from ..http import Call, Id, Request, Service
from ..tables import Droplet, Kept
from . import projects

service = Service()

RANGE = "192.0.2.0/24"
"""TEST-NET-1 (RFC 5737): the lab's machines have addresses of another range."""


class Create(Request):
    region: str = ""
    droplet_id: Id | None = None


def answer(call: Call, row: Kept) -> dict[str, Any]:
    droplet = call.db.get(Droplet, row.body["droplet_id"]) if row.body["droplet_id"] else None
    return {
        "ip": row.id,
        "region": call.catalogue.region_answer(row.body["region"]),
        "droplet": {"id": droplet.id, "name": droplet.name} if droplet else None,
        "locked": False,
        "project_id": projects.default_id(call),
    }


@service.get("/v2/reserved_ips")
def index(call: Call) -> dict[str, Any]:
    rows = select(Kept).where(Kept.kind == "reserved-ip").order_by(Kept.id)
    return call.page("reserved_ips", rows, lambda row: answer(call, row))


@service.post("/v2/reserved_ips", status=202)
def create(call: Call) -> dict[str, Any]:
    wanted = call.body(Create)
    droplet = call.db.get(Droplet, wanted.droplet_id) if wanted.droplet_id else None
    if wanted.droplet_id and not droplet:
        raise unprocessable(f"droplet_id: there is no droplet {wanted.droplet_id}")
    region = droplet.region if droplet else wanted.region
    if region not in call.catalogue.regions:
        raise unprocessable("one of droplet_id and region has to be given")
    taken = call.db.scalars(select(Kept.id).where(Kept.kind == "reserved-ip"))
    try:
        address = next(addresses.free_addresses(RANGE, addresses.FIRST_PUBLIC, list(taken)))
    except addresses.Exhausted as error:
        raise unprocessable(f"{error}: release one first") from None
    row = Kept(kind="reserved-ip", id=address, body={"region": region, "droplet_id": wanted.droplet_id})
    call.db.add(row)
    return {"reserved_ip": answer(call, row)}


@service.get("/v2/reserved_ips/{ip}")
def show(call: Call) -> dict[str, Any]:
    return {"reserved_ip": answer(call, call.get(Kept, ("reserved-ip", call.path["ip"])))}


@service.delete("/v2/reserved_ips/{ip}")
def remove(call: Call) -> None:
    call.db.delete(call.get(Kept, ("reserved-ip", call.path["ip"])))
