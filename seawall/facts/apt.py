"""apt's effective configuration and what is installed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seawall.facts import Machine


class Apt:
    """``host.apt["APT::Periodic::Unattended-Upgrade"]``: as apt reads it, every file of apt.conf.d together."""

    def __init__(self, host: Machine) -> None:
        self.host = host

    @cached_property
    def configuration(self) -> dict[str, list[str]]:
        return parse(self.host.check_output("apt-config dump"))

    def __getitem__(self, name: str) -> str:
        """The setting's value; "" where it has none."""
        return (self.configuration.get(name) or [""])[-1]

    def all(self, name: str) -> list[str]:
        """A list setting's entries."""
        return [value for value in self.configuration.get(f"{name}::", []) if value]

    @cached_property
    def installed(self) -> dict[str, str]:
        """Version of each installed package."""
        lines = self.host.check_output(
            "dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\\n'"
        ).splitlines()
        return {
            name: version for state, name, version in (line.split("|") for line in lines) if state[1:2] == "i"
        }

    @cached_property
    def _proof(self) -> list[str]:
        # Now, the times of the last dry run, the last successful run and the role's settings, and the dry run itself.
        return self.host.run(
            "cd /; date +%s; for file in var/lib/seawall/upgrades-proof var/lib/apt/periodic/upgrade-stamp "
            "etc/apt/apt.conf.d/52seawall-unattended-upgrades; do stat -c %Y $file 2>/dev/null || echo 0; done; "
            "cat var/lib/seawall/upgrades-proof 2>/dev/null"
        ).stdout.splitlines()

    @property
    def dry_run(self) -> tuple[str, int]:
        """What unattended-upgrade's last dry run said, and how many seconds ago; "" where there was none."""
        now, made = map(int, self._proof[:2])
        return "\n".join(self._proof[4:]), now - made

    @property
    def upgraded_ago(self) -> int:
        """Seconds since unattended-upgrade last succeeded; before it first did, since it was set up."""
        now, _, succeeded, set_up = map(int, self._proof[:4])
        return now - (succeeded or set_up)


def parse(text: str) -> dict[str, list[str]]:
    """`apt-config dump`: ``name "value";`` a line; names that end in ``::`` are entries of a list."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name, []).append(value.removesuffix(";").strip('"'))
    return found
