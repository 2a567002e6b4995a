"""Which tiers are in the cardholder data environment, connected to it, or out of it (PCI DSS 12.5.2), from the flows.

The three words are those of PCI SSC's "Guidance for PCI DSS Scoping and Network Segmentation" (2017): *in* stores or
handles account data; *connected* may talk to, or be talked to by, what is in (a bastion, a collector of its logs);
*out* may do neither. What else could weigh on security, a person has to confirm once a year. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from infra.flows import Flow

IN, CONNECTED, OUT = "in", "connected", "out"


@dataclass(frozen=True)
class Scope:
    """A tier's scope, and why: a sentence for whoever confirms it."""

    scope: Literal["in", "connected", "out"]
    because: str


def scopes(flows: Iterable[Flow], tiers: Iterable[str], holding: Mapping[str, str]) -> dict[str, Scope]:
    """Every tier's scope. ``holding``: the tiers declared to have account data, with ``stored`` or ``handled``.

    Where none is declared, what the load balancer serves is taken for in: the cautious reading.
    """
    flows, tiers = tuple(flows), tuple(tiers)
    inside = {tier: f"account data is {how} here" for tier, how in holding.items()} or {
        tier: "no tier is declared to have account data, so what the load balancer serves is taken for it"
        for tier in tiers
        if any(flow.from_ == "loadbalancer" and flow.to in (tier, "all") for flow in flows)
    }
    return {tier: _scope(tier, inside, flows) for tier in tiers}


def of_outputs(outputs: Mapping[str, Any]) -> dict[str, Scope]:
    """The same from a stack's outputs, where flows and tiers stand as declared."""
    tiers = outputs.get("tiers") or {}
    return scopes(
        # Who answers for a flow is no matter here, and evidence of an older stack may not say.
        (Flow.model_validate({"owner": "unknown"} | flow) for flow in outputs.get("flows") or []),
        tiers,
        {name: tier["cardholder_data"] for name, tier in tiers.items() if tier.get("cardholder_data")},
    )


def _scope(tier: str, inside: Mapping[str, str], flows: Iterable[Flow]) -> Scope:
    if tier in inside:
        return Scope("in", inside[tier])
    touching = [flow for flow in flows if _touches(flow, tier, inside)]
    if touching:
        return Scope("connected", "; ".join(f"{flow}: {flow.reason}" for flow in touching))
    return Scope(
        "out", f"no flow leads to or from {' or '.join(sorted(inside)) or 'any tier with account data'}"
    )


def _touches(flow: Flow, tier: str, inside: Iterable[str]) -> bool:
    """Whether ``flow`` joins ``tier`` with a tier that is in, in either direction."""

    def ends(name: str) -> bool:
        return name in (tier, "all")

    def begins_inside(name: str) -> bool:
        return name == "all" or name in inside

    return (ends(flow.from_) and begins_inside(flow.to)) or (begins_inside(flow.from_) and ends(flow.to))
