"""What the stack tells everything that comes after it. No secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pulumi_digitalocean as do

from infra import scope
from infra.droplets import Machine
from infra.hardening import Hardening
from infra.settings import Settings


def outputs(
    stack_name: str,
    settings: Settings,
    machines: Iterable[Machine],
    balancer: do.LoadBalancer,
    hardened: Mapping[str, Hardening],
) -> dict[str, Any]:
    """By name, as ``pulumi stack output`` shows them."""
    return {
        "stack": stack_name,
        "url": f"https://{settings.domain}",
        "domain": settings.domain,
        "loadbalancer_ip": balancer.ip,
        **network(settings, machines),
        # The run of the controls that let each droplet in.
        "verified": {name: each.verification for name, each in hardened.items()},
    }


def network(settings: Settings, machines: Iterable[Machine]) -> dict[str, Any]:
    """Those of them that are about hosts: what an inventory is made of."""
    scopes = scope.scopes(settings.flows, settings.tiers, settings.holding)
    return {
        "admin_user": settings.administrators[0].name,
        "ssh_port": settings.ssh_port,
        "bastion": f"{settings.bastion}-1" if settings.bastion else None,
        "vpc_range": settings.vpc_range,
        "trusted_ranges": list(settings.trusted_ranges),
        "administrators": {person.name: list(person.public_keys) for person in settings.administrators},
        "tiers": {name: tier.model_dump(mode="json") for name, tier in settings.tiers.items()},
        "flows": [flow.model_dump(mode="json", by_alias=True, exclude_none=True) for flow in settings.flows],
        "droplets": {
            machine.name: {
                "id": machine.droplet.id,
                "public_ip": machine.droplet.ipv4_address,
                **({"reserved_ip": machine.reserved.ip_address} if machine.reserved else {}),
                "private_ip": machine.droplet.ipv4_address_private,
                "tier": machine.tier,
                "scope": scopes[machine.tier].scope,
                "serves": list(settings.tiers[machine.tier].serves),
                "image": machine.droplet.image,
                "region": machine.droplet.region,
                "size": machine.droplet.size,
                "first_contact_host_key": machine.host_key,
            }
            for machine in machines
        },
    }
