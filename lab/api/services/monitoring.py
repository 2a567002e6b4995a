"""Monitor alerts. The lab keeps them and measures nothing: none ever goes off here."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import select

from ..errors import unprocessable
from ..http import Call, Request, Service
from ..tables import Droplet, Kept

service = Service()

KIND = "monitor-alert"
DROPLET = "v1/insights/droplet/"
METRICS = {
    *("load_1", "load_5", "load_15", "memory_utilization_percent", "disk_utilization_percent", "cpu", "disk_read"),
    *("disk_write", "public_outbound_bandwidth", "public_inbound_bandwidth", "private_outbound_bandwidth"),
    "private_inbound_bandwidth",
}  # fmt: skip
Short = Annotated[str, Field(min_length=1, max_length=255)]


class Slack(Request):
    channel: Short
    url: Annotated[str, Field(min_length=1, max_length=2048)]


class Receivers(Request):
    email: Annotated[list[Short], Field(max_length=100)] = []
    slack: Annotated[list[Slack], Field(max_length=100)] = []


class Alert(Request):
    type: Short
    description: Short
    compare: Literal["GreaterThan", "LessThan"]
    value: Annotated[float, Field(ge=0, le=1e12)]
    window: Literal["5m", "10m", "30m", "1h"]
    entities: Annotated[list[Short], Field(max_length=100)]
    tags: Annotated[list[Short], Field(max_length=100)]
    alerts: Receivers
    enabled: bool


def _checked(call: Call) -> dict[str, Any]:
    wanted = call.body(Alert)
    if wanted.type.removeprefix(DROPLET) not in METRICS or not wanted.type.startswith(DROPLET):
        raise unprocessable(f"type: {wanted.type[:80]!r} is not an alert this cloud has")
    if not (wanted.alerts.email or wanted.alerts.slack):
        raise unprocessable("alerts: nobody would be told; give an e-mail address or a Slack channel")
    for entity in wanted.entities:
        number = int(entity) if entity.isascii() and entity.isdigit() and len(entity) < 18 else 0
        if call.db.get(Droplet, number) is None:
            raise unprocessable(f"entities: there is no droplet {entity[:40]!r}")
    return wanted.model_dump()


def _found(call: Call) -> Kept:
    return call.get(Kept, (KIND, call.path["alert_uuid"]))


@service.get("/v2/monitoring/alerts")
def index(call: Call) -> dict[str, Any]:
    rows = select(Kept).where(Kept.kind == KIND).order_by(Kept.id)
    return call.page("policies", rows, lambda row: row.body)


@service.post("/v2/monitoring/alerts", status=200)
def create(call: Call) -> dict[str, Any]:
    identity = str(uuid.uuid4())
    row = Kept(kind=KIND, id=identity, body={"uuid": identity, **_checked(call)})
    call.db.add(row)
    return {"policy": row.body}


@service.get("/v2/monitoring/alerts/{alert_uuid}")
def show(call: Call) -> dict[str, Any]:
    return {"policy": _found(call).body}


@service.put("/v2/monitoring/alerts/{alert_uuid}")
def update(call: Call) -> dict[str, Any]:
    row = _found(call)
    row.body = {"uuid": row.id, **_checked(call)}
    return {"policy": row.body}


@service.delete("/v2/monitoring/alerts/{alert_uuid}")
def remove(call: Call) -> None:
    call.db.delete(_found(call))
