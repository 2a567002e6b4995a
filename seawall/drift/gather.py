"""One round trip: what a host says it is.

The same script serves twice. An administrator's login sends it down the connection and runs it as root; a drift watch's
own account is bound to the host's copy of it by a forced command and never reads what is sent.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import socket
import threading
from typing import Any

import paramiko

from seawall.connection import CONNECT_SECONDS, Route, Unreachable, logged_in
from seawall.places import CHECKOUT

SCRIPT = CHECKOUT / "roles" / "accounts" / "files" / "drift-gather"
SCHEMA_VERSION = 1
ANSWER_SECONDS = 180
LOGINS = threading.BoundedSemaphore(8)
"""Logins at a bastion that may be under way at once: its sshd takes ten from one address (PerSourceMaxStartups)."""

Facts = dict[str, Any]
"""Sections of flat entries; ``roles/accounts/files/drift-gather`` says what each holds."""

# -c and not the script on python's standard input: a forced command needs nothing sent.
_PYTHON = "python3 -I -c " + shlex.quote(
    "import sys; exec(compile(sys.stdin.read(), 'drift-gather', 'exec'))"
)
COMMAND = f'if [ "$(id -u)" = 0 ]; then exec {_PYTHON}; else exec /usr/bin/sudo -n {_PYTHON}; fi'


def version() -> str:
    """Tells one script from another, after an upgrade of Seawall for one."""
    return hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:16]


def gather(route: Route) -> Facts:
    """Ask the host; ``Unreachable`` says why it did not answer, or not as the script does."""
    via = None
    client = None
    try:
        if route.jump:
            jump = route.jump
            with LOGINS:
                via = logged_in(jump, socket.create_connection((jump.address, jump.port), CONNECT_SECONDS))
            sock: Any = via.get_transport().open_channel(
                "direct-tcpip", (route.address, route.port), ("127.0.0.1", 0), timeout=CONNECT_SECONDS
            )
        else:
            sock = socket.create_connection((route.address, route.port), CONNECT_SECONDS)
        client = logged_in(route, sock)
        channel = client.get_transport().open_session(timeout=CONNECT_SECONDS)
        channel.settimeout(ANSWER_SECONDS)
        channel.exec_command(COMMAND)
        try:
            channel.sendall(SCRIPT.read_bytes())
            channel.shutdown_write()
        except OSError:
            pass  # a forced command may have ended before it was sent all
        answer = channel.makefile("rb").read()
        said = channel.makefile_stderr("rb").read().decode("utf-8", "replace")
        return understood(route.name, answer, said)
    except (OSError, paramiko.SSHException) as failure:
        raise Unreachable(
            f"{route.name} could not be asked: ssh to {route.user}@{route.address} port {route.port} with the key "
            f"pinned for {route.alias} in {route.known_hosts} ended with: {failure or type(failure).__name__}"
        ) from failure
    finally:
        for each in filter(None, (client, via)):
            each.close()


def understood(name: str, answer: bytes, said: str = "") -> Facts:
    """The document in an answer. What is none was not looked at, and is never clean."""
    try:
        facts = json.loads(answer)
        version = facts["schema_version"]
    except (ValueError, KeyError, TypeError):
        last = " ".join(said.split())[-300:] or "nothing"
        raise Unreachable(
            f"{name} did not tell what it is; its last words: {last}. It needs Python 3.9 or newer, and sudo "
            "without a password."
        ) from None
    if version != SCHEMA_VERSION:
        raise Unreachable(
            f"{name} told by version {version} of the gathering script, and this is version {SCHEMA_VERSION}: "
            f"`seawall harden --host {name}` brings it up to date."
        )
    return facts
