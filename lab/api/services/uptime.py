"""Uptime checks and their alerts. The lab keeps them; nobody looks, so that each is CHECKING for ever."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import select

from ..errors import not_found, unprocessable
from ..http import Call, Request, Service, iso
from ..tables import Kept
from .monitoring import Receivers

service = Service()

CHECK, ALERT = "uptime-check", "uptime-alert"
Name = Annotated[str, Field(min_length=1, max_length=255)]
Region = Literal["us_east", "us_west", "eu_west", "se_asia"]


class Check(Request):
    name: Name
    type: Literal["ping", "http", "https"]
    target: Annotated[str, Field(min_length=1, max_length=2048)]
    regions: Annotated[list[Region], Field(max_length=4)] = []
    enabled: bool = True


class Alert(Request):
    name: Name
    type: Literal["latency", "down", "down_global", "ssl_expiry"]
    threshold: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    comparison: Literal["greater_than", "less_than"] | None = None
    notifications: Receivers
    period: Literal["2m", "3m", "5m", "10m", "15m", "30m", "1h"] | None = None


def _wanted(call: Call) -> dict[str, Any]:
    wanted = call.body(Check)
    if wanted.type != "ping" and not wanted.target.startswith(f"{wanted.type}://"):
        raise unprocessable(f"target: an {wanted.type} check needs an address that begins {wanted.type}://")
    return wanted.model_dump()


def _check(call: Call) -> Kept:
    return call.get(Kept, (CHECK, call.path["check_id"]))


def _alerts(check: str):
    return select(Kept).where(Kept.kind == ALERT, Kept.within == check).order_by(Kept.id)


def _alert(call: Call) -> Kept:
    row = call.get(Kept, (ALERT, call.path["alert_id"]))
    if row.within != _check(call).id:
        raise not_found()
    return row


def _new(call: Call, kind: str, body: dict[str, Any], within: str = "") -> dict[str, Any]:
    identity = str(uuid.uuid4())
    row = Kept(kind=kind, id=identity, within=within, body={"id": identity, **body})
    call.db.add(row)
    return row.body


@service.get("/v2/uptime/checks")
def index(call: Call) -> dict[str, Any]:
    rows = select(Kept).where(Kept.kind == CHECK).order_by(Kept.id)
    return call.page("checks", rows, lambda row: row.body)


@service.post("/v2/uptime/checks")
def create(call: Call) -> dict[str, Any]:
    return {"check": _new(call, CHECK, _wanted(call))}


@service.get("/v2/uptime/checks/{check_id}")
def show(call: Call) -> dict[str, Any]:
    return {"check": _check(call).body}


@service.put("/v2/uptime/checks/{check_id}")
def update(call: Call) -> dict[str, Any]:
    row = _check(call)
    row.body = {"id": row.id, **_wanted(call)}
    return {"check": row.body}


@service.delete("/v2/uptime/checks/{check_id}")
def remove(call: Call) -> None:
    row = _check(call)
    for alert in call.db.scalars(_alerts(row.id)):
        call.db.delete(alert)
    call.db.delete(row)


@service.get("/v2/uptime/checks/{check_id}/state")
def state(call: Call) -> dict[str, Any]:
    body = _check(call).body
    unknown = {
        "status": "CHECKING",
        "status_changed_at": iso(call.account.created_at),
        "thirty_day_uptime_percentage": 0.0,
    }
    return {"state": {"regions": dict.fromkeys(body["regions"], unknown), "previous_outage": {}}}


@service.get("/v2/uptime/checks/{check_id}/alerts")
def alerts(call: Call) -> dict[str, Any]:
    return call.page("alerts", _alerts(_check(call).id), lambda row: row.body)


@service.post("/v2/uptime/checks/{check_id}/alerts")
def add_alert(call: Call) -> dict[str, Any]:
    check = _check(call).id
    return {"alert": _new(call, ALERT, call.body(Alert).model_dump(exclude_none=True), check)}


@service.get("/v2/uptime/checks/{check_id}/alerts/{alert_id}")
def show_alert(call: Call) -> dict[str, Any]:
    return {"alert": _alert(call).body}


@service.put("/v2/uptime/checks/{check_id}/alerts/{alert_id}")
def update_alert(call: Call) -> dict[str, Any]:
    row = _alert(call)
    row.body = {"id": row.id, **call.body(Alert).model_dump(exclude_none=True)}
    return {"alert": row.body}


@service.delete("/v2/uptime/checks/{check_id}/alerts/{alert_id}")
def remove_alert(call: Call) -> None:
    call.db.delete(_alert(call))
