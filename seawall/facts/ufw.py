"""The host's firewall: what ufw says, and what the kernel does."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seawall.facts import Machine

IPV4, IPV6 = "iptables", "ip6tables"
EVERYWHERE = {IPV4: "0.0.0.0/0", IPV6: "::/0"}
ACCEPTING = ("ACCEPT", "ufw-user-limit-accept", "ufw6-user-limit-accept")


@dataclass(frozen=True, order=True)
class Allowed:
    """One thing let through: ``address`` is the source of what comes in, the destination of what goes out."""

    protocol: str
    ports: str
    address: str

    def __str__(self) -> str:
        return f"{self.ports}/{self.protocol} {self.address}"


class Ufw:
    """``host.ufw``. Rules and policies are the kernel's (`iptables -S`): a rule that ufw knows of and the kernel does
    not protects nobody."""

    def __init__(self, host: Machine) -> None:
        self.host = host
        self._rules: dict[str, list[list[str]]] = {}

    @cached_property
    def status(self) -> dict[str, str]:
        """`ufw status verbose`'s header: ``{"Status": "active", "Logging": "on (low)", …}``; empty without ufw."""
        lines = self.host.run("ufw status verbose").stdout.splitlines()
        return dict(line.split(": ", 1) for line in lines if re.match(r"[A-Z]\w+( \w+)?: ", line))

    def _kernel(self, family: str) -> list[list[str]]:
        if family not in self._rules:
            self._rules[family] = [
                shlex.split(line) for line in self.host.run(f"{family} -S").stdout.splitlines()
            ]
        return self._rules[family]

    def policy(self, family: str, chain: str) -> str:
        """What happens to packets no rule speaks of: ``DROP``, ``ACCEPT``."""
        return next((words[2] for words in self._kernel(family) if words[:2] == ["-P", chain]), "unknown")

    def rules(self, family: str, chain: str) -> list[list[str]]:
        """A chain's rules in order, as words."""
        return [words[2:] for words in self._kernel(family) if words[:2] == ["-A", chain]]

    def allowed(self, direction: str) -> set[Allowed]:
        """What the administrator's rules let ``in`` or ``out``, IPv4 and IPv6."""
        chain = {"in": "input", "out": "output"}[direction]
        return allowed(self.rules(IPV4, f"ufw-user-{chain}"), EVERYWHERE[IPV4]) | allowed(
            self.rules(IPV6, f"ufw6-user-{chain}"), EVERYWHERE[IPV6]
        )


def allowed(rules: list[list[str]], everywhere: str) -> set[Allowed]:
    """The accepting ones of some iptables rules. A rule without protocol or port says ``any``."""
    found = set()
    for words in rules:
        options = dict(pairwise(words))
        if options.get("-j") not in ACCEPTING:
            continue
        address = options.get("-s") or options.get("-d") or everywhere
        for ports in (options.get("--dports") or options.get("--dport") or "any").split(","):
            found.add(Allowed(options.get("-p", "any"), ports, address))
    return found
