"""The backend of real machines: what ``lab.world.Backend`` promises, done with containers and packets."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

from lab.instance import Instance
from lab.machines import groups, virtual
from lab.machines.machine import Machine
from lab.network import balancer, plan, router
from lab.world import BackendError, Droplet, World


class Machines:
    """Droplets as containers or virtual machines, regions as namespaces, firewalls as nftables, balancers as haproxy.

    Nothing is remembered here but the last world: what runs is asked of the kernel each time, so a new daemon
    carries on where a killed one stopped.
    """

    kind = "machines"

    def __init__(self, instance: Instance, on_region: Callable[[str], None] = lambda region: None) -> None:
        """``on_region`` is called once for each region that has come to be, before anything lives there."""
        self.instance = instance
        self._on_region = on_region
        self._regions: set[str] = set()
        self._world = World()
        self._network = threading.Lock()
        self._machine: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

    def network(self, world: World) -> None:
        with self._network:
            everyone = plan.stations(self.instance, world)
            router.ensure_core(self.instance)
            for region in sorted(plan.regions(world)):
                router.ensure_region(self.instance, region)
            # Rules first, then the ways to what they guard.
            core = self.instance.namespace("core")
            for region in sorted(plan.regions(world) | self._regions):
                router.rules(self.instance.namespace(region), plan.region_rules(region, everyone))
            router.rules(core, plan.core_rules(self.instance, everyone))
            router.drop_stale_routes(
                core, {address for station in everyone for address in station.public_addresses}
            )
            router.batch(core, plan.core_routes(self.instance, everyone))
            for region in sorted(plan.regions(world) - self._regions):
                self._on_region(region)
                self._regions.add(region)
            self._world = world
            balancer.apply(self.instance, world)

    def boot(self, droplet: Droplet) -> None:
        with self._machine[droplet.id]:
            machine = virtual.of(self.instance, droplet.id, droplet.size)
            if machine.running():
                return
            machine.halt()  # what a killed daemon, or a machine that switched itself off, left mounted
            links = plan.links_of(self.instance, self._known(droplet), droplet)
            machine.build(droplet, links)
            machine.start(droplet, links)

    def shutdown(self, droplet: Droplet, *, force: bool = False) -> None:
        with self._machine[droplet.id]:
            virtual.of(self.instance, droplet.id).stop(force=force)

    def reboot(self, droplet: Droplet) -> None:
        with self._machine[droplet.id]:
            virtual.of(self.instance, droplet.id).reboot()

    def destroy(self, droplet_id: int) -> None:
        with self._machine[droplet_id]:
            virtual.of(self.instance, droplet_id).destroy()

    def running(self) -> set[int]:
        return {machine.id for machine in machines(self.instance) if machine.running()}

    def close(self) -> None:
        """Nothing is held: machines and load balancers run on."""

    def _known(self, droplet: Droplet) -> World:
        if droplet.vpc_id not in self._world.vpcs:
            raise BackendError(
                f"Droplet {droplet.name} can't boot: its VPC {droplet.vpc_id} is not part of the network yet. "
                "network() comes before boot()."
            )
        return self._world


def machines(instance: Instance) -> list[Machine]:
    """Every machine that has a folder or a process."""
    folders = {path.name for path in instance.droplets.iterdir()} if instance.droplets.exists() else set()
    found = {int(name) for name in folders | groups.names(instance.tag) if name.isdigit()}
    return [virtual.of(instance, number) for number in sorted(found)]
