"""How controls reach a host: testinfra's paramiko backend, made strict and quick.

Strict: testinfra's own accepts any host key and knows no ProxyJump. This one knows the pinned keys of the host's
alias only, and jumps through a bastion where the inventory says so.

Quick: one connection a host and one process on it (``worker.py``), which runs every command as root. An answer is
kept for the run, since a verification looks at one moment; and what one host is asked, all are asked at once,
since all get the same controls. So the time of a run hardly grows with the number of hosts.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import shlex
import socket
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import paramiko
from testinfra.backend.base import CommandResult
from testinfra.backend.paramiko import ParamikoBackend

from seawall.problem import USAGE, Problem

CONNECT_SECONDS = 10
ANSWER_SECONDS = 30
"""How long a command may take on the host. Its answer is waited for twice as long: it says better what hung."""

_WORKER = Path(__file__).with_name("worker.py").read_text()
_START = "python3 -I -c " + shlex.quote("import json, sys; exec(json.loads(sys.stdin.readline()))")
START_AS_ROOT = f'if [ "$(id -u)" = 0 ]; then exec {_START}; else exec sudo -n {_START}; fi'


class Unreachable(Exception):
    """The host could not be asked: says which, what was tried and what came back. Never a pass, never a failure."""


@dataclass(frozen=True)
class Route:
    """The way to a host. ``alias`` names its pinned keys in ``known_hosts``; ``key`` is None where an agent serves."""

    name: str
    address: str
    port: int
    user: str
    alias: str
    known_hosts: Path
    key: Path | None = None
    jump: Route | None = None
    local: bool = False
    """This machine itself, asked without ssh (``ansible_connection: local``)."""


def routes(variables: Mapping[str, Mapping[str, Any]]) -> dict[str, Route]:
    """The way to each host from its Ansible variables, so that controls go where Ansible goes.

    Understood in ``ansible_ssh_common_args``: ``-o HostKeyAlias=``, ``-o UserKnownHostsFile=``, ``-o ProxyJump=`` and
    ``-J``, with one jump; the stack's own inventory names it in ``seawall_jump``. A bastion must be a host of the same
    inventory: else there is no pinned key to expect.
    """
    options = {name: _options(held.get("ansible_ssh_common_args", "")) for name, held in variables.items()}
    direct = {name: _route(name, held, options[name]) for name, held in variables.items()}
    by_address = {route.address: route for route in direct.values()}
    found = {}
    for name, route in direct.items():
        jump = str(variables[name].get("seawall_jump") or options[name].get("proxyjump", "none"))
        if jump != "none":
            address = jump.rpartition("@")[2].partition(":")[0]
            if address not in by_address and address not in direct:
                raise Problem(
                    f"{name} is reached through {address}, which the inventory does not list, so its host key is not "
                    "pinned and anybody could be it. Add the bastion to the inventory.",
                    code=USAGE,
                )
            bastion = direct.get(address) or by_address[address]
            route = Route(**{**vars(route), "jump": bastion})
        found[name] = route
    return found


def _route(name: str, held: Mapping[str, Any], options: Mapping[str, str]) -> Route:
    try:
        local = held.get("ansible_connection") == "local"
        address = "127.0.0.1" if local else str(held["ansible_host"])
        known_hosts = "/dev/null" if local else options["userknownhostsfile"]
    except KeyError as missing:
        raise Problem(
            f"The inventory does not say how to reach {name}: {missing} is missing (ansible_host, and in "
            "ansible_ssh_common_args the UserKnownHostsFile that pins its host key). See inventory/static.yml.example.",
            code=USAGE,
        ) from None
    key = held.get("ansible_ssh_private_key_file")
    return Route(
        name=name,
        address=address,
        port=int(held.get("ansible_port", 22)),
        user=str(held.get("ansible_user", "root")),
        alias=str(held.get("seawall_host_key_alias") or options.get("hostkeyalias") or address),
        known_hosts=Path(known_hosts).expanduser(),
        key=Path(key).expanduser() if key else None,
        local=local,
    )


def _options(arguments: str) -> dict[str, str]:
    """ssh's ``-o Key=Value`` and ``-J`` as a dictionary, keys in lower case."""
    words = iter(shlex.split(arguments))
    found = {}
    for word in words:
        if word == "-J":
            found["proxyjump"] = next(words, "none")
        elif word.startswith("-o"):
            key, *value = re.split(r"[ =]", (word[2:] or next(words, "")).strip(), maxsplit=1)
            found[key.lower()] = "".join(value)
    return found


class PinnedBackend(ParamikoBackend):
    """A host's one connection. Made at once in ``pool``; commands asked meanwhile wait for it."""

    NAME = "seawall"

    def __init__(self, route: Route, pool: ThreadPoolExecutor, jump: PinnedBackend | None = None) -> None:
        super().__init__(route.name)
        self.route, self.jump = route, jump
        self.siblings: Iterable[PinnedBackend] = (self,)
        self._encoding = "utf-8"
        self.questions: dict[str, int] = {}
        """What was asked in this run and can be asked in the next, with the seconds it may take."""
        self._answers: dict[str, Future] = {}
        self._pending: dict[int, Future] = {}
        self._numbers = itertools.count()
        self._lock = Lock()
        self._opened = pool.submit(self._open)

    def get_pytest_id(self) -> str:
        return self.route.name

    # --- Asking -----------------------------------------------------------------------------------

    def run(
        self,
        command: str,
        *args: str,
        fresh: bool = False,
        unique: bool = False,
        seconds: int = ANSWER_SECONDS,
        **_: Any,
    ) -> CommandResult:
        """Run as root. ``fresh`` asks this host again; otherwise an answer of this run may be given, and every
        other host is asked the same meanwhile: only ask what changes nothing, or may happen on all. ``unique``
        commands hold something of this run's own, so that no other run could ask them. ``seconds`` is how long the
        host may take."""
        command = self.quote(command, *args)
        if not (fresh or unique):
            self.questions[command] = seconds
        if not fresh:
            for sibling in self.siblings:
                sibling.ask(command, seconds=seconds)
        status, out, err = self.ask(command, fresh=fresh, seconds=seconds).result(2 * seconds)
        if status is None:
            raise TimeoutError(f"{self.route.name} took too long over: {command}")
        return self.result(status, command.encode(), out, err)

    def ask(self, command: str, *, fresh: bool = False, seconds: int = ANSWER_SECONDS) -> Future:
        """Send the command, unless it was sent before; the answer is (exit status, stdout, stderr) as bytes."""
        with self._lock:
            if command in self._answers and not fresh:
                return self._answers[command]
            answer = self._answers[command] = Future()
            number = next(self._numbers)
            self._pending[number] = answer
        self._opened.add_done_callback(lambda _: self._send(number, command, seconds))
        return answer

    def _send(self, number: int, command: str, seconds: int) -> None:
        try:
            channel = self._opened.result()
            with self._lock:
                channel.sendall(json.dumps([number, command, seconds]).encode() + b"\n")
        except Exception as failure:
            self._fail(failure if isinstance(failure, Unreachable) else self._lost(str(failure)))

    def _listen(self, channel: paramiko.Channel) -> None:
        """Hand out answers until the connection ends; whoever still waits then learns why."""
        said = ""
        try:
            for line in channel.makefile("r"):
                number, status, *texts = json.loads(line)
                bytes_ = [text.encode("utf-8", "surrogateescape") for text in texts]
                self._pending.pop(number).set_result((status, *bytes_))
            said = channel.makefile_stderr("r").read().strip()
        except (OSError, ValueError, paramiko.SSHException) as failure:
            said = str(failure)
        self._fail(self._lost(said or "it closed the connection"))

    def _lost(self, said: str) -> Unreachable:
        return Unreachable(
            f"{self.route.name} stopped answering as {self.route.user}: {' '.join(said.split())}"
        )

    def _fail(self, failure: Exception) -> None:
        while self._pending:
            _, answer = self._pending.popitem()
            answer.set_exception(failure)

    # --- Connecting -------------------------------------------------------------------------------

    @property
    def client(self) -> paramiko.SSHClient:
        """The connection itself, for probes and jumps; raises ``Unreachable`` where there is none."""
        self._opened.result(2 * CONNECT_SECONDS)
        return self._client

    def dial(self, address: str, port: int) -> socket.socket | paramiko.Channel:
        """A TCP connection as seen from this host's near side: directly, or out of its bastion."""
        if self.jump is None:
            return socket.create_connection((address, port), CONNECT_SECONDS)
        transport = self.jump.client.get_transport()
        return transport.open_channel(
            "direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=CONNECT_SECONDS
        )

    def _open(self) -> paramiko.Channel:
        route = self.route
        try:
            self._client = self._connect()
            channel = self._client.get_transport().open_session(timeout=CONNECT_SECONDS)
            channel.exec_command(START_AS_ROOT)
            channel.sendall(json.dumps(_WORKER).encode() + b"\n")
        except (OSError, paramiko.SSHException) as failure:
            via = f" through {route.jump.name}" if route.jump else ""
            raise Unreachable(
                f"{route.name} could not be asked: ssh to {route.user}@{route.address} port {route.port}{via} with the "
                f"key pinned for {route.alias} in {route.known_hosts} ended with: {failure or type(failure).__name__}"
            ) from failure
        Thread(target=self._listen, args=(channel,), daemon=True).start()
        return channel

    def _connect(self) -> paramiko.SSHClient:
        return logged_in(self.route, self.dial(self.route.address, self.route.port))

    def close(self) -> None:
        """End the connection, and with it the worker on the host."""
        if self._opened.done() and not self._opened.exception():
            self._client.close()


class LocalBackend(PinnedBackend):
    """This machine itself: the same worker, without ssh."""

    def _open(self) -> Any:
        try:
            self._process = subprocess.Popen(
                ["sh", "-c", START_AS_ROOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            channel = _Pipes(self._process)
            channel.sendall(json.dumps(_WORKER).encode() + b"\n")
        except OSError as failure:
            raise Unreachable(f"this machine could not be asked as root: {failure}") from failure
        Thread(target=self._listen, args=(channel,), daemon=True).start()
        return channel

    def close(self) -> None:
        if self._opened.done() and not self._opened.exception():
            self._process.stdin.close()  # type: ignore[union-attr]
            self._process.wait(CONNECT_SECONDS)


class _Pipes:
    """A process's three streams in a channel's words."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr

    def sendall(self, data: bytes) -> None:
        self.stdin.write(data)
        self.stdin.flush()

    def makefile(self, mode: str) -> io.TextIOWrapper:
        return io.TextIOWrapper(self.stdout, encoding="utf-8")  # type: ignore[type-var]

    def makefile_stderr(self, mode: str) -> io.TextIOWrapper:
        return io.TextIOWrapper(self.stderr, encoding="utf-8", errors="replace")  # type: ignore[type-var]


def connect(found: Mapping[str, Route], pool: ThreadPoolExecutor) -> dict[str, PinnedBackend]:
    """A backend for each host, all connecting at once; a bastion's own connection carries those behind it."""
    backends: dict[str, PinnedBackend] = {}
    # Bastions first: with a small pool the hosts behind would occupy every thread, waiting for them.
    for name, route in sorted(found.items(), key=lambda item: item[1].jump is not None):
        jump = backends.get(route.jump.name) if route.jump else None
        if route.jump and jump is None:
            jump = backends[route.jump.name] = PinnedBackend(route.jump, pool)
        backends[name] = (LocalBackend if route.local else PinnedBackend)(route, pool, jump)
    for backend in backends.values():
        backend.siblings = tuple(backends.values())
    return {name: backends[name] for name in found}


def logged_in(route: Route, sock: socket.socket | paramiko.Channel) -> paramiko.SSHClient:
    """A login at ``route`` over a connection already made, its host key pinned."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.load_host_keys(str(route.known_hosts))
    client.connect(
        # On a socket of ours the name is only what host keys are looked up by, and 22 adds no port to it.
        hostname=route.alias,
        port=22,
        sock=sock,
        username=route.user,
        key_filename=str(route.key) if route.key else None,
        allow_agent=route.key is None,
        look_for_keys=False,
        timeout=CONNECT_SECONDS,
        banner_timeout=CONNECT_SECONDS,
        auth_timeout=CONNECT_SECONDS,
    )
    client.get_transport().set_keepalive(15)
    return client
