"""Monitor alerts on droplets and load balancers; uptime checks from outside, with their alerts."""

from __future__ import annotations

from lab.engine.digitalocean.api import Api
from lab.engine.digitalocean.fields import (
    Field,
    array,
    block,
    flag,
    integer,
    name,
    not_empty,
    one_of,
    text,
    told,
    unordered,
)
from lab.engine.digitalocean.resource import Answer, Properties, Resource, received, sent, without

SLACK = {"channel": text(required=True, check=not_empty), "url": text(required=True, check=not_empty)}


def _receivers(token: str) -> dict[str, Field]:
    return {"emails": array(text()), "slacks": array(block(f"{token}Slack", SLACK))}


def _told(receivers: Properties) -> Properties:
    """As the API has them: its names are singular, and both have to be there."""
    return {"email": receivers.get("emails") or [], "slack": receivers.get("slacks") or []}


def _read(document: Answer) -> Properties:
    return {"emails": document.get("email") or [], "slacks": document.get("slack") or []}


def _alert_request(api: Api, plan: Properties) -> Properties:
    body = sent(without(MONITOR_ALERT.fields, "alerts"), plan)
    defaults = {"entities": [], "tags": [], "enabled": False}
    return {**defaults, **body, "alerts": _told(plan["alerts"])}


def _alert_answer(api: Api, document: Answer) -> Properties:
    return {
        **received(without(MONITOR_ALERT.fields, "alerts"), document),
        "alerts": _read(document["alerts"]),
    }


METRICS = (
    *(f"load_{minutes}" for minutes in (1, 5, 15)),
    "memory_utilization_percent",
    "disk_utilization_percent",
    "cpu",
    "disk_read",
    "disk_write",
    *(f"{side}_{way}_bandwidth" for side in ("public", "private") for way in ("outbound", "inbound")),
)


def _is_metric(value: str) -> str | None:
    known = value.startswith(("v1/insights/lbaas/", "v1/dbaas/alerts/", "v1/droplet/autoscale_alerts/"))
    if known or value.removeprefix("v1/insights/droplet/") in METRICS:
        return None
    return f"is {value!r}; on a droplet it can be v1/insights/droplet/ and one of {', '.join(METRICS)}"


MONITOR_ALERT = Resource(
    token="digitalocean:index/monitorAlert:MonitorAlert",  # noqa: S106
    noun="monitor alert",
    path="/v2/monitoring/alerts",
    envelope="policy",
    listed="policies",
    same=("description",),
    fields={
        "description": text(required=True, check=not_empty),
        "type": text(required=True, check=_is_metric),
        "compare": text(required=True, check=one_of("GreaterThan", "LessThan")),
        "value": Field(type="number", required=True),
        "window": text(required=True, check=one_of("5m", "10m", "30m", "1h")),
        "enabled": flag(default=True),
        "entities": unordered(text()),
        "tags": unordered(text(same=str.lower)),
        "alerts": block("MonitorAlertAlerts", _receivers("MonitorAlertAlerts"), required=True),
        "uuid": told(),
    },
    request=_alert_request,
    answer=_alert_answer,
    key="uuid",
)


def _check_request(api: Api, plan: Properties) -> Properties:
    kind = "https" if plan["target"].startswith("https:") else "ping"
    return {"type": kind, "regions": [], "enabled": False, **sent(UPTIME_CHECK.fields, plan)}


UPTIME_CHECK = Resource(
    token="digitalocean:index/uptimeCheck:UptimeCheck",  # noqa: S106
    noun="uptime check",
    path="/v2/uptime/checks",
    envelope="check",
    listed="checks",
    same=("name", "target"),
    fields={
        "name": name(),
        "target": text(required=True, check=not_empty),
        "type": text(check=one_of("ping", "http", "https")),
        "regions": unordered(text(check=one_of("us_east", "us_west", "eu_west", "se_asia"))),
        "enabled": flag(default=True),
    },
    request=_check_request,
)


def _uptime_request(api: Api, plan: Properties) -> Properties:
    body = sent(without(UPTIME_ALERT.fields, "notifications"), plan)
    return {**body, "notifications": _told((plan.get("notifications") or [{}])[0])}


def _uptime_answer(api: Api, document: Answer) -> Properties:
    found = received(without(UPTIME_ALERT.fields, "notifications"), document)
    return {**found, "notifications": [_read(document["notifications"])]}


UPTIME_ALERT = Resource(
    token="digitalocean:index/uptimeAlert:UptimeAlert",  # noqa: S106
    noun="uptime alert",
    path="/v2/uptime/checks/{checkId}/alerts",
    envelope="alert",
    listed="alerts",
    fields={
        "checkId": text(required=True, check=not_empty, api=""),
        "name": name(),
        "type": text(required=True, check=one_of("latency", "down", "down_global", "ssl_expiry")),
        "threshold": integer(),
        "comparison": text(check=one_of("greater_than", "less_than")),
        "period": text(check=one_of("2m", "3m", "5m", "10m", "15m", "30m", "1h")),
        "notifications": array(
            block("UptimeAlertNotification", _receivers("UptimeAlertNotification")), required=True
        ),
    },
    request=_uptime_request,
    answer=_uptime_answer,
)
