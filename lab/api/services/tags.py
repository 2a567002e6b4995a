"""Tags, and the droplets that carry them. Names are matched whatever their case."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import delete, select

from ..errors import unprocessable
from ..http import MAX_ID, Call, Request, Service
from ..tables import Droplet, Firewall, LoadBalancer, Tag, Tagging

service = Service()

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_\-:]+$", max_length=255)]


class Create(Request):
    name: Name


class Resource(Request):
    resource_id: str
    resource_type: str


class Resources(Request):
    resources: Annotated[list[Resource], Field(min_length=1, max_length=200)]


def ensure(call: Call, names: list[str]) -> list[str]:
    """Make the tags that are not there yet; the names as the account spells them, each once."""
    spelled: dict[str, None] = {}
    for name in names:
        row = call.db.get(Tag, name) or call.db.scalar(select(Tag).where(Tag.name == name))
        if row is None:
            row = Tag(name=name)
            call.db.add(row)
            call.db.flush()
        spelled[row.name] = None
    return list(spelled)


def existing(call: Call, names: list[str]) -> list[str]:
    """The names as the account spells them, or 422 for one it does not have."""
    spelled: dict[str, None] = {}
    for name in names:
        row = call.db.scalar(select(Tag).where(Tag.name == name))
        if row is None:
            raise unprocessable(f"tag {name!r} does not exist: create it before it is used")
        spelled[row.name] = None
    return list(spelled)


def answer(call: Call, row: Tag) -> dict[str, Any]:
    ids = list(
        call.db.scalars(select(Tagging.droplet_id).where(Tagging.tag == row.name).order_by(Tagging.id))
    )
    droplets: dict[str, Any] = {"count": len(ids)}
    if ids:
        droplets["last_tagged_uri"] = call.href(f"/v2/droplets/{ids[-1]}")
    none = {kind: {"count": 0} for kind in ("images", "volumes", "volume_snapshots", "databases")}
    return {"name": row.name, "resources": {**droplets, "droplets": droplets, **none}}


def _found(call: Call) -> Tag:
    return call.get(Tag, call.path["tag"])


def _droplets(call: Call) -> list[Droplet]:
    """The droplets named in the request, or 422."""
    found = []
    for resource in call.body(Resources).resources:
        text = resource.resource_id
        if resource.resource_type != "droplet":
            raise unprocessable(f"resource_type {resource.resource_type!r} is not one the lab has: droplet")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
        droplet = call.db.get(Droplet, number) if number <= MAX_ID else None
        if droplet is None:
            raise unprocessable(f"resource {text!r} of type droplet does not exist")
        found.append(droplet)
    return found


@service.get("/v2/tags")
def index(call: Call) -> dict[str, Any]:
    return call.page("tags", select(Tag).order_by(Tag.name), lambda row: answer(call, row))


@service.post("/v2/tags")
def create(call: Call) -> dict[str, Any]:
    (name,) = ensure(call, [call.body(Create).name])
    return {"tag": answer(call, call.get(Tag, name))}


@service.get("/v2/tags/{tag}")
def show(call: Call) -> dict[str, Any]:
    return {"tag": answer(call, _found(call))}


@service.delete("/v2/tags/{tag}")
def remove(call: Call) -> None:
    row = _found(call)
    for firewall in call.db.scalars(select(Firewall)):
        firewall.tags = [name for name in firewall.tags if name.lower() != row.name.lower()]
    for balancer in call.db.scalars(select(LoadBalancer)):
        if balancer.settings["tag"].lower() == row.name.lower():
            balancer.settings = {**balancer.settings, "tag": ""}
    call.db.execute(delete(Tag).where(Tag.name == row.name))


@service.post("/v2/tags/{tag}/resources", status=204)
def assign(call: Call) -> None:
    row = _found(call)
    for droplet in _droplets(call):
        if row.name not in droplet.tags:
            droplet.taggings.append(Tagging(tag=row.name))
            call.db.flush()


@service.delete("/v2/tags/{tag}/resources")
def unassign(call: Call) -> None:
    row = _found(call)
    for droplet in _droplets(call):
        droplet.taggings = [each for each in droplet.taggings if each.tag != row.name]
