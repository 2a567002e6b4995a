"""`seawall certificates`: every certificate of a stack with what is left of its time, the account's and the hosts'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from seawall import cloud

if TYPE_CHECKING:
    from seawall.evidence.hosts import HostFacts
    from seawall.session import Session

SOON = 21
"""Days. Less is left than a person may be on holiday."""
CERTIFICATES = cloud.KINDS["digitalocean:index/certificate:Certificate"]
BALANCERS = cloud.KINDS["digitalocean:index/loadBalancer:LoadBalancer"]


@dataclass(frozen=True)
class Held:
    """One certificate: ``at`` who serves it, ``where`` it lies there. ``renewal``: who sees to the next one."""

    at: str
    where: str
    names: tuple[str, ...]
    not_after: datetime
    fingerprint: str
    renewal: str = ""

    def days(self, now: datetime) -> int:
        return (self.not_after - now).days


def at_load_balancers(
    certificates: Iterable[Mapping[str, Any]], balancers: Iterable[Mapping[str, Any]], stack: str
) -> list[Held]:
    """Of the account's documents: what load balancers terminate TLS with, and what of the stack's none does. Pure.

    ``stack`` is how the stack's own names begin: other stacks may share the account.
    """
    users: dict[str, list[str]] = {}
    for balancer in balancers:
        for rule in balancer.get("forwarding_rules") or ():
            if identity := rule.get("certificate_id"):
                users.setdefault(identity, []).append(str(balancer["name"]))
    found = []
    for each in certificates:
        if not str(each["name"]).startswith(f"{stack}-"):
            continue
        serving = ", ".join(sorted(set(users.get(each["id"], ()))))
        found.append(
            Held(
                at=f"load balancer {serving}" if serving else "nobody",
                where=f"certificate {each['name']}",
                names=tuple(each.get("dns_names") or ()),
                not_after=datetime.fromisoformat(str(each["not_after"]).replace("Z", "+00:00")),
                fingerprint=f"SHA-1 {each['sha1_fingerprint']}",
                renewal="DigitalOcean, by Let's Encrypt"
                if each["type"] == "lets_encrypt"
                else "you: new files, then up",
            )
        )
    return found


def on_hosts(facts: Mapping[str, HostFacts]) -> list[Held]:
    """Of what was read on the droplets. Pure."""
    return [
        Held(
            name,
            each.path,
            each.names,
            each.not_after,
            f"SHA-256 {each.fingerprint}",
            "the roles, at every hardening",
        )
        for name, held in sorted(facts.items())
        for each in held.certificates
    ]


def of_account(session: Session) -> list[Held]:
    """The account's, asked now."""
    with cloud.client(session.environment) as api:
        found = list(cloud.every(api, CERTIFICATES)), list(cloud.every(api, BALANCERS))
    return at_load_balancers(*found, f"seawall-{session.stack.name}")


@dataclass(frozen=True)
class Inventory:
    """Soonest to end first; exit code 2 where one has ended, or ends soon with nobody but you to renew it."""

    held: tuple[Held, ...]
    now: datetime
    unasked: Mapping[str, str]

    @property
    def code(self) -> int:
        late = [each for each in self.held if each.days(self.now) < (SOON if "you" in each.renewal else 0)]
        return 2 if late else 1 if self.unasked else 0

    def document(self) -> list[dict[str, Any]]:
        return [
            {**vars(each), "not_after": each.not_after.isoformat(), "days": each.days(self.now)}
            for each in self.held
        ]

    def text(self) -> str:
        lines = [
            f"{each.days(self.now):>5} days  {each.not_after:%Y-%m-%d}  {each.at}  {each.where}  "
            f"{', '.join(each.names)}  renewed by {each.renewal}"
            for each in self.held
        ]
        return "\n".join([*lines, *self.unasked.values()])


def look(session: Session) -> Inventory:
    """Ask the account and every droplet."""
    from seawall import inventory
    from seawall.evidence import hosts

    session.standing()
    listed = inventory.listed(environment=session.environment).get("_meta", {}).get("hostvars", {})
    facts = hosts.gather(listed, lambda _: None)
    held = [*of_account(session), *on_hosts(facts)]
    return Inventory(
        tuple(sorted(held, key=lambda each: each.not_after)),
        datetime.now(UTC),
        {name: each.unreachable for name, each in facts.items() if each.unreachable},
    )
