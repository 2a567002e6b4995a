"""The lab as a service: started, killed, started again, cleared away. Through its API, as its users see it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from lab import control, instance
from lab.backend import machines
from lab.host import patiently
from lab.network import balancer
from lab.world import BackendError

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.geteuid() != 0, reason="machines need root"),
]

CHECKOUT = Path(control.__file__).parent.parent


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.touch(mode=0o600)
    path.write_text("dop_v1_" + "ab" * 32)
    return path


@pytest.fixture
def name() -> Iterator[str]:
    mine = f"test-daemon-{os.getpid()}"
    yield mine
    assert control.purge(mine) == []


def test_life_of_a_lab(name: str, token: Path) -> None:
    """One droplet through the API; the daemon, then everything, killed; what is left is picked up; then nothing is."""
    said = subprocess.run(
        [sys.executable, "-m", "lab", "--instance", name, "start", "--token-file", str(token)],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lab = json.loads(said)
    assert set(lab) == {"instance", "api", "public_range", "outside", "pid", "kind", "spaces"}
    mine = instance.find(name)
    assert mine
    cloud = httpx.Client(
        base_url=lab["api"], headers={"Authorization": f"Bearer {token.read_text()}"}, timeout=30
    )
    vpc = cloud.post("/v2/vpcs", json={"name": "v", "region": "fra1", "ip_range": "10.66.0.0/20"}).json()[
        "vpc"
    ]["id"]
    wanted = {
        "name": "one",
        "region": "fra1",
        "size": "s-1vcpu-1gb",
        "image": "debian-12-x64",
        "vpc_uuid": vpc,
    }
    droplet = cloud.post("/v2/droplets", json=wanted).json()["droplet"]["id"]

    def address() -> str | None:
        found = cloud.get(f"/v2/droplets/{droplet}").json()["droplet"]
        public = [each["ip_address"] for each in found["networks"]["v4"] if each["type"] == "public"]
        return public[0] if found["status"] == "active" and public else None

    assert patiently(lambda: address() is not None, 180)
    where = address()
    assert patiently(lambda: _open(str(where), 22), 30)

    assert control.start(name, token)["pid"] == lab["pid"]  # idempotent
    resident = int(Path(f"/proc/{lab['pid']}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident < 150 * 1024**2, resident

    (machine,) = machines(mine)
    before = machine.init()
    os.kill(lab["pid"], signal.SIGKILL)
    assert patiently(lambda: control.status(name)["running"] is False, 10)
    assert _open(str(where), 22), "the droplet lives on without its daemon"
    assert control.start(name, token)["pid"] != lab["pid"]
    assert patiently(lambda: address() is not None, 30)
    assert machine.init() == before, "and was taken over, not booted again"

    os.kill(int(control.status(name)["pid"]), signal.SIGKILL)  # type: ignore[call-overload]
    machine.group.kill()  # as a restart of the machine would
    assert patiently(lambda: not machine.running(), 10)
    control.start(name, token)
    assert patiently(lambda: machine.running() and _open(str(where), 22), 180)

    control.stop(name)
    assert not machine.running()
    assert control.status(name)["running"] is False
    control.start(name, token)
    assert patiently(lambda: _open(str(where), 22), 180)

    words = [sys.executable, "-m", "lab", "--instance", name, "check"]
    left = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert left.returncode == 1
    kinds = {line.split()[0] for line in json.loads(left.stdout)}
    assert {"process", "mount", "loop", "namespace", "link", "control", "folder"} <= kinds
    assert control.purge(name) == []
    assert balancer.existing(mine) == set()


def test_port_in_use_is_named(name: str, token: Path) -> None:
    mine = instance.allocate(name)
    with socket.socket() as other:
        other.bind(("127.0.0.1", mine.api_port))
        other.listen()
        with pytest.raises(
            BackendError, match=rf"127\.0\.0\.1:{mine.api_port}.*another process uses this port"
        ):
            control.start(name, token)


def test_missing_token_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no such file"):
        control.start(name, tmp_path / "none")


def test_instances_allocated_at_once_share_nothing() -> None:
    names = [f"test-many-{os.getpid()}-{number}" for number in range(6)]
    try:
        with ThreadPoolExecutor() as pool:
            made = list(pool.map(instance.allocate, names))
        assert (
            len({each.api_port for each in made}) == len({each.public_range for each in made}) == len(names)
        )
        assert instance.allocate(names[0]) == made[0]
    finally:
        for each in names:
            control.purge(each)


def test_purge_of_what_never_was_leaves_nothing() -> None:
    assert control.purge("test-never-was") == []


@pytest.mark.parametrize("bad", ["", "Upper", "a/b", "..", "x" * 40, "-lead"])
def test_bad_instance_names_are_refused(bad: str) -> None:
    with pytest.raises(BackendError, match="SEAWALL_INSTANCE"):
        instance.check_name(bad)


def _open(address: str, port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((address, port)) == 0
