"""The account as its API answers it: every kind of thing listed once, for the cloud's and the strangers' layer.

Reading only. A kind that could not be listed (a token without its scope, an API that does not answer) is named in
``unasked``: unknown, never empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from seawall import cloud
from seawall.problem import Problem

Object = Mapping[str, Any]

LISTS = {
    "droplet": cloud.Kind("/v2/droplets", "droplets"),
    "firewall": cloud.Kind("/v2/firewalls", "firewalls"),
    "load-balancer": cloud.Kind("/v2/load_balancers", "load_balancers"),
    "certificate": cloud.Kind("/v2/certificates", "certificates"),
    "ssh-key": cloud.Kind("/v2/account/keys", "ssh_keys"),
    "vpc": cloud.Kind("/v2/vpcs", "vpcs"),
    "tag": cloud.Kind("/v2/tags", "tags", identity="name"),
    "domain": cloud.Kind("/v2/domains", "domains", identity="name"),
    "volume": cloud.Kind("/v2/volumes", "volumes"),
    "snapshot": cloud.Kind("/v2/snapshots", "snapshots"),
    "reserved-ip": cloud.Kind("/v2/reserved_ips", "reserved_ips", identity="ip"),
}
"""How each kind is listed, and which attribute tells one from another."""

AT_ONCE = 6
"""Lists asked for at the same time: far below the 250 requests a minute of a token."""


@dataclass(frozen=True)
class Account:
    """What is there, by kind; ``members`` by VPC id, ``records`` by domain."""

    objects: Mapping[str, tuple[Object, ...]]
    members: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    records: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    unasked: Mapping[str, str] = field(default_factory=dict)
    """Kind (or ``vpc-member``, ``record``) → why it could not be listed."""

    def of(self, kind: str) -> tuple[Object, ...]:
        return self.objects.get(kind, ())

    def find(self, kind: str, identity: str) -> Object | None:
        """The one of that identity (tags' names whatever their case, as the API has them)."""
        key = LISTS[kind].identity
        return next((each for each in self.of(kind) if _same(kind, str(each[key]), identity)), None)

    def named(self, kind: str, name: str) -> tuple[Object, ...]:
        return tuple(each for each in self.of(kind) if each.get("name") == name)


def _same(kind: str, one: str, other: str) -> bool:
    return one.lower() == other.lower() if kind in ("tag", "domain") else one == other


def read(environment: Mapping[str, str], vpcs: tuple[str, ...]) -> Account:
    """List the account. ``vpcs`` are the ids of our own, whose members are listed too."""
    with cloud.client(environment) as api, ThreadPoolExecutor(AT_ONCE) as pool:
        unasked: dict[str, str] = {}

        def every(kind: str, listed: cloud.Kind) -> tuple[Object, ...]:
            try:
                found = {str(item[listed.identity]): item for item in cloud.every(api, listed)}
            except (Problem, LookupError, TypeError, ValueError, AttributeError) as error:
                unasked.setdefault(kind, _why(error, listed))
                return ()
            return tuple(found.values())

        asked = {kind: pool.submit(every, kind, listed) for kind, listed in LISTS.items()}
        objects = {kind: answer.result() for kind, answer in asked.items()}
        inside = {
            vpc: pool.submit(
                every, "vpc-member", cloud.Kind(f"/v2/vpcs/{vpc}/members", "members", identity="urn")
            )
            for vpc in vpcs
            if any(each["id"] == vpc for each in objects["vpc"])
        }
        zones = {
            str(zone["name"]): pool.submit(
                every, "record", cloud.Kind(f"/v2/domains/{zone['name']}/records", "domain_records")
            )
            for zone in objects["domain"]
        }
        return Account(
            objects,
            {vpc: answer.result() for vpc, answer in inside.items()},
            {zone: answer.result() for zone, answer in zones.items()},
            unasked,
        )


def _why(error: Exception, listed: cloud.Kind) -> str:
    if isinstance(error, Problem):
        return str(error)
    return f"{listed.path} was answered with something other than a list of {listed.key}."


def last_action(environment: Mapping[str, str]) -> Callable[[str], str]:
    """Looks up when a droplet was last acted on: ``power_off at 2026-11-24T09:00:00Z``; empty where it isn't known.

    DigitalOcean's actions name no user: this is all that a record tells.
    """

    def ask(droplet: str) -> str:
        try:
            with cloud.client(environment) as api:
                latest = cloud.one(api, f"/v2/droplets/{droplet}/actions?per_page=1")["actions"][0]
                return f"{latest['type']} at {latest['started_at']}"
        except (Problem, LookupError, TypeError, ValueError):
            return ""

    return ask
