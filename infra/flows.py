"""Flows: who may talk to whom, on which port, why, and who answers for it.

Cloud firewalls, the load balancer's allow list, every host's own firewall, the ports a host is expected to
listen on and the test of what reaches what are all derived here, from the same list. Nothing here does I/O.

    - {from: loadbalancer, to: app, ports: [443/tcp], reason: "TLS to the application", owner: platform}
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)
from pydantic.alias_generators import to_camel

WORLD = ("0.0.0.0/0", "::/0")
RESOLVERS = ("67.207.67.2/32", "67.207.67.3/32")
"""DigitalOcean's own, the same in every region (docs.digitalocean.com, "Networking details for Droplets")."""

T = TypeVar("T")

SENDERS = ("all", "loadbalancer", "administrators", "internet")
"""What ``from`` may name beside a tier."""
RECEIVERS = ("all", "loadbalancer", "internet", "packages", "dns", "time")
"""What ``to`` may name beside a tier."""
ENDPOINTS = frozenset(SENDERS + RECEIVERS)

LOGS_PORT = "6514/tcp"
"""RELP over TLS (RFC 5425's port), where the collector listens."""

TLS_PORT, PROXY_PORT = "443/tcp", "8443/tcp"
"""Where web tiers take TLS from the load balancer, and TLS behind a header of the PROXY protocol: two ports, since a
listener takes either all connections with that header or none."""

PURPOSE = {
    "loadbalancer": {"80/tcp", "443/tcp"},
    "packages": {"80/tcp", "443/tcp"},
    "dns": {"53/udp", "53/tcp"},
    "time": {"123/udp", "4460/tcp"},
}
"""The ports an endpoint is for: without this, ``to: time`` would be a door to the whole world on any port."""


def some(items: T) -> T:
    """``items``, if there are any. (pydantic's own length also complains when one of them is wrong.)"""
    if not items:
        raise ValueError("is empty, and at least one is needed")
    return items


class Port(NamedTuple):
    """A protocol and an inclusive range of ports; both ends are 0 for ICMP."""

    protocol: Literal["tcp", "udp", "icmp"]
    first: int = 0
    last: int = 0

    @classmethod
    def parse(cls, text: Any) -> Port:
        """``443/tcp``, ``8000-8100/udp`` or ``icmp``. Anything else is a ``ValueError`` that says what is wrong."""
        if isinstance(text, Port) or text == "icmp":
            return text if isinstance(text, Port) else cls("icmp")
        found = re.fullmatch(r"(\d+)(?:-(\d+))?/(tcp|udp)", str(text))
        if not found:
            raise ValueError(f"{text!r} is not a port; write 443/tcp, 8000-8100/tcp, 123/udp or icmp")
        first, last = int(found[1]), int(found[2] or found[1])
        if not 1 <= first <= last <= 65535:
            raise ValueError(f"{text!r} is out of range: ports go from 1 to 65535, the lower one first")
        return cls(found[3], first, last)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return "icmp" if self.protocol == "icmp" else f"{self.span()}/{self.protocol}"

    def span(self, dash: str = "-") -> str:
        """``443`` or ``8000-8100``; ufw writes a range with a colon."""
        return str(self.first) if self.first == self.last else f"{self.first}{dash}{self.last}"

    def covers(self, protocol: str, number: int) -> bool:
        return self.protocol == protocol and self.first <= number <= self.last


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=200)]
PortText = Annotated[Port, BeforeValidator(Port.parse), PlainSerializer(str)]


STRICT = ConfigDict(
    alias_generator=to_camel,
    populate_by_name=True,
    extra="forbid",
    frozen=True,
    hide_input_in_errors=True,
)
"""Settings are written in camelCase, an unknown one is a typing error, and no message repeats a value unasked."""


class Flow(BaseModel):
    """One declared flow. ``review_by`` is the day on which somebody has to say again that it is needed."""

    model_config = STRICT

    from_: str = Field(alias="from")
    to: str
    ports: Annotated[tuple[PortText, ...], AfterValidator(some)]
    reason: Text
    owner: Text
    review_by: date | None = None

    def __str__(self) -> str:
        return f"{self.from_} → {self.to} ({', '.join(map(str, self.ports))})"


@dataclass(frozen=True)
class Host:
    """A droplet as rules need it."""

    name: str
    tier: str
    private_ip: str


@dataclass(frozen=True)
class Permit:
    """What one flow allows on one port at one of its ends: the atom every rule is made of."""

    tier: str
    direction: Literal["in", "out"]
    port: Port
    peer: str
    reason: str


@dataclass(frozen=True)
class CloudRule:
    """One rule of a tier's cloud firewall: ``addresses`` are CIDRs, ``tiers`` stand for their droplets' tags.

    Flows on the same port become one rule, because a cloud firewall knows a rule by its port: ``reasons`` has all.
    """

    direction: Literal["in", "out"]
    port: Port
    addresses: tuple[str, ...]
    tiers: tuple[str, ...]
    load_balancer: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class HostRule:
    """One rule of a host's own firewall (ufw)."""

    direction: Literal["in", "out"]
    protocol: str
    ports: str | None
    addresses: tuple[str, ...]
    comment: str


@dataclass(frozen=True)
class Flows:
    """The declared flows with what they are about: tier names, who administers (CIDRs), the VPC's range."""

    declared: tuple[Flow, ...]
    tiers: tuple[str, ...]
    trusted_ranges: tuple[str, ...]
    vpc_range: str

    def permits(self) -> Iterator[Permit]:
        """Every flow, at both of its ends, tier by tier. What is not among these is not allowed anywhere."""
        for flow in self.declared:
            for port in flow.ports:
                for tier in self._tiers(flow.to):
                    yield Permit(tier, "in", port, flow.from_, flow.reason)
                for tier in self._tiers(flow.from_):
                    yield Permit(tier, "out", port, flow.to, flow.reason)

    def cloud_rules(self, tier: str) -> list[CloudRule]:
        """The rules of ``tier``'s cloud firewall, in an order that does not depend on the order of the flows."""
        merged: dict[tuple[str, Port, bool], list[Permit]] = defaultdict(list)
        for permit in self.permits():
            if permit.tier == tier:
                merged[permit.direction, permit.port, permit.peer == "loadbalancer"].append(permit)
        return [
            CloudRule(
                direction=direction,  # type: ignore[arg-type]
                port=port,
                addresses=_unique(address for permit in group for address in self._ranges(permit.peer)),
                tiers=_unique(permit.peer for permit in group if self._tiers(permit.peer)),
                load_balancer=balanced,
                reasons=_unique(permit.reason for permit in group),
            )
            for (direction, port, balanced), group in sorted(merged.items(), key=lambda item: item[0])
        ]

    def host_rules(self, host: Host, hosts: Iterable[Host]) -> list[HostRule]:
        """The same permits as ``host`` enforces them itself, by its neighbours' private addresses.

        A load balancer's private address is not in the API, so on a host it stands for the VPC's whole range.
        """
        others = [other for other in hosts if other.name != host.name]
        rules = []
        for permit in self.permits():
            if permit.tier != host.tier:
                continue
            ranges = (self.vpc_range,) if permit.peer == "loadbalancer" else self._ranges(permit.peer)
            near = (f"{other.private_ip}/32" for other in others if other.tier in self._tiers(permit.peer))
            # A tier of one droplet has no neighbour yet: no address, no rule.
            if addresses := _unique([*ranges, *near]):
                span = None if permit.port.protocol == "icmp" else permit.port.span(":")
                rules.append(HostRule(permit.direction, permit.port.protocol, span, addresses, permit.reason))
        return list(dict.fromkeys(rules))

    def listeners(self, tier: str) -> list[Port]:
        """The ports on which a host of ``tier`` is expected to listen, as others see it."""
        return sorted(
            {p.port for p in self.permits() if p.tier == tier and p.direction == "in"} - {Port("icmp")}
        )

    def callers(self) -> tuple[str, ...]:
        """Who may connect to the load balancer, as CIDRs."""
        return _unique(
            address
            for flow in self.declared
            if flow.to == "loadbalancer"
            for address in self._ranges(flow.from_)
        )

    def balanced(self) -> dict[str, set[str]]:
        """Tiers that the load balancer sends to, and the ports on which they take it."""
        found: dict[str, set[str]] = defaultdict(set)
        for permit in self.permits():
            if permit.peer == "loadbalancer":
                found[permit.tier].add(str(permit.port))
        return dict(found)

    def reachable(self) -> set[tuple[str, str, Port]]:
        """Who may reach whom on what, ``all`` spelled out: what a test of the live network has to find, no more."""
        return {
            (source, target, port)
            for flow in self.declared
            for source in self._tiers(flow.from_) or (flow.from_,)
            for target in self._tiers(flow.to) or (flow.to,)
            for port in flow.ports
        }

    def _tiers(self, endpoint: str) -> tuple[str, ...]:
        return self.tiers if endpoint == "all" else (endpoint,) if endpoint in self.tiers else ()

    def _ranges(self, endpoint: str) -> tuple[str, ...]:
        """The fixed addresses that an endpoint outside the tiers stands for."""
        if endpoint == "administrators":
            return self.trusted_ranges
        return (
            RESOLVERS if endpoint == "dns" else WORLD if endpoint in ("internet", "packages", "time") else ()
        )


def faults(
    flows: Iterable[Flow], tiers: Mapping[str, Iterable[str]], ssh_port: int, bastion: str | None = None
) -> list[str]:
    """What is wrong with ``flows``, one paragraph each; none if they can be built and nobody is locked out.

    ``tiers`` are names with what each serves (``web``, ``logs``); ``bastion`` is the one others are reached through.
    """
    flows = list(flows)
    found = [text for flow in flows for text in _misplaced(flow, tiers)]
    # What follows asks whether something is missing, and a misspelt name would be reported twice.
    return found or list(_missing(flows, tiers, ssh_port, bastion))


def cardholder_faults(flows: Iterable[Flow], holding: Mapping[str, str]) -> list[str]:
    """What would open a tier with account data to more than is named, one paragraph each.

    ``holding`` are such tiers, with whether the data is ``stored`` or only ``handled`` there.
    """
    found = []
    for flow in flows:
        for tier in holding:
            if flow.from_ == "all" and flow.to in (tier, "all"):
                found.append(
                    f"The flow {flow} opens {tier}, which has account data, to every tier, and would put all of them "
                    "in scope. Name the tiers that need it, one flow each (PCI DSS 1.4.4, 7.2.1)."
                )
            elif holding[tier] == "stored" and flow.from_ == "loadbalancer" and flow.to in (tier, "all"):
                found.append(
                    f"The flow {flow} brings the internet to {tier}, where account data is stored, and such a tier may "
                    "not be reachable from untrusted networks (PCI DSS 1.4.4). Put a tier between them, or say "
                    "`cardholderData: handled` if nothing is kept there."
                )
            elif flow.from_ in (tier, "all") and flow.to == "internet":
                found.append(
                    f"The flow {flow} lets {tier}, which has account data, connect to the whole world (PCI DSS 1.3.2). "
                    "Give it a flow to a tier that does so on its behalf, or leave it out."
                )
    return found


def _misplaced(flow: Flow, tiers: Mapping[str, Any]) -> Iterator[str]:
    """Ends that don't exist or don't fit together."""
    for key, name, others in (("from", flow.from_, SENDERS), ("to", flow.to, RECEIVERS)):
        if name not in tiers and name not in others:
            yield (
                f"The flow {flow} says `{key}: {name}`, and there is no such tier. Declare the tier {name} under "
                f"seawall:tiers, or name one of {', '.join([*tiers, *others])}."
            )
    inside = flow.from_ == "all" or flow.from_ in tiers
    if flow.from_ == "internet" and flow.to != "loadbalancer":
        yield (
            f"The flow {flow} would open {flow.to} to the whole world, and only the load balancer may be. Send the "
            "traffic through `loadbalancer`, or name who is meant: `administrators` or a tier."
        )
    elif flow.to == "loadbalancer" and flow.from_ not in ("internet", "administrators"):
        yield (
            f"The flow {flow} can't be built: droplets would come to the load balancer from public addresses that "
            "are not known beforehand. Let one tier talk to the other directly, or say `from: internet`."
        )
    elif flow.to in ("internet", "packages", "dns", "time") and not inside:
        yield (
            f"The flow {flow} leads from outside to outside, where no rule of this network applies. "
            f"`{flow.to}` is for flows from a tier or from `all`."
        )
    allowed = PURPOSE.get(flow.to)
    if allowed and (strange := [str(port) for port in flow.ports if str(port) not in allowed]):
        yield (
            f"The flow {flow} asks for {', '.join(strange)}, but `{flow.to}` stands for "
            f"{', '.join(sorted(allowed))} only. "
            + (
                "The load balancer serves TLS on 443 and redirects from 80."
                if flow.to == "loadbalancer"
                else "If a tier has to reach the world on another port, say so openly with `to: internet`."
            )
        )


def _missing(
    flows: list[Flow], tiers: Mapping[str, Iterable[str]], ssh_port: int, bastion: str | None
) -> Iterator[str]:
    """What has to be declared for the network to work and to be administered at all."""

    def may(source: str, target: str, protocol: str, port: int) -> bool:
        return any(
            flow.from_ in (source, "all" if source in tiers else source)
            and flow.to in (target, "all" if target in tiers else target)
            and any(declared.covers(protocol, port) for declared in flow.ports)
            for flow in flows
        )

    for tier in tiers:
        jumped = bastion is not None and tier != bastion and may(bastion, tier, "tcp", ssh_port)
        if not jumped and not may("administrators", tier, "tcp", ssh_port):
            yield (
                f"No flow lets the administrators reach tier {tier} on its ssh port {ssh_port}: nobody could ever log "
                f"in to harden it. Add a flow `from: administrators`, `to: all`, `ports: [{ssh_port}/tcp]`"
                + (f", or one `from: {bastion}`, `to: {tier}`." if bastion and tier != bastion else ".")
            )
        if not (may(tier, "packages", "tcp", 443) or may(tier, "packages", "tcp", 80)):
            yield (
                f"No flow lets tier {tier} reach `packages`: it could be neither hardened nor patched. Add a flow "
                "`from: all`, `to: packages`, `ports: [80/tcp, 443/tcp]`."
            )
        if not may(tier, "dns", "udp", 53):
            yield (
                f"No flow lets tier {tier} ask for names, so it would find no package source. Add a flow "
                "`from: all`, `to: dns`, `ports: [53/udp, 53/tcp]`."
            )
    collectors = [name for name, serves in tiers.items() if "logs" in serves]
    for tier, collector in ((t, c) for c in collectors for t in tiers if t != c):
        if not may(tier, collector, "tcp", 6514):
            yield (
                f"No flow lets tier {tier} deliver its logs to {collector}. Add a flow `from: all`, "
                f"`to: {collector}`, `ports: [{LOGS_PORT}]`."
            )
    arriving: dict[str, set[str]] = {"internet": set(), "administrators": set()}
    for flow in flows:
        if flow.to == "loadbalancer":
            arriving[flow.from_] |= {str(port) for port in flow.ports}
    if any(ports and ports != PURPOSE["loadbalancer"] for ports in arriving.values()) or not any(
        arriving.values()
    ):
        yield (
            "The load balancer serves TLS on 443 and answers 301 on 80, for the same callers on both, and the flows "
            "have to say so. Declare one flow `to: loadbalancer`, `ports: [80/tcp, 443/tcp]`, `from: internet` or "
            "`from: administrators`."
        )
    for tier, serves in tiers.items():
        fed = any(flow.from_ == "loadbalancer" and flow.to in (tier, "all") for flow in flows)
        if fed != ("web" in serves):
            yield (
                f"Tier {tier} "
                + ("gets" if fed else "serves web, but gets no")
                + " traffic from the load balancer"
                f"{', but does not serve web' if fed else ''}. Its `serves: [web]` and the flow `from: loadbalancer`, "
                f"`to: {tier}`, `ports: [443/tcp]` belong together."
            )
    balanced = {port for flow in flows if flow.from_ == "loadbalancer" for port in flow.ports}
    if balanced and {str(port) for port in balanced} not in ({TLS_PORT}, {TLS_PORT, PROXY_PORT}):
        yield (
            "The load balancer talks to the web tiers over TLS on 443/tcp, and the flows from it name "
            f"{', '.join(map(str, sorted(balanced)))}. Let them say `ports: [443/tcp]`, or `[443/tcp, 8443/tcp]` where "
            "the PROXY protocol is spoken or is to be."
        )


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(items)))
