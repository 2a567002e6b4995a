"""What the end-to-end tests act with: the product as its user has it, and eyes of their own beside it."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
SEAWALL = CHECKOUT / ".venv" / "bin" / "seawall"


@dataclass(frozen=True)
class World:
    """One lab of the tests' own, driven through the command line only."""

    folder: Path
    instance: str
    stack: str = "lab-test"

    @property
    def environment(self) -> dict[str, str]:
        """A user's environment: nothing of a surrounding shell's Pulumi or DigitalOcean settings."""
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("PULUMI_", "DIGITALOCEAN_", "SEAWALL_"))
        }
        return clean | {
            "SEAWALL_DIR": str(self.folder),
            "SEAWALL_INSTANCE": self.instance,
            "PULUMI_STACK": self.stack,
        }

    def seawall(self, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SEAWALL, *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def by_hand(self, command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """A line typed into a shell after ``eval "$(seawall env)"``."""
        return subprocess.run(
            ["bash", "-c", f'set -euo pipefail; eval "$({SEAWALL} env)"; {command}'],
            cwd=CHECKOUT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def outputs(self) -> dict[str, Any]:
        return json.loads(self.by_hand("pulumi stack output --json").stdout)

    def ssh(self, name: str, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return self.seawall("ssh", name, "--", *command, timeout=timeout)

    def probe_from(self, name: str, targets: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """From a droplet: ``open``, ``refused`` or ``timeout`` for every address and TCP port."""
        wanted = [list(target) for target in targets]
        script = f"import json; exec({PROBE!r}); print(json.dumps(probe({wanted!r})))"
        answer = self.ssh(name, "python3", "-c", _shell_quoted(script))
        assert answer.returncode == 0, answer.stderr
        return {(address, port): seen for address, port, seen in json.loads(answer.stdout)}


def _shell_quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


PROBE = """
import socket
from concurrent.futures import ThreadPoolExecutor


def look(target):
    address, port = target
    with socket.socket() as s:
        s.settimeout(3)
        try:
            s.connect((address, port))
            return [address, port, "open"]
        except TimeoutError:
            return [address, port, "timeout"]
        except OSError as error:
            return [address, port, "refused" if error.errno == 111 else str(error)]


def probe(targets):
    with ThreadPoolExecutor(40) as pool:
        return list(pool.map(look, targets))
"""


def probe_here(targets: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The same from outside: this machine, which is where the lab's administrators sit."""
    names: dict[str, Any] = {}
    exec(PROBE, names)
    return {(address, port): seen for address, port, seen in names["probe"]([list(t) for t in targets])}


def handshake(address: str, domain: str, authority: Path, version: ssl.TLSVersion) -> str:
    """The TLS version agreed on when only ``version`` is offered; ``ssl.SSLError`` where it is refused."""
    context = ssl.create_default_context(cafile=str(authority))
    context.minimum_version = context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with (
        socket.create_connection((address, 443), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=domain) as tls,
    ):
        return str(tls.version())
