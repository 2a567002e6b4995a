"""Reserved addresses: public ones that lead to the droplet they are assigned to, and to another when told."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import select

from ..errors import not_found, unprocessable
from ..http import Call, Id, Request, Service
from ..tables import Action, Droplet, ReservedIp
from . import actions, projects, vpcs

service = Service()


class Create(Request):
    region: str = ""
    droplet_id: Id | None = None


class Act(Request):
    type: Literal["assign", "unassign"]
    droplet_id: Id | None = None


def answer(call: Call, row: ReservedIp) -> dict[str, Any]:
    droplet = call.db.get(Droplet, row.droplet_id) if row.droplet_id else None
    return {
        "ip": row.ip,
        "region": call.catalogue.region_answer(row.region),
        "droplet": {"id": droplet.id, "name": droplet.name} if droplet else None,
        "locked": False,
        "project_id": projects.default_id(call),
    }


def _found(call: Call) -> ReservedIp:
    return call.get(ReservedIp, call.path["ip"])


def _assignable(call: Call, droplet_id: int, region: str | None = None) -> Droplet:
    """The droplet, or 422 saying why it can't have a reserved address."""
    droplet = call.db.get(Droplet, droplet_id)
    if droplet is None:
        raise unprocessable(f"droplet_id: there is no droplet {droplet_id}")
    if region and droplet.region != region:
        raise unprocessable(f"droplet_id: {droplet.name} is in {droplet.region}, and the address in {region}")
    if droplet.public_ipv4 is None:
        raise unprocessable(f"droplet_id: {droplet.name} has no public interface")
    if call.db.scalar(select(ReservedIp).where(ReservedIp.droplet_id == droplet_id)):
        raise unprocessable(f"droplet_id: {droplet.name} has a reserved address already")
    return droplet


@service.get("/v2/reserved_ips")
def index(call: Call) -> dict[str, Any]:
    return call.page(
        "reserved_ips", select(ReservedIp).order_by(ReservedIp.ip), lambda row: answer(call, row)
    )


@service.post("/v2/reserved_ips", status=202)
def create(call: Call) -> dict[str, Any]:
    wanted = call.body(Create)
    region = _assignable(call, wanted.droplet_id).region if wanted.droplet_id else wanted.region
    if region not in call.catalogue.regions:
        raise unprocessable("one of droplet_id and region has to be given")
    row = ReservedIp(ip=next(vpcs.public_addresses(call)), region=region, droplet_id=wanted.droplet_id)
    call.db.add(row)
    return {"reserved_ip": answer(call, row)}


@service.get("/v2/reserved_ips/{ip}")
def show(call: Call) -> dict[str, Any]:
    return {"reserved_ip": answer(call, _found(call))}


@service.delete("/v2/reserved_ips/{ip}")
def remove(call: Call) -> None:
    call.db.delete(_found(call))


@service.post("/v2/reserved_ips/{ip}/actions")
def act(call: Call) -> dict[str, Any]:
    row, wanted = _found(call), call.body(Act)
    if wanted.type == "unassign":
        if row.droplet_id is None:
            raise unprocessable("The reserved IP is not assigned.")
        row.droplet_id = None
    elif wanted.droplet_id is None:
        raise unprocessable("droplet_id: is required")
    elif wanted.droplet_id != row.droplet_id:
        row.droplet_id = _assignable(call, wanted.droplet_id, row.region).id
    done = Action(
        type=f"{wanted.type}_ip",
        status="completed",
        started_at=call.now,
        completed_at=call.now,
        resource_id=row.droplet_id or 0,
        region=row.region,
    )
    call.db.add(done)
    call.db.flush()
    return {"action": _answer(call, row, done)}


@service.get("/v2/reserved_ips/{ip}/actions")
def list_actions(call: Call) -> dict[str, Any]:
    row = _found(call)
    rows = select(Action).where(Action.type.in_(("assign_ip", "unassign_ip"))).order_by(Action.id.desc())
    return call.page("actions", rows, lambda each: _answer(call, row, each))


@service.get("/v2/reserved_ips/{ip}/actions/{action_id}")
def show_action(call: Call) -> dict[str, Any]:
    row, done = _found(call), call.get(Action, call.path_id("action_id"))
    if not done.type.endswith("assign_ip"):
        raise not_found()
    return {"action": _answer(call, row, done)}


def _answer(call: Call, row: ReservedIp, done: Action) -> dict[str, Any]:
    # An address is no number; what the action was about stands in the path.
    return actions.answer(call, done) | {"resource_id": None, "resource_type": "reserved_ip"}
