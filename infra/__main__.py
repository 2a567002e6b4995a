"""The network, from settings to outputs: read this first, then the module of each noun."""

import sys
from pathlib import Path

import pulumi

CHECKOUT = Path(__file__).resolve().parent.parent
# Pulumi runs this folder as a program; the inventory and the tests import it as the package `infra`. So here, too.
sys.path.insert(0, str(CHECKOUT))

from infra import (  # noqa: E402
    certificates,
    dns,
    droplets,
    evidence,
    firewalls,
    hardening,
    loadbalancer,
    monitoring,
    network,
    project,
)
from infra import outputs as told  # noqa: E402
from infra.program import settings_of  # noqa: E402
from infra.stack import Stack  # noqa: E402

stack = Stack(pulumi.get_project(), pulumi.get_stack())

# Whatever can't be built is refused here, in preview, before anything is created.
settings = settings_of(stack, CHECKOUT)

# The ground, and the walls: they stand before anybody lives within.
vpc = network.vpc(stack, settings)
tags = network.tags(stack, settings)
way_out = network.nat_gateway(stack, settings, vpc)
walls = firewalls.for_tiers(stack, settings, tags)

# The machines.
machines = droplets.create(stack, settings, vpc, tags, walls, way_out)

# What makes them fit to live in; with `harden: false`, `seawall harden` does that later.
hardened = hardening.create(settings, told.network(settings, machines), machines) if settings.harden else {}

# The door, and who stands behind it: whoever is hardened, and whose controls passed.
zone = dns.zone(settings)
certificate = certificates.site(stack, settings, zone)
members = [
    hardened[machine.name].droplet_id if settings.harden else machine.droplet.id
    for machine in machines
    if machine.tier in settings.derived.balanced()
]
balancer = loadbalancer.create(stack, settings, vpc, certificate, members)
firewalls.for_load_balancer(stack, settings, tags, balancer)

# What people see of it: its name, who is told of trouble, where it stands in the control panel.
dns.records(settings, zone, balancer)
monitoring.create(stack, settings, tags["all"])
urns = [machine.droplet.droplet_urn for machine in machines]
urns += [machine.reserved.reserved_ip_urn for machine in machines if machine.reserved]
urns += [balancer.load_balancer_urn, *([zone.domain_urn] if zone else [])]
project.create(stack, settings, urns)

# Where what is proven about all this is kept.
kept = evidence.store(stack, settings)

for name, value in (told.outputs(stack.stack, settings, machines, balancer, hardened) | kept).items():
    pulumi.export(name, value)
