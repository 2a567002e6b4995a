"""Make namespaces, links, routes and rules be what ``plan`` says. Idempotent; a killed run is finished by the next."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from lab.host import run, succeeds
from lab.instance import Instance
from lab.network import plan

NAMESPACES = Path("/run/netns")
Made = TypeVar("Made")

ROUTING = (
    "net.ipv4.ip_forward=1",
    # A station asks for its neighbours' addresses; the region answers for all of them.
    "net.ipv4.conf.default.proxy_arp=1",
    # Spoofed sources are refused by the rule sets, per link.
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv4.conf.default.send_redirects=0",
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv6.conf.default.disable_ipv6=1",
)


def ensure_core(instance: Instance) -> None:
    """The router, this machine's link to it, and the namespace ``outside``."""
    core, outside = instance.namespace("core"), instance.namespace("outside")
    make_namespace(core, ROUTING, plan.core_rules(instance, ()))
    own = [instance.address(plan.ROUTER), instance.address(plan.MIRROR), *plan.RESOLVERS]
    batch(core, ["link set lo up", *(f"address replace {address}/32 dev lo" for address in own)])
    # Where no one lives, packets vanish: nothing answers for the world, as with a firewall's drop.
    batch(core, ["route replace blackhole default"])
    host = f"sw{instance.tag}"
    if not Path(f"/sys/class/net/{host}").exists() or not has_link(core, "host"):
        succeeds("ip", "link", "delete", host)
        run("ip", "link", "add", host, "type", "veth", "peer", "name", "host", "netns", core,
            why="link itself to the lab")  # fmt: skip
    _end(core, "host", instance, plan.ADMINISTRATOR)
    batch(None, _client(instance, host, plan.ADMINISTRATOR, instance.public_range))
    make_namespace(outside)
    if not has_link(outside, "eth0"):
        succeeds("ip", "-n", core, "link", "delete", "outside")
        run("ip", "link", "add", "outside", "netns", core, "type", "veth", "peer", "name", "eth0", "netns", outside,
            why="make the lab's outside")  # fmt: skip
    _end(core, "outside", instance, plan.OUTSIDE)
    batch(outside, ["link set lo up", *_client(instance, "eth0", plan.OUTSIDE, "default")])


def ensure_region(instance: Instance, region: str) -> None:
    """A region's namespace, closed until its first rule set, and its link to the core."""
    core, here = instance.namespace("core"), instance.namespace(region)
    make_namespace(here, ROUTING, plan.region_rules(region, ()))
    batch(here, ["link set lo up", f"address replace {plan.METADATA}/32 dev lo"])
    if not has_link(here, "core") or not has_link(core, region):
        succeeds("ip", "-n", core, "link", "delete", region)
        run("ip", "link", "add", region, "netns", core, "type", "veth", "peer", "name", "core", "netns", here,
            why=f"link region {region} to the core")  # fmt: skip
    batch(core, [f"link set {region} up", f"address replace {plan.TRANSIT_CORE}/32 dev {region}"])
    batch(
        here,
        [
            "link set core up",
            f"address replace {plan.TRANSIT_REGION}/32 dev core",
            f"route replace default via {plan.TRANSIT_CORE} dev core onlink",
        ],
    )


def batch(namespace: str | None, commands: Iterable[str]) -> None:
    """Run ``ip`` commands in a namespace (None: this machine's own)."""
    text = "".join(f"{command}\n" for command in commands)
    if text:
        where = ["-n", namespace] if namespace else []
        run("ip", *where, "-batch", "-", stdin=text, why=f"set up the network of {namespace or 'the host'}")


def rules(namespace: str, text: str) -> None:
    """Replace a namespace's rule set: all of it or, if nftables refuses any of it, nothing."""
    run(*inside(namespace), "nft", "-f", "-", stdin=text, why=f"set the firewall rules of {namespace}")


def lose(namespace: str, percent: int) -> None:
    """Lose so many of the packets that cross a namespace, at random, from the next one on; 0 loses none."""
    rules(namespace, plan.loss_rules(percent))


def drop_stale_routes(namespace: str, wanted: set[str]) -> None:
    """Remove routes to single stations that are no more."""
    listed = json.loads(
        run("ip", "-j", "-n", namespace, "-4", "route", "show", why=f"read routes of {namespace}")
    )
    stale = [r for r in listed if r.get("gateway") == plan.TRANSIT_REGION and r["dst"] not in wanted]
    batch(namespace, [f"route delete {route['dst']} dev {route['dev']}" for route in stale])


def inside(namespace: str) -> list[str]:
    """Words that run a command in a namespace, without the remount of /sys that `ip netns exec` makes."""
    return ["nsenter", f"--net={NAMESPACES / namespace}"]


def made_in(namespace: str, make: Callable[[], Made]) -> Made:
    """Call ``make`` with the network of a namespace: a socket opened there belongs to it for good.

    Runs in a thread of its own, since a thread's namespace is all it takes with it when it ends.
    """
    results: list[Made] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            descriptor = os.open(NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _setns(descriptor)
            finally:
                os.close(descriptor)
            results.append(make())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def listening(namespace: str, address: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket bound in a namespace: a listening one for TCP, one that just receives for UDP."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(128)
        sock.setblocking(False)
        return sock

    return made_in(namespace, make)


def namespaces(instance: Instance) -> list[str]:
    """The namespaces of an instance that exist."""
    prefix = instance.namespace("")
    return sorted(path.name for path in NAMESPACES.glob(f"{prefix}*")) if NAMESPACES.exists() else []


def remove(instance: Instance) -> None:
    """Take away all namespaces and links of an instance. Nothing may run in them any more."""
    succeeds("ip", "link", "delete", f"sw{instance.tag}")
    for name in namespaces(instance):
        run("ip", "netns", "delete", name, why=f"remove namespace {name}")


def _setns(descriptor: int) -> None:
    import ctypes

    # Python 3.12 has os.setns; 3.11 does not.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000):  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


def make_namespace(namespace: str, settings: Iterable[str] = (), closed: str = "") -> None:
    """Make a namespace with kernel settings that its links will inherit, and with rules before it has any link."""
    if not succeeds(*inside(namespace), "true"):  # a file without a namespace is left by a machine's restart
        (NAMESPACES / namespace).unlink(missing_ok=True)
        run("ip", "netns", "add", namespace, why=f"make namespace {namespace}")
    if settings:
        run(*inside(namespace), "sysctl", "-q", "-w", *settings, why=f"set up namespace {namespace}")
    if closed and not succeeds(*inside(namespace), "nft", "list", "table", "inet", "seawall"):
        rules(namespace, closed)


def has_link(namespace: str, link: str) -> bool:
    return succeeds("ip", "-n", namespace, "link", "show", link)


def _end(core: str, port: str, instance: Instance, host: int) -> None:
    """The core's end of a client's link."""
    batch(
        core,
        [
            f"link set {port} up",
            f"address replace {instance.address(plan.ROUTER)}/32 dev {port}",
            f"route replace {instance.address(host)}/32 dev {port}",
        ],
    )


def _client(instance: Instance, link: str, host: int, destination: str) -> list[str]:
    """A client's own end: its address, and the way to ``destination``."""
    address = instance.address(host)
    return [
        f"link set {link} up",
        f"address replace {address}/32 dev {link}",
        f"route replace {destination} via {instance.address(plan.ROUTER)} dev {link} onlink src {address}",
    ]
