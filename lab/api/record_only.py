"""A backend without effects, for conformance and scale: it records what it was told and does nothing.

It must never be mistaken for machines: ``kind`` says so, and the API answers it as the team's name.
"""

from __future__ import annotations

import threading
from collections import deque

from lab.world import Droplet, World


class RecordOnly:
    """A ``lab.world.Backend`` that only remembers. ``calls`` holds the last 10,000 (method, subject) in order."""

    kind = "record-only"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self.calls: deque[tuple[str, object]] = deque(maxlen=10_000)
        self.world = World()

    def _record(
        self, method: str, subject: object, *, up: int | None = None, down: int | None = None
    ) -> None:
        with self._lock:
            self.calls.append((method, subject))
            if up:
                self._running.add(up)
            if down:
                self._running.discard(down)

    def network(self, world: World) -> None:
        self.world = world
        self._record("network", len(world.droplets))

    def boot(self, droplet: Droplet) -> None:
        self._record("boot", droplet.id, up=droplet.id)

    def shutdown(self, droplet: Droplet, *, force: bool = False) -> None:
        self._record("power_off" if force else "shutdown", droplet.id, down=droplet.id)

    def reboot(self, droplet: Droplet) -> None:
        self._record("reboot", droplet.id)

    def destroy(self, droplet_id: int) -> None:
        self._record("destroy", droplet_id, down=droplet_id)

    def running(self) -> set[int]:
        with self._lock:
            return set(self._running)

    def close(self) -> None:
        self._record("close", None)
