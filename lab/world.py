"""The lab's world as plain values: what the API has decided should exist.

The API turns its database into a ``World``; a backend makes machines and packets agree with it.
Everything is resolved here: a firewall names addresses and droplet ids, never a tag, so that a
backend needs no look-up and a test can write one by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Vpc:
    """A private network. ``ip_range`` is an RFC 1918 CIDR, unique within the account."""

    id: str
    region: str
    ip_range: str


@dataclass(frozen=True)
class Size:
    """A droplet size: ``memory`` and ``disk`` in MiB and GiB, as DigitalOcean counts them."""

    slug: str
    memory: int
    vcpus: int
    disk: int


@dataclass(frozen=True)
class Droplet:
    """A machine as declared. ``powered`` is what it should be, not what it is."""

    id: int
    name: str
    region: str
    image: str
    size: Size
    vpc_id: str
    public_ipv4: str | None  # None: it has no public interface
    private_ipv4: str
    powered: bool = True
    public_ipv6: str | None = None
    reserved_ipv4: str | None = None


@dataclass(frozen=True)
class Rule:
    """One firewall rule. ``ports`` is inclusive and None for ICMP; ``addresses`` are CIDRs, IPv4 or IPv6."""

    protocol: str  # tcp, udp or icmp
    ports: tuple[int, int] | None
    addresses: tuple[str, ...]
    action: str = "allow"  # allow or deny; deny wins, across firewalls


@dataclass(frozen=True)
class Firewall:
    """A cloud firewall, its tags and load balancers resolved to ids and addresses."""

    id: str
    droplet_ids: frozenset[int]
    inbound: tuple[Rule, ...]
    outbound: tuple[Rule, ...]


@dataclass(frozen=True)
class Certificate:
    """A TLS certificate: PEM texts. ``private_key`` is a secret and stays out of every repr."""

    id: str
    name: str
    leaf: str
    chain: str
    private_key: str = field(repr=False)


@dataclass(frozen=True)
class Forwarding:
    """One forwarding rule of a load balancer (protocols: http, https, http2, http3, tcp, udp)."""

    entry_protocol: str
    entry_port: int
    target_protocol: str
    target_port: int
    certificate_id: str | None = None
    tls_passthrough: bool = False


@dataclass(frozen=True)
class HealthCheck:
    """How members are asked whether they serve. Times in seconds."""

    protocol: str
    port: int
    path: str
    interval: int
    timeout: int
    unhealthy: int
    healthy: int


@dataclass(frozen=True)
class LoadBalancer:
    """A TLS-terminating load balancer. ``members`` are droplet ids, ``allow``/``deny`` CIDRs."""

    id: str
    name: str
    region: str
    vpc_id: str
    public_ipv4: str
    private_ipv4: str
    forwarding: tuple[Forwarding, ...]
    health_check: HealthCheck
    members: frozenset[int]
    tls_cipher_policy: str = "DEFAULT"
    redirect_http_to_https: bool = False
    proxy_protocol: bool = False
    idle_timeout: int = 60
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True)
class NatGateway:
    """The way out for a VPC's droplets without a public interface. They are seen as ``public_ipv4``."""

    id: str
    region: str
    vpc_id: str
    public_ipv4: str


@dataclass(frozen=True)
class World:
    """All that should exist. ``filtered`` droplets are in a firewall; the others accept everything, as in the cloud."""

    vpcs: dict[str, Vpc] = field(default_factory=dict)
    droplets: dict[int, Droplet] = field(default_factory=dict)
    firewalls: dict[str, Firewall] = field(default_factory=dict)
    load_balancers: dict[str, LoadBalancer] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    nat_gateways: dict[str, NatGateway] = field(default_factory=dict)


class BackendError(Exception):
    """The world could not be made so. The message names the subject, what was expected, what was found, what next."""


class Backend(Protocol):
    """What stands behind the API. Every method is idempotent and may be called from any thread."""

    kind: str  # "machines" or "record-only", told by GET /v2/account's team name and `lab status`

    def network(self, world: World) -> None:
        """Make namespaces, links, addresses, firewalls and load balancers be as in ``world``, atomically per region."""

    def boot(self, droplet: Droplet) -> None:
        """Build the root if there is none, start the machine, return once its links are up. Call ``network`` first."""

    def shutdown(self, droplet: Droplet, *, force: bool = False) -> None:
        """Stop the machine: an orderly shutdown, or (``force``) the plug pulled."""

    def reboot(self, droplet: Droplet) -> None:
        """An orderly reboot; the root stays."""

    def destroy(self, droplet_id: int) -> None:
        """Stop the machine and remove its root."""

    def running(self) -> set[int]:
        """The ids of the machines that run now."""

    def close(self) -> None:
        """Let go of what this process holds; machines keep running."""
