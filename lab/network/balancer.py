"""Load balancers."""

from lab.instance import Instance
from lab.world import World


def apply(instance: Instance, world: World) -> None:
    pass


def stop_all(instance: Instance) -> None:
    pass
