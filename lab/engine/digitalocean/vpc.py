"""A private network. Changing its range or region replaces it."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from lab.engine.digitalocean.api import Api, Refusal, segment
from lab.engine.digitalocean.fields import name, not_empty, text, told
from lab.engine.digitalocean.resource import MINUTE, Answer, Properties, Resource, received


def _range(value: str) -> str | None:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        return f"is no address range: {error}"
    return None


def go_time(moment: str) -> str:
    """An RFC 3339 UTC time the way Go prints one, as the official provider stores this one field."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?(?:Z|[+]00:00)", moment)
    if not found:
        return moment
    fraction = (found[3] or "").rstrip("0").rstrip(".")
    return f"{found[1]} {found[2]}{fraction} +0000 UTC"


def _answer(api: Api, document: Answer) -> Properties:
    found = received(VPC.fields, document)
    return {**found, "createdAt": go_time(found.get("createdAt", ""))}


def _update(api: Api, identity: str, state: Properties, plan: Properties) -> None:
    body: dict[str, Any] = {
        "name": plan["name"],
        "description": plan.get("description", ""),
        "default": state.get("default", False),
    }
    api.call("PUT", f"/v2/vpcs/{segment(identity)}", f"updating the VPC {plan['name']}", body)


def has_members(refusal: Refusal) -> bool:
    """Whether a VPC could not be deleted because droplets are still leaving it: the API answers 403 or 409."""
    return refusal.status in (403, 409)


VPC = Resource(
    token="digitalocean:index/vpc:Vpc",  # noqa: S106
    noun="VPC",
    path="/v2/vpcs",
    envelope="vpc",
    listed="vpcs",
    fields={
        "name": name(),
        "region": text(required=True, replace=True, check=not_empty),
        "description": text(
            check=lambda value: "is longer than 255 characters" if len(value) > 255 else None
        ),
        "ipRange": text(computed=True, replace=True, check=_range),
        "vpcUrn": told(api="urn"),
        "default": told("boolean"),
        "createdAt": told(),
    },
    answer=_answer,
    update=_update,
    busy=has_members,
    official_timeouts={"delete": 2 * MINUTE},
)
