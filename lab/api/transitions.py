"""How states settle and what an action does, as data.

Nothing here sleeps. A *delay* is the least time in seconds before a state may settle by the API's clock; the
rest of the wait is the backend's own: a firewall has succeeded when it stands on the network, a droplet is
active when its machine booted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from lab.world import Backend, Droplet


def remaining(delay: float, since: datetime, now: datetime) -> float:
    """Seconds left of ``delay``; none where the clock was set back, or a state would wait until it caught up."""
    passed = (now - since).total_seconds()
    return delay - passed if 0 <= passed < delay else 0.0


@dataclass(frozen=True)
class DropletAction:
    """One droplet action.

    ``needs``: the status it is allowed in, or None for any. ``effect``: what it does to the machine.
    ``leaves``: the status once the effect returned, None for the one before. ``power``: what the droplet
    should be from the moment the action is accepted, None for unchanged. ``boots``: the effect starts the
    machine, so the network has to stand first. ``delay`` in seconds.
    """

    effect: Callable[[Backend, Droplet], None]
    needs: str | None = None
    leaves: str | None = None
    power: bool | None = None
    boots: bool = False
    delay: float = 0.0


def _boot(backend: Backend, droplet: Droplet) -> None:
    backend.boot(droplet)


def _power_cycle(backend: Backend, droplet: Droplet) -> None:
    backend.shutdown(droplet, force=True)
    backend.boot(droplet)


def _rebuild(backend: Backend, droplet: Droplet) -> None:
    backend.destroy(droplet.id)
    backend.boot(droplet)


def _nothing(backend: Backend, droplet: Droplet) -> None:
    """The new value is in the world already; the machine takes it at its next boot."""


DROPLET_ACTIONS: dict[str, DropletAction] = {
    "create": DropletAction(_boot, leaves="active", power=True, boots=True),
    "power_on": DropletAction(_boot, needs="off", leaves="active", power=True, boots=True),
    "shutdown": DropletAction(lambda b, d: b.shutdown(d), needs="active", leaves="off", power=False),
    "power_off": DropletAction(
        lambda b, d: b.shutdown(d, force=True), needs="active", leaves="off", power=False
    ),
    "reboot": DropletAction(lambda b, d: b.reboot(d), needs="active", boots=True),
    "power_cycle": DropletAction(_power_cycle, needs="active", boots=True),
    "rebuild": DropletAction(_rebuild, leaves="active", power=True, boots=True),
    "resize": DropletAction(_nothing, needs="off"),
    "rename": DropletAction(_nothing),
    "enable_backups": DropletAction(_nothing),
    "disable_backups": DropletAction(_nothing),
    "change_backup_policy": DropletAction(_nothing),
    "destroy": DropletAction(lambda b, d: b.destroy(d.id), power=False),
}

# DigitalOcean has these too; a lab machine cannot do them, and is not made to pretend.
IMPOSSIBLE_ACTIONS = frozenset(
    (
        "change_kernel",
        "enable_ipv6",
        "enable_private_networking",
        "password_reset",
        "restore",
        "snapshot",
    )
)


@dataclass(frozen=True)
class Transitions:
    """The delays of one API, in seconds; ``actions`` by droplet action type.

    ``look``: how often the machines are asked whether they still run; one may switch itself off.
    """

    firewall: float = 0.0  # waiting -> succeeded, after the network took it
    load_balancer: float = 0.5  # new -> active and busy -> free, after the network took it
    certificate: float = 0.5  # pending -> verified
    look: float = 5.0
    actions: dict[str, DropletAction] = field(default_factory=lambda: dict(DROPLET_ACTIONS))
