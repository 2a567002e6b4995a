"""The one project every account has. Clients look it up; everything belongs to it."""

from __future__ import annotations

import uuid
from typing import Any

from ..errors import not_found
from ..http import Call, Service, iso

service = Service()


def default_id(call: Call) -> str:
    """The default project's id: one account, one project, so it follows from the account's."""
    return str(uuid.uuid5(uuid.UUID(call.account.uuid), "project"))


def answer(call: Call) -> dict[str, Any]:
    created = iso(call.account.created_at)
    return {
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


@service.get("/v2/projects")
def index(call: Call) -> dict[str, Any]:
    return call.page("projects", [answer(call)])


@service.get("/v2/projects/{project_id}")
def show(call: Call) -> dict[str, Any]:
    if call.path["project_id"] not in ("default", default_id(call)):
        raise not_found()
    return {"project": answer(call)}
