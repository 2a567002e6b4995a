"""What the host shows to the controller before anybody has logged in."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import paramiko

from seawall.connection import CONNECT_SECONDS, Unreachable
from seawall.controls import not_applicable

if TYPE_CHECKING:
    from seawall.facts import Machine

SILENCE_SECONDS = 2.0
"""After so long without an answer a port counts as filtered."""

_probes = ThreadPoolExecutor(256, thread_name_prefix="probe")  # they only wait


UNDECLARED = (
    *(21, 22, 23, 25, 80, 111, 443, 445, 514, 873, 2222, 2375),
    *(3306, 5432, 5900, 6379, 6514, 8000, 8080, 9200, 11211),
)
"""TCP ports attackers try first, and those this product's own parts use inside: each must be declared, or silent."""


class Outside:
    """``host.outside``. As with commands, what one host is probed for, all are at once."""

    def __init__(self, host: Machine) -> None:
        self.host = host
        self._found: dict[str, Future] = {}
        self._lock = Lock()

    @property
    def controller(self) -> str:
        """The address from which this host sees the controller come, as its sshd tells."""
        self._needs_distance()
        _, out, _ = self.host.backend.client.exec_command("echo $SSH_CONNECTION", timeout=CONNECT_SECONDS)
        return out.read().decode().split()[0]

    def _ask(self, probe: str, look: Callable[[Outside], Any]) -> Future:
        for other in self.host.others.values():
            outside = other.outside
            with outside._lock:
                if probe not in outside._found:
                    outside._found[probe] = _probes.submit(look, outside)
        return self._found[probe]

    def knock(self, *ports: int) -> dict[int, Future]:
        """Begin to ask for TCP ports: silence takes its time, in which other things can be done."""
        return {port: self._ask(f"port {port}", partial(Outside._knock, port=port)) for port in ports}

    def ports(self, *ports: int) -> dict[int, str]:
        """``open``, ``refused`` (the host answers that nothing is there) or ``silent`` (filtered), by TCP port."""
        self._needs_distance()
        if self.host.vars.get("seawall_jump") and set(ports) != {self.host.backend.route.port}:
            not_applicable(
                "it is seen out of its bastion only, whose sshd and firewall open connections to its ssh port and no "
                "other: silence there would tell of the bastion. Its own firewall's rules are controls of their own"
            )
        return {port: answer.result() for port, answer in self.knock(*ports).items()}

    def _needs_distance(self) -> None:
        if self.host.backend.route.local:
            not_applicable(
                "nobody sees from a machine itself what others see of it; audit it over ssh for that"
            )

    def _knock(self, port: int) -> str:
        backend = self.host.backend
        try:
            if backend.jump is None:
                socket.create_connection((backend.route.address, port), SILENCE_SECONDS).close()
            else:
                backend.dial(backend.route.address, port).close()
        except TimeoutError:
            return "silent"
        except paramiko.ChannelException:
            return "silent"  # the bastion doesn't tell why it could not reach it
        except OSError as refusal:
            return "refused" if isinstance(refusal, ConnectionRefusedError) else "silent"
        return "open"

    @cached_property
    def algorithms(self) -> dict[str, list[str]]:
        """What the running sshd offers: ``kex``, ``host keys``, ``ciphers`` and ``macs`` (client to server), and its
        ``version`` line."""
        return self._ask("algorithms", Outside._key_exchange).result()

    def _key_exchange(self) -> dict[str, list[str]]:
        route = self.host.backend.route
        try:
            with self.host.backend.dial(route.address, route.port) as connection:
                connection.settimeout(CONNECT_SECONDS)
                stream = connection.makefile("rb")
                version = b""
                while not version.startswith(b"SSH-"):  # a server may say something before its version
                    version = stream.readline()
                    if not version:
                        raise struct.error("it hung up")
                connection.sendall(b"SSH-2.0-Seawall\r\n")
                length, padding = struct.unpack(">IB", stream.read(5))
                found = parse_key_exchange(stream.read(length - 1)[: length - 1 - padding])
                return {**found, "version": [version.decode("ascii", "replace").strip()]}
        except (OSError, struct.error, paramiko.SSHException) as failure:
            raise Unreachable(f"{route.name} did not begin an SSH key exchange: {failure}") from failure

    def login_methods(self, user: str) -> list[str]:
        """How ``user`` could try to log in: what sshd answers to somebody who shows nothing."""
        return self._ask(f"login {user}", partial(Outside._show_nothing, user=user)).result()

    def _show_nothing(self, user: str) -> list[str]:
        route = self.host.backend.route
        try:
            with closing(paramiko.Transport(self.host.backend.dial(route.address, route.port))) as transport:
                transport.start_client(timeout=CONNECT_SECONDS)
                return transport.auth_none(user) or ["nothing at all"]
        except paramiko.BadAuthenticationType as refusal:
            return sorted(refusal.allowed_types)
        except (OSError, EOFError, paramiko.SSHException) as failure:
            raise Unreachable(f"{route.name} did not answer a login attempt: {failure}") from failure


def parse_key_exchange(payload: bytes) -> dict[str, list[str]]:
    """The name lists of an SSH_MSG_KEXINIT (RFC 4253, section 7.1)."""
    if payload[:1] != b"\x14":
        raise struct.error("the server's first message is no key exchange")
    lists, at = [], 1 + 16  # the message's number, a random cookie
    for _ in range(6):
        (size,) = struct.unpack_from(">I", payload, at)
        lists.append(payload[at + 4 : at + 4 + size].decode("ascii").split(","))
        at += 4 + size
    # Pseudo-algorithms announce extensions (strict key exchange), not ways to exchange keys.
    kex = [name for name in lists[0] if not name.startswith(("kex-strict-", "ext-info-"))]
    return {"kex": kex, "host keys": lists[1], "ciphers": lists[2], "macs": lists[4]}
