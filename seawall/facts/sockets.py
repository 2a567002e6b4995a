"""What listens on the host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seawall.facts import Machine


@dataclass(frozen=True)
class Listener:
    """A socket that takes what comes: TCP listening, or UDP bound to no peer."""

    protocol: str
    address: str
    port: int
    process: str

    @property
    def reachable(self) -> bool:
        """From another machine, were there no firewall."""
        return self.address == "*" or not ip_address(self.address).is_loopback

    def __str__(self) -> str:
        return f"{self.process} on {self.address} {self.port}/{self.protocol}"


def listeners(host: Machine) -> list[Listener]:
    return parse(host.check_output("ss -H -tulnp"))


def parse(text: str) -> list[Listener]:
    """The lines of `ss -H -tulnp`."""
    found = []
    for line in text.splitlines():
        protocol, _, _, _, local, *_ = line.split()
        address, _, port = local.rpartition(":")
        process = re.search(r'users:\(\("([^"]+)"', line)
        found.append(
            Listener(
                protocol=protocol,
                address=address.strip("[]").partition("%")[0],
                port=int(port),
                process=process[1] if process else "the kernel",
            )
        )
    return found
