"""Projects: names under which resources are grouped. What was never put into one is in the default project."""

from __future__ import annotations

import re
import uuid
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import select

from ..errors import ApiError, conflict, forbidden, not_found, unprocessable
from ..http import Call, Request, Service, iso
from ..tables import Kept

service = Service()

PROJECT, PLACE = "project", "project-resource"
URN = r"do:(dbaas|domain|droplet|floatingip|loadbalancer|space|volume|kubernetes|vpc):[^\s]{1,200}"

Name = Annotated[str, Field(min_length=1, max_length=175)]
Text = Annotated[str, Field(max_length=255)]
Environment = Literal["Development", "Staging", "Production"]


class Create(Request):
    name: Name
    purpose: Annotated[str, Field(min_length=1, max_length=255)]
    description: Text = ""
    environment: Environment | None = None


class Change(Request):
    name: Name | None = None
    purpose: Text | None = None
    description: Text | None = None
    environment: Environment | None = None
    is_default: bool | None = None


class Resources(Request):
    resources: Annotated[list[str], Field(max_length=200)]


def default_id(call: Call) -> str:
    """The default project's id: every account has one from the start, so it follows from the account's."""
    return str(uuid.uuid5(uuid.UUID(call.account.uuid), "project"))


def _default(call: Call) -> dict[str, Any]:
    created = iso(call.account.created_at)
    first = {
        "id": default_id(call),
        "owner_uuid": call.account.uuid,
        "owner_id": call.account.id,
        "name": "seawall",
        "description": "",
        "purpose": "Operational / Developer tooling",
        "environment": "Development",
        "created_at": created,
        "updated_at": created,
        "is_default": True,
    }
    changed = call.db.get(Kept, (PROJECT, first["id"]))
    return first | (changed.body if changed else {})


def _all(call: Call) -> list[dict[str, Any]]:
    rows = call.db.scalars(select(Kept).where(Kept.kind == PROJECT).order_by(Kept.id))
    return [_default(call), *(row.body for row in rows if row.id != default_id(call))]


def _found(call: Call) -> dict[str, Any]:
    wanted = call.path.get("project_id", "default")
    for project in _all(call):
        if wanted == project["id"] or (wanted == "default" and project["id"] == default_id(call)):
            return project
    raise not_found()


def _keep(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    if any(each["name"] == body["name"] and each["id"] != body["id"] for each in _all(call)):
        raise conflict(f"a project named {body['name']!r} already exists")
    row = call.db.get(Kept, (PROJECT, body["id"]))
    if row is None:
        call.db.add(Kept(kind=PROJECT, id=body["id"], body=body))
    else:
        row.body = body
    return {"project": body}


@service.get("/v2/projects")
def index(call: Call) -> dict[str, Any]:
    return call.page("projects", _all(call))


@service.post("/v2/projects")
def create(call: Call) -> dict[str, Any]:
    now = iso(call.now)
    own = {"id": str(uuid.uuid4()), "created_at": now, "updated_at": now, "is_default": False}
    wanted = {k: v for k, v in call.body(Create).model_dump().items() if v is not None}
    return _keep(call, _default(call) | own | {"environment": "Development"} | wanted)


@service.get("/v2/projects/{project_id}")
def show(call: Call) -> dict[str, Any]:
    return {"project": _found(call)}


@service.patch("/v2/projects/{project_id}")
def change(call: Call) -> dict[str, Any]:
    found, wanted = _found(call), call.body(Change).model_dump(exclude_none=True)
    if wanted.pop("is_default", found["is_default"]) != found["is_default"]:
        raise unprocessable("is_default: this cloud's default project stays the default")
    return _keep(call, found | wanted | {"updated_at": iso(call.now)})


@service.put("/v2/projects/{project_id}")
def replace(call: Call) -> dict[str, Any] | None:
    return change(call)


@service.delete("/v2/projects/{project_id}")
def remove(call: Call) -> None:
    found = _found(call)
    if found["is_default"]:
        raise forbidden("the default project can't be deleted")
    if _places(call, found["id"]):
        raise ApiError(
            412, "precondition_failed", "a project with resources can't be deleted; move them first"
        )
    call.db.delete(call.get(Kept, (PROJECT, found["id"])))


def _places(call: Call, project: str) -> list[Kept]:
    return list(
        call.db.scalars(select(Kept).where(Kept.kind == PLACE, Kept.within == project).order_by(Kept.id))
    )


def _place(call: Call, row: Kept, status: str) -> dict[str, Any]:
    _, kind, name = row.id.split(":", 2)
    paths = {"droplet": "droplets", "loadbalancer": "load_balancers", "domain": "domains", "vpc": "vpcs"}
    itself = call.href(f"/v2/{paths.get(kind, 'reserved_ips' if kind == 'floatingip' else kind)}/{name}")
    return {
        "urn": row.id,
        "assigned_at": row.body["assigned_at"],
        "links": {"self": itself},
        "status": status,
    }


@service.get("/v2/projects/{project_id}/resources")
def resources(call: Call) -> dict[str, Any]:
    return call.page("resources", _places(call, _found(call)["id"]), lambda row: _place(call, row, "ok"))


@service.post("/v2/projects/{project_id}/resources", status=200)
def assign(call: Call) -> dict[str, Any]:
    project, moved = _found(call)["id"], []
    for urn in call.body(Resources).resources:
        if not re.fullmatch(URN, urn):
            raise unprocessable(f"resources: {urn[:80]!r} is no resource's name, like do:droplet:4711")
        row = call.db.get(Kept, (PLACE, urn))
        status = "already_assigned" if row and row.within == project else "assigned"
        if row is None:
            row = Kept(kind=PLACE, id=urn, body={"assigned_at": iso(call.now)})
            call.db.add(row)
        row.within = project
        moved.append(_place(call, row, status))
    return {"resources": moved}
