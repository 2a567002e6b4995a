"""A host for the roles' tests: hardened once, reached by ssh, hardened again with other variables.

By default a droplet of a lab of its own (tests/lab/roles_lab.py); with SEAWALL_TEST_INVENTORY (a static
inventory) and SEAWALL_TEST_HOST, a host you have.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
RUN_SECONDS = 840
"""A run takes a minute at most; this is for a machine that does much else besides."""


@dataclass(frozen=True)
class Run:
    """A finished playbook run: whether it failed, and everything it said."""

    failed: bool
    said: str

    def changed(self) -> int:
        """How many tasks changed something on hosts (the controller's own pins are not counted)."""
        recap = re.findall(r"^\S+\s+: ok=\d+\s+changed=(\d+)", self.said, re.M)
        pinned = re.search(r"TASK \[The controller trusts[^\n]*\nchanged:", self.said)
        return sum(map(int, recap)) - (1 if pinned else 0)


@dataclass
class Host:
    """One host of an inventory. ``name`` and ``inventory`` are Ansible's; ``directory`` is its SEAWALL_DIR."""

    name: str
    inventory: Path
    directory: Path
    restart: Callable[[], None] | None = None
    playbook: str = "playbooks/harden.yml"
    tasks: int = 0
    """How many tasks a run has, where that was counted."""
    variables: dict = field(init=False)

    def __post_init__(self) -> None:
        argv = [_bin("ansible-inventory"), "-i", str(self.inventory), "--host", self.name]
        listed = subprocess.run(
            argv, cwd=CHECKOUT, env=self._env(), capture_output=True, text=True, check=True
        )
        self.variables = json.loads(listed.stdout)
        self._master = self.directory / f"{self.name}.master"

    def _env(self) -> dict[str, str]:
        return {**os.environ, "SEAWALL_DIR": str(self.directory), "ANSIBLE_NOCOLOR": "1"}

    def _ssh(self, *options: str) -> list[str]:
        v = self.variables
        argv = ["ssh", "-q", *options, "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
        if key := v.get("ansible_ssh_private_key_file"):
            argv += ["-i", key, "-o", "IdentitiesOnly=yes"]
        argv += [*shlex.split(v.get("ansible_ssh_common_args", "")), "-p", str(v["ansible_port"])]
        return [*argv, "-l", v["ansible_user"], v["ansible_host"]]

    def try_ssh(self, command: str) -> subprocess.CompletedProcess:
        """Run a command over a new connection, whatever becomes of it."""
        argv = [*self._ssh("-o", "ControlPath=none"), command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)

    def ssh(self, command: str) -> str:
        """What a command prints, over a new connection; it has to succeed."""
        done = self.try_ssh(command)
        assert done.returncode == 0, f"{command}: {done.returncode}: {done.stderr or done.stdout}"
        return done.stdout

    def wait_until_in(self, deadline: float) -> float:
        """Wait until a new connection gets in; the seconds it took, at most ``deadline``."""
        began = time.monotonic()
        while self.try_ssh("true").returncode:
            assert time.monotonic() - began < deadline, f"nobody gets in after {deadline} s"
            time.sleep(0.2)
        return time.monotonic() - began

    @contextlib.contextmanager
    def kept_connection(self) -> Iterator[Callable[[str], bool]]:
        """A connection made now and kept, over which commands can be tried although new ones are refused."""
        control = ["-o", f"ControlPath={self._master}"]
        subprocess.run([*self._ssh(*control, "-M", "-f", "-N")], check=True, timeout=30)
        try:
            yield (
                lambda command: (
                    not subprocess.run(
                        [*self._ssh(*control), command], capture_output=True, timeout=30, check=False
                    ).returncode
                )
            )
        finally:
            subprocess.run([*self._ssh(*control, "-O", "exit")], capture_output=True, timeout=30, check=False)

    def start(self, *arguments: str, **variables) -> subprocess.Popen:
        """A hardening run of this host, in a process group of its own."""
        argv = [_bin("ansible-playbook"), "-i", str(self.inventory), self.playbook]
        if "--limit" not in arguments:
            argv += ["--limit", self.name]
        argv += arguments
        if variables:
            argv += ["-e", json.dumps(variables)]
        return subprocess.Popen(
            argv,
            cwd=CHECKOUT,
            env=self._env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def harden(self, *arguments: str, **variables) -> Run:
        """A hardening run, to its end."""
        process = self.start(*arguments, **variables)
        said, _ = process.communicate(timeout=RUN_SECONDS)
        return Run(process.returncode != 0, said)

    def play(self, playbook: Path) -> Run:
        """Another playbook, to its end."""
        argv = [_bin("ansible-playbook"), "-i", str(self.inventory), str(playbook)]
        done = subprocess.run(
            argv,
            cwd=CHECKOUT,
            env=self._env(),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        return Run(done.returncode != 0, done.stdout + done.stderr)


def given_host() -> Host | None:
    """The host that SEAWALL_TEST_INVENTORY and SEAWALL_TEST_HOST name; SEAWALL_TEST_RESTART is a command that
    restarts it."""
    if not (inventory := os.environ.get("SEAWALL_TEST_INVENTORY")):
        return None
    command = os.environ.get("SEAWALL_TEST_RESTART")
    restart = (lambda: subprocess.run(command, shell=True, check=True)) if command else None
    return Host(
        os.environ["SEAWALL_TEST_HOST"], Path(inventory), Path(os.environ["SEAWALL_DIR"]), restart=restart
    )


def eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def _bin(name: str) -> str:
    """A program of the environment the tests run in."""
    return str(Path(sys.executable).with_name(name))
