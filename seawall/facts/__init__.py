"""What a host is, noun by noun: testinfra's shape for what testinfra has no module for. Facts never change a host.

``host.sshd``, ``host.ufw``, ``host.accounts``, ``host.daemon(…)``, ``host.sockets``, ``host.https``, ``host.outside``,
beside testinfra's own ``host.file``, ``host.package``, ``host.sysctl`` …
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn

from testinfra.host import Host

from seawall.connection import ANSWER_SECONDS, PinnedBackend
from seawall.controls import not_applicable
from seawall.facts.accounts import Accounts
from seawall.facts.apt import Apt
from seawall.facts.daemon import Daemon
from seawall.facts.kernel import SETTINGS, Kernel
from seawall.facts.outside import UNDECLARED, Outside
from seawall.facts.sockets import Listener, listeners
from seawall.facts.sshd import Sshd
from seawall.facts.tls import Tls
from seawall.facts.ufw import Ufw

SLOW = (
    "ufw status verbose",
    "apt-config dump",
    SETTINGS,
    "apt-mark showhold",
    "sshd -T",
    "nginx -T 2>/dev/null",
    "nginx -t",
)
"""Commands worth asking before anybody wants to know, of a host that was never asked anything: each takes a tenth of
a second and more."""


class Undeclared(dict):
    """Variables of a host that nobody declared anything about: what is asked for and not there is no expectation."""

    def __missing__(self, name: str) -> NoReturn:
        not_applicable(f"nobody declared {name} for this host")


def declared(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    return Undeclared(variables) if variables.get("seawall_undeclared") else variables


class Machine(Host):
    """A host of the inventory. ``vars`` are its Ansible variables, ``groups`` the groups it is in."""

    backend: PinnedBackend

    def __init__(self, backend: PinnedBackend, variables: Mapping[str, Any], groups: Sequence[str]) -> None:
        super().__init__(backend)
        backend.set_host(self)
        self.name, self.vars, self.groups = backend.route.name, declared(variables), frozenset(groups)
        self.others: dict[str, Machine] = {self.name: self}
        """Every host of the run, this one too, by name."""

    def begin(self, questions: Mapping[str, int]) -> None:
        """Have ``questions`` (those of the last run, with the seconds each may take) under way while the first controls
        look: they then wait for all together, not for one after the other."""
        self.outside.knock(*UNDECLARED)
        for command, seconds in (questions or dict.fromkeys(SLOW, ANSWER_SECONDS)).items():
            self.backend.ask(command, seconds=seconds)

    @cached_property
    def sshd(self) -> Sshd:
        return Sshd(self)

    @cached_property
    def ufw(self) -> Ufw:
        return Ufw(self)

    @cached_property
    def accounts(self) -> Accounts:
        return Accounts(self)

    @cached_property
    def apt(self) -> Apt:
        return Apt(self)

    @cached_property
    def kernel(self) -> Kernel:
        return Kernel(self)

    @cached_property
    def sockets(self) -> list[Listener]:
        return listeners(self)

    @cached_property
    def outside(self) -> Outside:
        return Outside(self)

    def text(self, path: str) -> str:
        """A file's content; nothing where there is no such file."""
        return self.run("cat -- %s", path).stdout

    def daemon(self, unit: str) -> Daemon:
        return Daemon(self, unit)

    def tls(self, port: int, address: str = "127.0.0.1", *, name: str = "") -> Tls:
        return Tls(self, address, port, name)
