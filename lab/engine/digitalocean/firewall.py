"""A cloud firewall. Its rules are a set, and all ports can be spelt three ways."""

from __future__ import annotations

from typing import Any

from lab.engine.digitalocean.api import Api, Refusal
from lab.engine.digitalocean.fields import (
    Field,
    Fields,
    block,
    integer,
    matches,
    name,
    not_empty,
    one_of,
    snake,
    text,
    told,
    unordered,
)
from lab.engine.digitalocean.resource import MINUTE, Answer, Properties, Resource, received
from lab.engine.digitalocean.tag import check_tag

WHOM = {
    "Addresses": text(check=not_empty),
    "DropletIds": integer(),
    "LoadBalancerUids": text(check=not_empty),
    "KubernetesIds": text(check=not_empty),
    "Tags": text(check=check_tag, same=str.lower),
}
"""Who is at the other end of a rule; the property is prefixed with ``source`` or ``destination``."""


def all_ports(value: str) -> str:
    """One spelling for all ports. The API answers ``0`` however they were given."""
    return "all" if value in ("0", "all", "1-65535") else value


def _alike(rule: dict[str, Any]) -> dict[str, Any]:
    """ICMP has no ports; the API says 0 for them."""
    return {
        key: item for key, item in rule.items() if not (rule.get("protocol") == "icmp" and key == "portRange")
    }


def _rules(direction: str, end: str) -> Field:
    fields: Fields = {
        "protocol": text(required=True, check=one_of("tcp", "udp", "icmp")),
        "portRange": text(
            same=all_ports, check=matches(r"all|\d{1,5}(-\d{1,5})?", "ports are `443`, `8000-8100` or `all`")
        ),
        **{f"{end}{whom}": unordered(item) for whom, item in WHOM.items()},
    }
    return unordered(block(f"Firewall{direction.capitalize()}Rule", fields, same=_alike))


def _request(api: Api, plan: Properties) -> Properties:
    rules = {
        f"{direction}_rules": [
            {
                "protocol": rule["protocol"],
                **(
                    {"ports": rule["portRange"]}
                    if rule.get("portRange") and rule["protocol"] != "icmp"
                    else {}
                ),
                f"{end}s": {
                    snake(whom[0].lower() + whom[1:]): rule[end + whom]
                    for whom in WHOM
                    if rule.get(end + whom)
                },
            }
            for rule in plan.get(f"{direction}Rules") or []
        ]
        for direction, end in (("inbound", "source"), ("outbound", "destination"))
    }
    if not any(rules.values()):
        raise Refusal(
            f"The firewall {plan['name']} has no rule, and DigitalOcean wants at least one: add it."
        )
    for rule in (rule for found in rules.values() for rule in found):
        if rule["protocol"] != "icmp" and "ports" not in rule:
            raise Refusal(
                f"A {rule['protocol']} rule of the firewall {plan['name']} has no portRange: give it one, or `all`."
            )
    return {
        "name": plan["name"],
        "droplet_ids": plan.get("dropletIds") or [],
        "tags": plan.get("tags") or [],
        **rules,
    }


def _answer(api: Api, document: Answer) -> Properties:
    plain = ("name", "status", "createdAt")
    found = received({key: FIREWALL.fields[key] for key in plain}, document)
    for direction, end in (("inbound", "source"), ("outbound", "destination")):
        found[f"{direction}Rules"] = [
            {
                "protocol": rule["protocol"],
                **({} if rule["protocol"] == "icmp" else {"portRange": _ports(rule["ports"])}),
                **{
                    end + whom: listed
                    for whom in WHOM
                    if (listed := (rule.get(f"{end}s") or {}).get(snake(whom[0].lower() + whom[1:])))
                },
            }
            for rule in document.get(f"{direction}_rules") or []
        ]
    return {
        **found,
        "dropletIds": document.get("droplet_ids") or [],
        "tags": document.get("tags") or [],
        "pendingChanges": [
            {"dropletId": change["droplet_id"], "removing": change["removing"], "status": change["status"]}
            for change in document.get("pending_changes") or []
        ],
    }


def _ports(value: str) -> str:
    return "all" if value == "0" else value


def _settled(document: Answer) -> bool:
    if document["status"] == "failed":
        raise Refusal(
            f"DigitalOcean could not put the firewall {document['name']} into effect: its droplets may be unprotected. "
            "Look at it in the control panel, then run `pulumi up` again."
        )
    return bool(document["status"] == "succeeded" and not document.get("pending_changes"))


FIREWALL = Resource(
    token="digitalocean:index/firewall:Firewall",  # noqa: S106
    noun="firewall",
    path="/v2/firewalls",
    envelope="firewall",
    listed="firewalls",
    fields={
        "name": name(),
        "dropletIds": unordered(integer()),
        "inboundRules": _rules("inbound", "source"),
        "outboundRules": _rules("outbound", "destination"),
        "tags": unordered(text(check=check_tag, same=str.lower)),
        "status": told(),
        "createdAt": told(),
        "pendingChanges": told(
            "array",
            items=block(
                "FirewallPendingChange",
                {"dropletId": integer(), "removing": Field(type="boolean"), "status": text()},
            ),
        ),
    },
    request=_request,
    answer=_answer,
    settled=_settled,
    deadlines={"create": 5 * MINUTE, "update": 5 * MINUTE},
)
