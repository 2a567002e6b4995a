"""The strangers' layer: what is in the account and in no code.

An account may be shared. ``seawall:drift.known`` lists by kind and name what others answer for; whatever is inside
our VPC, carries our tags or otherwise touches what is ours is told all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from infra.drift import Known
from seawall.drift.account import LISTS, Account, Object
from seawall.drift.cloud import Resource, fingerprint
from seawall.drift.difference import Difference, unasked
from seawall.drift.run import Look
from seawall.drift.shared import account, settings, stated
from seawall.findings import Subject

REQUIREMENTS = {
    "firewall": ("pci-1.2.8", "pci-12.5.1"),
    "ssh-key": ("pci-8.2.1", "pci-12.5.1"),
    "certificate": ("pci-4.2.1.1", "pci-12.5.1"),
}
MEMBERS = {"droplet": "droplet", "loadbalancer": "load-balancer"}
"""A VPC's members that are told as what they are: their kind in a member's ``do:kind:id``."""


def look(looking: Look) -> list[Difference]:
    """Everything in the account that no code manages."""
    return strangers(stated(looking), account(looking), settings(looking).known)


def strangers(ours: Iterable[Resource], account: Account, known: Iterable[Known] = ()) -> list[Difference]:
    """Pure: the account's things that are none of ``ours`` and nobody's ``known``, unless they touch ours."""
    ours, known = list(ours), list(known)
    mine = Ours(ours, account)
    found = [
        unasked(
            "strangers",
            Subject(kind=kind, name="all"),
            why,
            "Give the token the scope to read them (docs/drift.md lists the scopes), or try again.",
        )
        for kind, why in sorted(account.unasked.items())
    ]

    def tell(kind: str, name: str, seen: str, touches: str) -> None:
        if touches or not any(each.covers(kind, name) for each in known):
            found.append(
                Difference(
                    layer="strangers",
                    subject=Subject(kind=kind, name=name),
                    what="managed by no code",
                    expected="not there",
                    seen=f"{seen}{f', {touches}' if touches else ''}",
                    requirements=REQUIREMENTS.get(kind, ("pci-12.5.1",)),
                    remedy="Find out whose it is. Delete it, take it into the code (`pulumi import`), or, if others "
                    "answer for it and it is none of ours, name it under seawall:drift.known.",
                )
            )

    for kind in LISTS:
        names = [_name(kind, each) for each in account.of(kind)]
        for each in account.of(kind):
            if not (mine.manages(kind, each) or _the_providers_own(kind, each)):
                name = _name(kind, each)
                # Two of one name are two strangers.
                full = name if names.count(name) == 1 else f"{name} ({each[LISTS[kind].identity]})"
                tell(kind, full, _described(kind, each), mine.touched(kind, each))
    for members in account.members.values():
        for each in members:
            kind, _, identity = str(each["urn"]).removeprefix("do:").partition(":")
            if kind not in MEMBERS and identity not in mine.ids:
                tell(
                    "vpc-member",
                    str(each.get("name") or identity),
                    f"a {kind}, id {identity}{_made(each)}",
                    "inside our VPC",
                )
    for zone, records in account.records.items():
        for each in records:
            if not (str(each["id"]) in mine.of("record") or _the_zones_own(each)):
                host = zone if each.get("name") in ("@", "") else f"{each.get('name')}.{zone}"
                at = "points to one of ours" if str(each.get("data")) in mine.addresses else ""
                tell("record", f"{host} {each.get('type')}", f"{each.get('data')}", at)
    return found


class Ours:
    """What the code manages, and how to tell that something touches it."""

    def __init__(self, ours: list[Resource], account: Account) -> None:
        self._ids: dict[str, set[str]] = {}
        for each in ours:
            uuid = each.outputs.get("uuid") if each.kind == "certificate" else None
            self._ids.setdefault(str(each.kind), set()).add(str(uuid or each.id))
        self.ids = set().union(*self._ids.values()) if self._ids else set()
        self.tags = {name.lower() for name in self.of("tag")}
        self.vpcs = self.of("vpc")
        self.droplets = self.of("droplet")
        # Keys registered beside the code (administrators' `registered: true`) are named by our droplets.
        self.keys = {str(key) for each in ours for key in each.inputs.get("sshKeys") or ()}
        self.keys |= {
            fingerprint(str(each.inputs.get("publicKey"))) or "" for each in ours if each.kind == "ssh-key"
        }
        self.addresses = {
            str(address)
            for each in ours
            for name in ("ipv4Address", "ipv4AddressPrivate", "ipv6Address", "ip", "ipAddress")
            if (address := each.outputs.get(name))
        }
        self.certificates = {
            str(rule.get("certificate_id"))
            for each in account.of("load-balancer")
            if str(each["id"]) in self.of("load-balancer")
            for rule in each.get("forwarding_rules") or ()
        }

    def of(self, kind: str) -> set[str]:
        return self._ids.get(kind, set())

    def manages(self, kind: str, each: Object) -> bool:
        identity = str(each[LISTS[kind].identity])
        if kind in ("tag", "domain"):
            return identity.lower() in {known.lower() for known in self.of(kind)}
        return identity in self.of(kind) or (kind == "ssh-key" and _is_named(each, self.keys))

    def touched(self, kind: str, each: Object) -> str:
        """How it touches what is ours; empty where it doesn't."""
        return next((said for holds, said in TOUCHES if holds(self, kind, each)), "")


def _is_named(key: Object, names: set[str]) -> bool:
    return str(key.get("fingerprint")) in names or str(key["id"]) in names


def _strings(values: Any) -> set[str]:
    return {str(value) for value in values or ()}


TOUCHES: list[tuple[Callable[[Ours, str, Object], bool], str]] = [
    (lambda ours, kind, each: str(each.get("vpc_uuid")) in ours.vpcs, "inside our VPC"),
    (
        lambda ours, kind, each: (
            kind != "tag"
            and bool({tag.lower() for tag in _strings(each.get("tags")) | _strings([each.get("tag")])} & ours.tags)
        ),
        "carries our tags",
    ),
    (
        lambda ours, kind, each: bool(_strings(each.get("droplet_ids")) & ours.droplets),
        "attached to our droplets",
    ),
    (
        lambda ours, kind, each: (
            kind in ("snapshot", "reserved-ip")
            and str(each.get("resource_id") or (each.get("droplet") or {}).get("id")) in ours.droplets
        ),
        "of one of our droplets",
    ),
    (lambda ours, kind, each: kind == "certificate" and str(each["id"]) in ours.certificates,
     "in use by our load balancer"),
]  # fmt: skip


def _name(kind: str, each: Object) -> str:
    return str(each.get("name") or each[LISTS[kind].identity])


def _the_providers_own(kind: str, each: Object) -> bool:
    """A region's default VPC comes with the account."""
    return kind == "vpc" and bool(each.get("default"))


def _the_zones_own(record: Mapping[str, Any]) -> bool:
    """What DigitalOcean puts into every zone."""
    return record.get("type") == "SOA" or (
        record.get("type") == "NS" and str(record.get("data", "")).rstrip(".").endswith("digitalocean.com")
    )


def _described(kind: str, each: Object) -> str:
    said = f"id {each[LISTS[kind].identity]}" if LISTS[kind].identity != "name" else "there"
    if kind == "droplet":
        addresses = [entry["ip_address"] for entry in (each.get("networks") or {}).get("v4") or ()]
        said += f", {each.get('status')}, {', '.join(addresses) or 'no address'}"
    elif kind == "firewall":
        rules = len(each.get("inbound_rules") or ()) + len(each.get("outbound_rules") or ())
        said += f", {rules} rules"
    elif kind == "ssh-key":
        said += f", fingerprint {each.get('fingerprint')}"
    elif kind == "certificate":
        said += f", for {', '.join(each.get('dns_names') or ()) or 'no name'}"
    elif kind == "vpc":
        said += f", {each.get('ip_range')}"
    return said + _made(each)


def _made(each: Object) -> str:
    return f", made at {each['created_at']}" if each.get("created_at") else ""
