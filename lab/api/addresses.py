"""Choosing addresses: pure functions of what is taken."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

PRIVATE = [ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]

# The first of an instance's public range are the lab's own: router, package mirror, the administrator's side.
FIRST_PUBLIC = 10
FIRST_PRIVATE = 2  # .1 is the VPC's gateway
DEFAULT_VPCS = ipaddress.IPv4Network("10.100.0.0/14")


class Exhausted(Exception):
    """No address, or no range, is left."""


def free_addresses(network: str, first: int, taken: Iterable[str]) -> Iterator[str]:
    """The addresses of ``network`` from its ``first`` on that are not ``taken``, lowest first, then Exhausted."""
    net, used = ipaddress.IPv4Network(network), set(taken)
    base = int(net.network_address)
    for offset in range(first, net.num_addresses - 1):  # the last one is the broadcast's
        if (address := str(ipaddress.IPv4Address(base + offset))) not in used:
            yield address
    raise Exhausted(f"no address is left in {net}")


def free_range(taken: Iterable[str]) -> str:
    """A /20 for a VPC that named none, clear of every range ``taken``."""
    used = [ipaddress.IPv4Network(text) for text in taken]
    for candidate in DEFAULT_VPCS.subnets(new_prefix=20):
        if not any(candidate.overlaps(other) for other in used):
            return str(candidate)
    raise Exhausted(f"no /20 is left in {DEFAULT_VPCS}")


def vpc_range(text: str) -> ipaddress.IPv4Network:
    """A VPC's range as DigitalOcean takes it. ValueError says why not."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        raise ValueError(f"ip_range: {text!r} is not a network in CIDR notation, e.g. 10.10.0.0/20") from None
    if not any(network.subnet_of(private) for private in PRIVATE):
        raise ValueError(f"ip_range: {text} is not within the private ranges of RFC 1918")
    if not 16 <= network.prefixlen <= 28:
        raise ValueError(f"ip_range: {text} must be between /16 and /28 in size")
    return network
