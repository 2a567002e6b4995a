"""A running daemon against its configuration: the truth is the daemon, not the file."""

from __future__ import annotations

import shlex
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seawall.facts import Machine

PROPERTIES = "ActiveState,UnitFileState,LoadState,MainPID,ExecMainStartTimestamp,StateChangeTimestamp"


class Daemon:
    """``host.daemon("ssh")``: systemd's view of a unit."""

    def __init__(self, host: Machine, unit: str) -> None:
        self.host, self.unit = host, unit

    @cached_property
    def properties(self) -> dict[str, str]:
        shown = self.host.check_output(f"systemctl show --timestamp=us+utc -p {PROPERTIES} %s", self.unit)
        return dict(line.split("=", 1) for line in shown.splitlines())

    @property
    def state(self) -> str:
        """``active``, ``inactive``, ``failed`` …, or ``not installed``."""
        return (
            "not installed" if self.properties["LoadState"] == "not-found" else self.properties["ActiveState"]
        )

    @property
    def at_boot(self) -> str:
        """``enabled``, ``disabled``, ``masked``, ``static`` …, or ``not installed``."""
        return self.properties["UnitFileState"] or "not installed"

    def configured(self, *, reload_counts: bool) -> float:
        """When the daemon last read its configuration (Unix time; 0 if it isn't running): its start, or a later reload.

        A reload leaves the start time alone, but changes the unit's state to ``reloading`` and back.
        """
        if self.state != "active":
            return 0.0
        which = ["ExecMainStartTimestamp"] + (["StateChangeTimestamp"] if reload_counts else [])
        return max(_unix_time(self.properties[name]) for name in which)

    @property
    def arguments(self) -> list[str]:
        """The running process's command line, as words; empty if it isn't running."""
        pid = self.properties["MainPID"]
        if pid == "0":
            return []
        return self.host.check_output("tr '\\0' '\\n' < /proc/%s/cmdline", pid).split()

    def changed_since(self, *paths: str, reload_counts: bool = False) -> list[str]:
        """Configuration files (folders are searched) that changed after the daemon last read them.

        ``reload_counts`` where a reload reads everything anew, as sshd's and nginx's do and rsyslog's does not. By
        change time, not modification time: ``touch -d`` and ``mv`` cannot set that one back.
        """
        where = " ".join(map(shlex.quote, paths))
        listed = self.host.run(f"find -L {where} -type f -printf '%C@ %p\\n'").stdout.splitlines()
        times = {path: float(time) for time, path in (line.split(" ", 1) for line in listed)}
        read = self.configured(reload_counts=reload_counts)
        return sorted(path for path, time in times.items() if time > read)


def _unix_time(shown: str) -> float:
    """systemd's ``Tue 2026-11-24 07:57:13.123456 UTC``; 0 for the empty text of a thing that never happened."""
    return datetime.strptime(f"{shown}+0000", "%a %Y-%m-%d %H:%M:%S.%f UTC%z").timestamp() if shown else 0.0
