"""Cloud firewalls: what the flows allow, and nothing else, on both interfaces of every droplet.

A tier's firewall goes by its tag and stands before the tier's droplets: each is covered from its first packet on.
What the load balancer may do is in a firewall of its own, since it needs the load balancer's id, and that comes last.
Firewalls of one droplet add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pulumi
import pulumi_digitalocean as do

from infra.flows import CloudRule
from infra.settings import Settings
from infra.stack import Stack

RULES = 50
"""As many as one firewall may have (DigitalOcean's limit)."""

Tags = Mapping[str, do.Tag]


def for_tiers(stack: Stack, settings: Settings, tags: Tags) -> dict[str, list[do.Firewall]]:
    """The firewalls of each tier, by its name."""
    return {
        tier: _firewalls(
            stack, tier, [r for r in settings.derived.cloud_rules(tier) if not r.load_balancer], tier, tags
        )
        for tier in settings.tiers
    }


def for_load_balancer(stack: Stack, settings: Settings, tags: Tags, balancer: do.LoadBalancer) -> None:
    """Let ``balancer``, and no other address, reach the tiers it serves."""
    for tier in settings.derived.balanced():
        rules = [rule for rule in settings.derived.cloud_rules(tier) if rule.load_balancer]
        _firewalls(stack, f"{tier}-loadbalancer", rules, tier, tags, balancer.id)


def _firewalls(
    stack: Stack,
    name: str,
    rules: list[CloudRule],
    tier: str,
    tags: Tags,
    balancer: pulumi.Input[str] | None = None,
) -> list[do.Firewall]:
    """As few firewalls as hold ``rules``: ``name``, ``name-2`` …"""
    parts = [rules[start : start + RULES] for start in range(0, len(rules), RULES)]
    return [
        do.Firewall(
            numbered,
            name=f"{stack.name}-{numbered}",
            tags=[tags[tier].name],
            inbound_rules=[
                do.FirewallInboundRuleArgs(
                    protocol=rule.port.protocol,
                    port_range=_ports(rule),
                    source_addresses=list(rule.addresses) or None,
                    source_tags=_names(rule.tiers, tags),
                    source_load_balancer_uids=[balancer] if balancer else None,
                )
                for rule in part
                if rule.direction == "in"
            ],
            outbound_rules=[
                do.FirewallOutboundRuleArgs(
                    protocol=rule.port.protocol,
                    port_range=_ports(rule),
                    destination_addresses=list(rule.addresses) or None,
                    destination_tags=_names(rule.tiers, tags),
                )
                for rule in part
                if rule.direction == "out"
            ],
        )
        for numbered, part in ((f"{name}-{n}" if n > 1 else name, part) for n, part in enumerate(parts, 1))
    ]


def _ports(rule: CloudRule) -> str | None:
    return None if rule.port.protocol == "icmp" else rule.port.span()


def _names(tiers: Iterable[str], tags: Tags) -> list[pulumi.Output[str]] | None:
    return [tags[tier].name for tier in tiers] or None
