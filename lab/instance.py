"""One lab on this machine: its names, its folder, its API port and its public addresses.

Several can live side by side (a checkout's lab, a test's): everything a lab makes on the machine carries
its instance's ``tag``, and ports and addresses are given out under one lock and written down.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lab.host import locked, write_whole
from lab.world import BackendError

DATA = Path("/var/lib/seawall-lab")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")

BENCHMARKING = IPv4Network("198.18.0.0/15")
"""RFC 2544's range for benchmarking networks: 512 ranges of /24 that no host on the internet has."""

DOCUMENTATION = (IPv4Network("198.51.100.0/24"), IPv4Network("203.0.113.0/24"))
"""RFC 5737's ranges for documentation, where all of ``BENCHMARKING`` is taken."""

PORTS = range(20000, 30000)
"""Where API ports are taken from: below the kernel's ephemeral range (32768)."""


@dataclass(frozen=True)
class Instance:
    """A lab's identity. Written once to ``instance.json``; the same from then on."""

    name: str
    api_port: int
    public_range: str

    @property
    def tag(self) -> str:
        """Six hex digits that every name this lab gives on the machine carries (interface names allow 15)."""
        return tag(self.name)

    @property
    def data(self) -> Path:
        return DATA / self.name

    @property
    def droplets(self) -> Path:
        """One folder a droplet: disk, root, console log."""
        return self.data / "droplets"

    @property
    def balancers(self) -> Path:
        """One folder a load balancer: haproxy's configuration and certificates (mode 0700)."""
        return self.data / "balancers"

    @property
    def database(self) -> Path:
        return self.data / "api.sqlite"

    @property
    def log(self) -> Path:
        """What the daemon says."""
        return self.data / "daemon.log"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def spaces(self) -> str:
        """Where Spaces' buckets are (S3), on loopback as well."""
        return f"http://127.0.0.2:{self.api_port}"

    def address(self, host: int) -> str:
        """An address of the public range: see ``ROUTER`` and its neighbours in lab/network."""
        return str(IPv4Network(self.public_range)[host])

    def namespace(self, part: str) -> str:
        """The network namespace of ``part``: ``core``, ``outside``, a region, a droplet, a load balancer."""
        return f"seawall-{self.tag}-{part}"


def own_name() -> str:
    """The name of this checkout's instance: ``SEAWALL_INSTANCE``, else from the checkout's path."""
    checkout = str(Path(__file__).resolve().parent.parent)
    return os.environ.get("SEAWALL_INSTANCE") or "lab-" + hashlib.sha256(checkout.encode()).hexdigest()[:6]


def tag(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:6]


def check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise BackendError(
            f"The lab's instance name {name!r} can't be used: it becomes part of folder and namespace names, so it "
            "must be 1 to 31 lower-case letters, digits or hyphens. Set SEAWALL_INSTANCE to such a name."
        )
    return name


def find(name: str) -> Instance | None:
    """The instance of that name, if it was ever made."""
    try:
        return Instance(**json.loads((DATA / check_name(name) / "instance.json").read_text()))
    except FileNotFoundError:
        return None


def everyone() -> list[Instance]:
    """All instances of this machine."""
    if not DATA.exists():
        return []
    return [found for folder in sorted(DATA.iterdir()) if folder.is_dir() and (found := find(folder.name))]


def allocate(name: str) -> Instance:
    """The instance of that name, made if need be: two callers at once never get the same port or range."""
    check_name(name)
    with locked(DATA / ".lock"):
        if found := find(name):
            return found
        others = everyone()
        instance = Instance(
            name=name,
            api_port=_free_port(name, {other.api_port for other in others}),
            public_range=str(
                choose_range(
                    int(tag(name), 16),
                    [*(IPv4Network(other.public_range) for other in others), *_networks_in_use()],
                )
            ),
        )
        instance.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(instance.data / "instance.json", json.dumps(asdict(instance)) + "\n", mode=0o600)
        return instance


def forget(instance: Instance) -> None:
    """Remove the instance's folder. What it holds must have been stopped and unmounted before."""
    with locked(DATA / ".lock"):
        shutil.rmtree(instance.data, ignore_errors=True)


def choose_range(seed: int, taken: Iterable[IPv4Network]) -> IPv4Network:
    """A /24 that overlaps nothing of ``taken``: pure. ``seed`` spreads instances over the candidates."""
    taken = list(taken)
    usual = list(BENCHMARKING.subnets(new_prefix=24))
    start = seed % len(usual)
    for candidate in [*usual[start:], *usual[:start], *DOCUMENTATION]:
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise BackendError(
        f"The lab needs a /24 of public addresses that this machine does not use, and all of {BENCHMARKING} and of "
        "the documentation ranges are routed or taken. Purge a lab that is no longer needed "
        "(`python -m lab list`), or drop one of those routes."
    )


def _free_port(name: str, taken: set[int]) -> int:
    start = int(tag(name), 16) % len(PORTS)
    for port in [*PORTS[start:], *PORTS[:start]]:
        if port in taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BackendError(f"No free port for the lab's API between {PORTS.start} and {PORTS.stop - 1}.")


def _networks_in_use() -> Iterator[IPv4Network]:
    """What this machine's packets already mean: its routes, its resolvers, its package sources.

    The last two matter where they lie behind the default route in a range meant for documentation:
    a lab that took it over would cut the machine off from them.
    """
    routes = subprocess.run(
        ["ip", "-j", "-4", "route", "show", "table", "all"], capture_output=True, text=True, check=True
    )
    for route in json.loads(routes.stdout or "[]"):
        if route["dst"] != "default":
            yield IPv4Network(route["dst"], strict=False)
    for address in [*resolvers(), *_package_sources()]:
        yield IPv4Network(address)


def resolvers() -> list[str]:
    """The machine's own IPv4 name servers, as its resolv.conf names them (a loopback one included)."""
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except FileNotFoundError:
        return []
    found = [line.split()[1] for line in lines if line.startswith("nameserver ") and len(line.split()) > 1]
    return [address for address in found if _is_ipv4(address)]


def _package_sources() -> Iterator[str]:
    from lab.machines.sources import hosts

    for host in hosts():
        try:
            for answer in socket.getaddrinfo(host, 80, socket.AF_INET, socket.SOCK_STREAM):
                yield str(answer[4][0])
        except OSError:
            continue


def _is_ipv4(text: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(text), IPv4Address)
    except ValueError:
        return False
