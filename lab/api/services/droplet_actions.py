"""Actions on droplets: power, rename, resize, rebuild. What each needs and leaves is in ``transitions``."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sqlalchemy import select

from ..errors import not_found, unprocessable
from ..http import Call, Request, Service
from ..reconciler import begin
from ..tables import Action, Droplet
from ..transitions import IMPOSSIBLE_ACTIONS
from . import actions, droplets

service = Service()

# Actions of the API's own making, which no client may post.
INTERNAL = frozenset({"create", "destroy"})


class Create(Request):
    type: str = Field(max_length=64)
    name: droplets.Name | None = None
    size: str | None = None
    disk: bool = False
    image: droplets.Identifier | None = None
    backup_policy: droplets.BackupPolicy | None = None


def _start(call: Call, row: Droplet, wanted: Create, busy: set[int]) -> Action:
    """Accept the action, or 422 saying why not."""
    if wanted.type in IMPOSSIBLE_ACTIONS:
        raise unprocessable(f"type: {wanted.type} is not available in this cloud")
    kind = None if wanted.type in INTERNAL else call.transitions.actions.get(wanted.type)
    if kind is None:
        raise unprocessable(f"type: {wanted.type!r} is not a Droplet action")
    if row.id in busy:
        raise unprocessable("Droplet already has a pending event.")
    if kind.needs and row.status != kind.needs:
        raise unprocessable(f"Droplet is {row.status}; {wanted.type} needs it {kind.needs}.")
    if wanted.type == "rename":
        row.name = _required(wanted.name, "name")
    elif wanted.type == "resize":
        _resize(call, row, wanted)
    elif wanted.type == "rebuild":
        image = call.catalogue.image(_required(wanted.image, "image"))
        if image is None:
            raise unprocessable(f"image: {wanted.image!r} is not an image. See GET /v2/images.")
        row.image = image.slug
    elif wanted.type in ("enable_backups", "disable_backups", "change_backup_policy"):
        if wanted.type == "change_backup_policy" and row.backup_policy is None:
            raise unprocessable("Backups are not enabled on this Droplet.")
        droplets.set_backups(row, wanted.backup_policy, on=wanted.type != "disable_backups")
    if kind.power is not None:
        row.powered = kind.power
    action = begin(row, wanted.type, call.now)
    call.db.add(action)
    call.db.flush()
    return action


def _required(value: Any, name: str) -> Any:
    if value is None:
        raise unprocessable(f"{name}: is required")
    return value


def _resize(call: Call, row: Droplet, wanted: Create) -> None:
    """Another size; with ``disk`` its disk too, which only grows."""
    size = call.catalogue.sizes.get(_required(wanted.size, "size"))
    if size is None or row.region in size.absent:
        raise unprocessable(f"size: {wanted.size!r} is not available in region {row.region}")
    if size.disk < row.disk:
        raise unprocessable(f"size: {size.slug} has {size.disk} GiB of disk, the Droplet has {row.disk}")
    row.size = size.slug
    if wanted.disk:
        row.disk = size.disk


@service.post("/v2/droplets/actions")
def create_tagged(call: Call) -> dict[str, Any]:
    wanted, rows, busy = call.body(Create), droplets.tagged(call), droplets.locked(call)
    return {"actions": [actions.answer(call, _start(call, row, wanted, busy)) for row in rows]}


@service.get("/v2/droplets/{droplet_id}/actions")
def index(call: Call) -> dict[str, Any]:
    row = droplets.found(call)
    rows = select(Action).where(Action.resource_id == row.id).order_by(Action.id.desc())
    return call.page("actions", rows, lambda each: actions.answer(call, each))


@service.post("/v2/droplets/{droplet_id}/actions")
def create(call: Call) -> dict[str, Any]:
    row = droplets.found(call)
    return {"action": actions.answer(call, _start(call, row, call.body(Create), droplets.locked(call)))}


@service.get("/v2/droplets/{droplet_id}/actions/{action_id}")
def show(call: Call) -> dict[str, Any]:
    row = call.get(Action, call.path_id("action_id"))
    if row.resource_id != droplets.found(call).id:
        raise not_found()
    return {"action": actions.answer(call, row)}
