"""One lab for the whole run: interrupted once on its way up, brought up again, taken down at the end."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.watch import Seen, watching
from tests.e2e.world import CHECKOUT, SEAWALL, World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The tests' own instance, empty at first and empty at the end."""
    folder = CHECKOUT / ".seawall" / "e2e"
    instance = "test-" + hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:6]
    world = World(folder, instance)
    world.seawall("down")
    shutil.rmtree(folder, ignore_errors=True)
    (CHECKOUT / f"Pulumi.{world.stack}.yaml").unlink(missing_ok=True)
    try:
        yield world
    finally:
        world.seawall("down")
        (CHECKOUT / f"Pulumi.{world.stack}.yaml").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def from_outside(world: World) -> Iterator[Seen]:
    """What was seen from before the first droplet until the main job had ended (and `up` closes its eyes)."""
    with ExitStack() as eyes:
        found = eyes.enter_context(watching(world.instance))
        found.close = eyes.close
        yield found


@pytest.fixture(scope="session")
def interrupted(world: World, from_outside: Seen) -> str:
    """`seawall up` and everything it started, killed without warning while the first droplet is being created."""
    log = world.folder / "logs" / "pulumi-up.log"
    process = subprocess.Popen(
        [SEAWALL, "up"],
        cwd=CHECKOUT,
        env=world.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 900
    try:
        while "Droplet" not in _created_so_far(log):
            assert process.poll() is None, f"`seawall up` ended before it made a droplet: {log.read_text()}"
            assert time.monotonic() < deadline, "no droplet was begun within 15 minutes"
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return log.read_text()


def _created_so_far(log: Path) -> str:
    if not log.exists():
        return ""
    return "\n".join(line for line in log.read_text().splitlines() if "creating" in line)


@pytest.fixture(scope="session")
def up(world: World, from_outside: Seen, interrupted: str) -> subprocess.CompletedProcess[str]:
    """The main job, after that kill."""
    ended = world.seawall("up")
    from_outside.close()
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended
