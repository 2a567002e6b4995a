"""Actions of every resource. An errored one carries ``message``, which DigitalOcean's do not: why it failed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from ..http import Call, Service, iso
from ..tables import Action

service = Service()


def answer(call: Call, row: Action) -> dict[str, Any]:
    body = {
        "id": row.id,
        "status": row.status,
        "type": row.type,
        "started_at": iso(row.started_at),
        "completed_at": iso(row.completed_at) if row.completed_at else None,
        "resource_id": row.resource_id,
        "resource_type": "droplet",
        "region": call.catalogue.region_answer(row.region),
        "region_slug": row.region,
    }
    return body | ({"message": row.message} if row.message else {})


@service.get("/v2/actions")
def index(call: Call) -> dict[str, Any]:
    return call.page("actions", select(Action).order_by(Action.id.desc()), lambda row: answer(call, row))


@service.get("/v2/actions/{action_id}")
def show(call: Call) -> dict[str, Any]:
    return {"action": answer(call, call.get(Action, call.path_id("action_id")))}
