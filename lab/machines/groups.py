"""Control groups: what bounds a droplet's memory and processors, and tells which processes are its own.

A droplet has one group of the same path in every hierarchy the host has: several on a host with version 1
(or the hybrid), one with version 2. Its processes live in a child, ``machine``, since version 2 wants groups
with children free of processes. Membership is the kernel's own record of what runs: no pid file can be
stale, and nothing a droplet does leaves its group.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab.world import Size

PERIOD = 100_000
"""Microseconds over which processor time is counted out."""

PROCESSES = 8192
"""Processes and threads a droplet may have: a fork bomb is to be the droplet's own trouble."""


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy: version 1 with one or few controllers, or version 2 (no names) with all."""

    mount: Path
    controllers: frozenset[str]
    unified: bool


@cache
def hierarchies() -> tuple[Hierarchy, ...]:
    """All but cpuset's, which nothing here limits and which refuses processes until it is filled in."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = line.split()
        if kind == "cgroup2":
            found.append(Hierarchy(Path(mount), frozenset(), True))
        elif kind == "cgroup" and "cpuset" not in options.split(","):
            found.append(Hierarchy(Path(mount), frozenset(options.split(",")), False))
    return tuple(found)


def limits(size: Size, hierarchy: Hierarchy) -> dict[str, str]:
    """A size's limits as the files of one hierarchy: pure."""
    memory, quota = size.memory * 1024 * 1024, size.vcpus * PERIOD
    if hierarchy.unified:
        return {"memory.max": f"{memory}", "cpu.max": f"{quota} {PERIOD}", "pids.max": f"{PROCESSES}"}
    files = {
        "memory": {"memory.limit_in_bytes": f"{memory}"},
        "cpu": {"cpu.cfs_period_us": f"{PERIOD}", "cpu.cfs_quota_us": f"{quota}"},
        "pids": {"pids.max": f"{PROCESSES}"},
    }
    return {
        name: value for each in hierarchy.controllers & files.keys() for name, value in files[each].items()
    }


@dataclass(frozen=True)
class Group:
    """The control groups of one droplet or load balancer (``name``) of one lab (``tag``)."""

    tag: str
    name: str

    def make(self, size: Size | None = None) -> list[Path]:
        """Make the groups, limited to a size if given; return where a process signs in to be in all of them."""
        doors = []
        for hierarchy in hierarchies():
            group = hierarchy.mount / "seawall" / self.tag / self.name
            (group / "machine").mkdir(parents=True, exist_ok=True)
            if hierarchy.unified:
                for ancestor in (hierarchy.mount, *reversed(group.relative_to(hierarchy.mount).parents[:-1])):
                    with contextlib.suppress(
                        OSError
                    ):  # a hybrid host's version 2 has no controllers to hand on
                        where = hierarchy.mount / ancestor / "cgroup.subtree_control"
                        where.write_text("+memory +cpu +pids")
            for name, value in (limits(size, hierarchy) if size else {}).items():
                if (group / name).exists():
                    (group / name).write_text(value)
            doors.append(group / "machine" / "cgroup.procs")
        return doors

    def processes(self) -> set[int]:
        """All processes of the droplet that live, as this host numbers them."""
        first = next((h for h in hierarchies() if "memory" in h.controllers), hierarchies()[0])
        return _members(first.mount / "seawall" / self.tag / self.name)

    def kill(self) -> None:
        """End every process at once, as a pulled plug would. Returns with some perhaps still ending."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        """Remove the groups; they must be empty of processes."""
        for hierarchy in hierarchies():
            _remove(hierarchy.mount / "seawall" / self.tag / self.name)
            for parent in (hierarchy.mount / "seawall" / self.tag, hierarchy.mount / "seawall"):
                with contextlib.suppress(OSError):  # not empty: others use it
                    parent.rmdir()


def names(tag: str) -> set[str]:
    """The names of a lab's groups that exist."""
    return {child.name for place in left(tag) for child in place.iterdir() if child.is_dir()}


def left(tag: str) -> list[Path]:
    """Groups of a lab that exist."""
    return [place for h in hierarchies() if (place := h.mount / "seawall" / tag).exists()]


def _members(folder: Path) -> set[int]:
    found: set[int] = set()
    for place, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in Path(place, "cgroup.procs").read_text().split())
    return found


def _remove(folder: Path) -> None:
    for place, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(place)
