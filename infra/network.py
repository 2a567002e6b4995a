"""The VPC, its way out, and the tags by which firewalls know droplets."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_digitalocean as do

from infra.settings import Settings
from infra.stack import Stack


def vpc(stack: Stack, settings: Settings) -> do.Vpc:
    return do.Vpc(
        "vpc",
        name=stack.name,
        region=settings.region,
        ip_range=settings.vpc_range,
        opts=pulumi.ResourceOptions(protect=settings.protect),
    )


def nat_gateway(stack: Stack, settings: Settings, vpc: do.Vpc) -> do.VpcNatGateway | None:
    """The way out for droplets without a public address: nothing comes in by it. None where every droplet has one."""
    if not settings.private_tiers:
        return None
    return do.VpcNatGateway(
        "way-out",
        name=stack.name,
        type="PUBLIC",
        region=settings.region,
        size=1,
        vpcs=[do.VpcNatGatewayVpcArgs(vpc_uuid=vpc.id, default_gateway=True)],
    )


def tags(stack: Stack, settings: Settings) -> Mapping[str, do.Tag]:
    """One a tier, and ``all``. They are resources so that a firewall can name a tag before a droplet has it."""
    return {name: do.Tag(name, name=stack.tag(name)) for name in ("all", *settings.tiers)}
