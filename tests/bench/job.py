"""What the main job costs, and a hardening or a verification of one host and of eight."""

from __future__ import annotations

import json
import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.support import Row, timed
from tests.e2e.world import CHECKOUT, World


def ssh_floor(world: World, name: str, times: int = 5) -> float:
    """Median seconds of a bare, cold `ssh host true` with the options the product uses."""
    command = world.by_hand(
        f"python -c 'from seawall import hosts, places; import json, sys, subprocess;"
        f' o = json.loads(subprocess.check_output(["pulumi", "stack", "output", "--json"]));'
        f' print(json.dumps(hosts.ssh_command(hosts.hosts(o)["{name}"], places.places(), ["true"])))\''
    )
    words = json.loads(command.stdout)
    once = lambda: subprocess.run(words, capture_output=True, text=True)  # noqa: E731
    return statistics.median(timed(once)[0] for _ in range(times))


def idle_memory(status: dict) -> float:
    """MiB that the processes of the stack's first droplet hold, by proportional set size."""
    from lab.instance import find
    from lab.machines.machine import Machine

    instance = find(status["instance"])
    assert instance
    processes = Machine(instance, status["machines"][0]).group.processes()
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in processes]
    return sum(int(text.partition("Pss:")[2].split()[0]) for text in rollups if text) / 1024


def create_to_ssh(status: dict, token: Path) -> float:
    """Seconds from asking for a droplet to its sshd's first word. One beside the stack's three, in no firewall."""
    import httpx

    with httpx.Client(
        base_url=status["api"], headers={"Authorization": f"Bearer {token.read_text()}"}
    ) as api:
        wanted = {"name": "bench", "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-12-x64"}
        start = time.monotonic()
        asked = api.post("/v2/droplets", json=wanted)
        asked.raise_for_status()
        path = f"/v2/droplets/{asked.json()['droplet']['id']}"
        networks: list[dict] = []
        while not networks:
            networks = api.get(path).json()["droplet"]["networks"]["v4"]
        address = next(each["ip_address"] for each in networks if each["type"] == "public")
        while not _greets(address):
            if time.monotonic() - start > 60:
                sys.exit(f"the benchmark stops: {address} does not answer ssh within a minute")
        taken = time.monotonic() - start
        api.delete(path)
        while api.get(path).status_code != 404:
            time.sleep(0.5)  # the API's limit is real: 250 requests a minute
    return taken


def _greets(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        time.sleep(0.05)
        return False


def resident(pid: int) -> float:
    """MiB resident of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(pid)


def measure(world: World) -> list[Row]:
    """From nothing, again, then what single steps cost; leaves the lab standing with eight droplets."""
    cold, first = timed(lambda: world.seawall("up", "--json"))
    unchanged, second = timed(lambda: world.seawall("up", "--json"))
    if json.loads(second.stdout)["changed"]:
        sys.exit("the benchmark stops: the second run changed something")
    phases, again = json.loads(first.stdout)["seconds"], json.loads(second.stdout)["seconds"]
    floor = ssh_floor(world, "app-1")
    status = json.loads(world.by_hand("python -m lab status").stdout)
    return [
        Row("one cold `ssh app-1 true` (median of 5): the floor", floor),
        Row("from nothing to verified", cold, limit=180),
        *(Row(f"from nothing: {name}", seconds) for name, seconds in phases.items()),
        Row("unchanged `seawall up`: every host asked", unchanged, limit=45),
        *(Row(f"unchanged: {name}", seconds) for name, seconds in again.items()),
        Row("create → sshd's first word", create_to_ssh(status, world.folder / "token"), limit=10),
        Row("a hardened droplet, idle (proportional set size)", idle_memory(status), unit="MiB", limit=100),
        Row("the API with its daemon", resident(status["pid"]), unit="MiB", limit=150),
        *hosts(world, "app-1"),
        *eight(world),
    ]


def hosts(world: World, *names: str) -> list[Row]:
    """An unchanged hardening run and all controls of some hosts (all without any), as multiples of the floor."""
    limits = (60, 10) if len(names) == 1 else (120, 30)
    what = "one host" if names else "eight hosts"
    one = [word for name in names for word in ("--host", name)]
    plain = "ANSIBLE_PIPELINING=0 ANSIBLE_FORKS=5 ANSIBLE_SSH_ARGS= ansible-playbook playbooks/harden.yml"
    limit = "".join(f" --limit {name}" for name in names)
    return [
        Row(f"hardening {what}, unchanged", timed(lambda: world.seawall("harden", *one))[0], ratio=limits[0]),
        Row(f"the same under ansible's defaults, {what}", timed(lambda: world.by_hand(plain + limit))[0]),
        Row(f"all controls on {what}", timed(lambda: world.seawall("verify", *one))[0], ratio=limits[1]),
    ]


def eight(world: World) -> list[Row]:
    """Five droplets more, made by editing the settings as a user would."""
    settings = CHECKOUT / f"Pulumi.{world.stack}.yaml"
    settings.write_text(re.sub(r"(app: *\{count: *|count: )2\b", r"\g<1>7", settings.read_text(), count=1))
    grown, ended = timed(lambda: world.seawall("up", "--json"))
    if (found := len(json.loads(ended.stdout)["hosts"])) != 8:
        sys.exit(f"the benchmark stops: {found} droplets stand where eight were declared")
    return [Row("five more droplets, hardened and verified", grown), *hosts(world)]


def down(world: World) -> list[Row]:
    return [Row("`seawall down` of eight droplets, proven", timed(lambda: world.seawall("down"))[0])]
