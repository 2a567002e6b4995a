"""Cloud firewalls. A rule keeps fields this API does not know; ports are answered as DigitalOcean answers them.

A failed one carries ``message``, which DigitalOcean's do not: why.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator
from sqlalchemy import select

from .. import desired
from ..errors import conflict, not_found, unprocessable
from ..http import Call, Id, Request, Service, iso
from ..tables import Droplet, Firewall, LoadBalancer
from ..transitions import remaining
from . import tags
from .tags import Name as TagName

service = Service()

RULES_MAX, DROPLETS_MAX, TAGS_MAX = 50, 10, 5

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9.\-]+$", max_length=255)]
DropletIds = Annotated[list[Id], Field(max_length=1000)]
TagNames = Annotated[list[TagName], Field(max_length=1000)]


class End(Request):
    """The other end of a rule: who may come in, or who may be reached."""

    model_config = ConfigDict(extra="allow")

    addresses: list[str] = []
    droplet_ids: DropletIds = []
    load_balancer_uids: list[str] = []
    kubernetes_ids: list[str] = []
    tags: TagNames = []

    @field_validator("addresses")
    @classmethod
    def _are_networks(cls, value: list[str]) -> list[str]:
        for address in value:
            try:
                ipaddress.ip_network(address, strict=False)
            except ValueError:
                raise ValueError(
                    f"{address!r} is neither an address nor a network in CIDR notation"
                ) from None
        return value

    @model_validator(mode="after")
    def _names_someone(self) -> End:
        if not (self.addresses or self.droplet_ids or self.load_balancer_uids or self.tags):
            raise ValueError("must name addresses, droplet_ids, load_balancer_uids or tags")
        if self.kubernetes_ids:
            raise ValueError("kubernetes_ids: there are no Kubernetes clusters in this cloud")
        return self


class Rule(Request):
    # The cloud gains fields (``action`` in 2026): what is not known here is kept and answered.
    model_config = ConfigDict(extra="allow")

    protocol: Literal["tcp", "udp", "icmp"]
    ports: str = ""
    action: Literal["allow", "deny"] | None = None

    @field_validator("ports", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if type(value) is int else value

    @model_validator(mode="after")
    def _ports_as_answered(self) -> Rule:
        """All ports, and ICMP's, are "0"; a range of one is that port."""
        if self.protocol == "icmp" or self.ports in ("all", "0"):
            self.ports = "0"
            return self
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", self.ports)
        if not match:
            raise ValueError(f"ports: {self.ports!r} is not a port (22), a range (8000-9000) or all")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= 65535:
            raise ValueError(f"ports: {self.ports!r} is not within 1-65535")
        self.ports = str(first) if first == last else f"{first}-{last}"
        return self


class Inbound(Rule):
    sources: End


class Outbound(Rule):
    destinations: End


class Rules(Request):
    inbound_rules: Annotated[list[Inbound], Field(max_length=1000)] = []
    outbound_rules: Annotated[list[Outbound], Field(max_length=1000)] = []


class Declaration(Rules):
    name: Name
    droplet_ids: DropletIds = []
    tags: TagNames = []


class Droplets(Request):
    droplet_ids: Annotated[DropletIds, Field(min_length=1)]


class Tags(Request):
    tags: Annotated[TagNames, Field(min_length=1)]


def answer(call: Call, row: Firewall) -> dict[str, Any]:
    made = call.world().firewalls[row.id]
    applied, members = set(row.applied_ids), made.droplet_ids
    stands = row.applied == desired.digest(made)
    settled = stands and not remaining(call.transitions.firewall, row.changed_at, call.now)
    # Where the rules differ every member is waiting for them; otherwise those who came or went.
    coming = set() if settled else members if members == applied else members - applied
    leaving = set() if settled else (applied - members) & call.world().droplets.keys()
    status = "succeeded" if settled else "failed" if row.error else "waiting"
    return {
        "id": row.id,
        "name": row.name,
        "status": status,
        "created_at": iso(row.created_at),
        "pending_changes": [
            {"droplet_id": droplet_id, "removing": droplet_id in leaving, "status": status}
            for droplet_id in sorted(coming | leaving)
        ],
        "inbound_rules": row.inbound,
        "outbound_rules": row.outbound,
        "droplet_ids": row.droplet_ids,
        "tags": row.tags,
        **({"message": row.error} if row.error else {}),
    }


def _declare(call: Call, row: Firewall, wanted: Declaration) -> None:
    """Make ``row`` say what is wanted, all of it; or 422 with nothing changed."""
    rules: list[Inbound | Outbound] = [*wanted.inbound_rules, *wanted.outbound_rules]
    if not rules:
        raise unprocessable("must have at least one rule: inbound_rules and outbound_rules are both empty")
    if len(rules) > RULES_MAX:
        raise unprocessable(f"a firewall has at most {RULES_MAX} rules, not {len(rules)}")
    droplet_ids, names = list(dict.fromkeys(wanted.droplet_ids)), tags.existing(call, wanted.tags)
    if len(droplet_ids) > DROPLETS_MAX:
        raise unprocessable(f"a firewall takes at most {DROPLETS_MAX} droplets by id, not {len(droplet_ids)}")
    if len(names) > TAGS_MAX:
        raise unprocessable(f"a firewall takes at most {TAGS_MAX} tags, not {len(names)}")
    _must_exist(call, Droplet, "droplet", droplet_ids)
    for rule in rules:
        end = rule.sources if isinstance(rule, Inbound) else rule.destinations
        _must_exist(call, Droplet, "droplet", end.droplet_ids)
        _must_exist(call, LoadBalancer, "load balancer", end.load_balancer_uids)
        tags.existing(call, end.tags)
    same_name = select(Firewall).where(Firewall.name == wanted.name, Firewall.id != row.id)
    with call.db.no_autoflush:
        if call.db.scalar(same_name):
            raise conflict(f"duplicate name: a firewall named {wanted.name!r} already exists")
    row.name, row.droplet_ids, row.tags = wanted.name, droplet_ids, names
    row.inbound = [_kept(rule) for rule in wanted.inbound_rules]
    row.outbound = [_kept(rule) for rule in wanted.outbound_rules]
    row.changed_at = call.now


def _kept(rule: Inbound | Outbound) -> dict[str, Any]:
    """A rule as it is kept and answered: of its other end only what was named."""
    body = rule.model_dump(exclude_none=True)
    end = "sources" if isinstance(rule, Inbound) else "destinations"
    return body | {end: {name: value for name, value in body[end].items() if value != []}}


def _must_exist(call: Call, table: type[Droplet | LoadBalancer], noun: str, ids: list[Any]) -> None:
    known = set(call.db.scalars(select(table.id).where(table.id.in_(ids)))) if ids else set()
    missing = [each for each in ids if each not in known]
    if missing:
        raise unprocessable(f"{noun} {missing[0]} does not exist")


def _now(row: Firewall) -> Declaration:
    """What ``row`` declares, to be changed and declared anew."""
    return Declaration(
        name=row.name,
        inbound_rules=row.inbound,
        outbound_rules=row.outbound,
        droplet_ids=row.droplet_ids,
        tags=row.tags,
    )


def _found(call: Call) -> Firewall:
    return call.get(Firewall, call.path["firewall_id"])


@service.get("/v2/firewalls")
def index(call: Call) -> dict[str, Any]:
    rows = select(Firewall).order_by(Firewall.created_at, Firewall.id)
    return call.page("firewalls", rows, lambda row: answer(call, row))


@service.post("/v2/firewalls", status=202)
def create(call: Call) -> dict[str, Any]:
    row = Firewall(id=str(uuid.uuid4()), created_at=call.now, applied="", applied_ids=[], error="")
    _declare(call, row, call.body(Declaration))
    call.db.add(row)
    return {"firewall": answer(call, row)}


@service.get("/v2/firewalls/{firewall_id}")
def show(call: Call) -> dict[str, Any]:
    return {"firewall": answer(call, _found(call))}


@service.put("/v2/firewalls/{firewall_id}")
def replace(call: Call) -> dict[str, Any]:
    row = _found(call)
    _declare(call, row, call.body(Declaration))
    return {"firewall": answer(call, row)}


@service.delete("/v2/firewalls/{firewall_id}")
def remove(call: Call) -> None:
    call.db.delete(_found(call))


@service.post("/v2/firewalls/{firewall_id}/droplets", status=204)
def add_droplets(call: Call) -> None:
    row, wanted = _found(call), call.body(Droplets).droplet_ids
    _declare(call, row, _now(row).model_copy(update={"droplet_ids": [*row.droplet_ids, *wanted]}))


@service.delete("/v2/firewalls/{firewall_id}/droplets")
def remove_droplets(call: Call) -> None:
    row, wanted = _found(call), call.body(Droplets).droplet_ids
    kept = [each for each in row.droplet_ids if each not in wanted]
    _declare(call, row, _now(row).model_copy(update={"droplet_ids": kept}))


@service.post("/v2/firewalls/{firewall_id}/tags", status=204)
def add_tags(call: Call) -> None:
    row, wanted = _found(call), call.body(Tags).tags
    _declare(call, row, _now(row).model_copy(update={"tags": [*row.tags, *wanted]}))


@service.delete("/v2/firewalls/{firewall_id}/tags")
def remove_tags(call: Call) -> None:
    row, wanted = _found(call), {name.lower() for name in call.body(Tags).tags}
    kept = [each for each in row.tags if each.lower() not in wanted]
    _declare(call, row, _now(row).model_copy(update={"tags": kept}))


@service.post("/v2/firewalls/{firewall_id}/rules", status=204)
def add_rules(call: Call) -> None:
    row, wanted = _found(call), _some_rules(call)
    now = _now(row)
    _declare(
        call,
        row,
        now.model_copy(
            update={
                "inbound_rules": [*now.inbound_rules, *wanted.inbound_rules],
                "outbound_rules": [*now.outbound_rules, *wanted.outbound_rules],
            }
        ),
    )


@service.delete("/v2/firewalls/{firewall_id}/rules")
def remove_rules(call: Call) -> None:
    row, wanted = _found(call), _some_rules(call)
    now = _now(row)
    update = {}
    for field in ("inbound_rules", "outbound_rules"):
        unwanted = [_canonical(rule) for rule in getattr(wanted, field)]
        present = [_canonical(rule) for rule in getattr(now, field)]
        if any(rule not in present for rule in unwanted):
            raise not_found()
        update[field] = [rule for rule in getattr(now, field) if _canonical(rule) not in unwanted]
    _declare(call, row, now.model_copy(update=update))


def _some_rules(call: Call) -> Rules:
    wanted = call.body(Rules)
    if not (wanted.inbound_rules or wanted.outbound_rules):
        raise unprocessable("inbound_rules or outbound_rules: at least one rule is required")
    return wanted


def _canonical(rule: Rule) -> dict[str, Any]:
    """A rule for comparison: lists in order, an absent action is allow."""

    def ordered(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: ordered(each) for name, each in value.items() if each}
        return sorted(map(str, value)) if isinstance(value, list) else value

    return ordered({"action": "allow", **rule.model_dump(exclude_none=True)})
