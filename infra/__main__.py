"""The network, from settings to outputs: read this first, then the module of each noun."""

import sys
from pathlib import Path

import pulumi

CHECKOUT = Path(__file__).resolve().parent.parent
# Pulumi runs this folder as a program; the inventory and the tests import it as the package `infra`. So here, too.
sys.path.insert(0, str(CHECKOUT))

from infra import certificates, droplets, firewalls, loadbalancer, network  # noqa: E402
from infra.outputs import outputs  # noqa: E402
from infra.program import settings_of  # noqa: E402
from infra.stack import Stack  # noqa: E402

stack = Stack(pulumi.get_project(), pulumi.get_stack())

# Whatever can't be built is refused here, in preview, before anything is created.
settings = settings_of(stack, CHECKOUT)

# The ground, and the walls: they stand before anybody lives within.
vpc = network.vpc(stack, settings)
tags = network.tags(stack, settings)
walls = firewalls.for_tiers(stack, settings, tags)

# The machines.
machines = droplets.create(stack, settings, vpc, tags, walls)

# The door, and who stands behind it.
certificate = certificates.site(stack, settings)
members = [machine.droplet.id for machine in machines if machine.tier in settings.derived.balanced()]
balancer = loadbalancer.create(stack, settings, vpc, certificate, members)
firewalls.for_load_balancer(stack, settings, tags, balancer)

for name, value in outputs(stack.stack, settings, machines, balancer).items():
    pulumi.export(name, value)
