"""Volumes and snapshots. The lab keeps volumes and attaches them to nothing; it takes no snapshots."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import select

from ..errors import conflict, unprocessable
from ..http import Call, Request, Service, iso
from ..tables import Kept
from . import tags
from .tags import Name as TagName

service = Service()


class Create(Request):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    region: str
    size_gigabytes: Annotated[int, Field(ge=1, le=16384)]
    description: str = ""
    tags: list[TagName] = []


@service.get("/v2/volumes")
def index(call: Call) -> dict[str, Any]:
    rows = select(Kept).where(Kept.kind == "volume").order_by(Kept.id)
    return call.page("volumes", rows, lambda row: row.body)


@service.post("/v2/volumes")
def create(call: Call) -> dict[str, Any]:
    wanted = call.body(Create)
    if wanted.region not in call.catalogue.regions:
        raise unprocessable(f"region: {wanted.region!r} is not a region. See GET /v2/regions.")
    for other in call.db.scalars(select(Kept).where(Kept.kind == "volume")):
        if (other.body["name"], other.body["region"]["slug"]) == (wanted.name, wanted.region):
            raise conflict(f"a volume named {wanted.name!r} already exists in {wanted.region}")
    identity = str(uuid.uuid4())
    body = {
        "id": identity,
        "name": wanted.name,
        "description": wanted.description,
        "region": call.catalogue.region_answer(wanted.region),
        "droplet_ids": [],
        "size_gigabytes": wanted.size_gigabytes,
        "filesystem_type": "",
        "filesystem_label": "",
        "tags": tags.ensure(call, wanted.tags),
        "created_at": iso(call.now),
    }
    call.db.add(Kept(kind="volume", id=identity, body=body))
    return {"volume": body}


@service.get("/v2/volumes/{volume_id}")
def show(call: Call) -> dict[str, Any]:
    return {"volume": call.get(Kept, ("volume", call.path["volume_id"])).body}


@service.delete("/v2/volumes/{volume_id}")
def remove(call: Call) -> None:
    call.db.delete(call.get(Kept, ("volume", call.path["volume_id"])))


@service.get("/v2/snapshots")
def snapshots(call: Call) -> dict[str, Any]:
    return call.page("snapshots", [])
