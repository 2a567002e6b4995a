"""The cloud as the rules see it: a few plain values, read from a Pulumi program's resources or from the live API.

A value that nobody can know yet (a preview) or ever (the API doesn't say it) is ``None``: no rule judges it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

S = TypeVar("S", bound="Subject")
WORLD = frozenset({"0.0.0.0/0", "::/0"})
Properties = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """What every resource has. ``urn`` is Pulumi's name of it, empty for one that no stack manages."""

    name: str
    urn: str = ""

    @property
    def kind(self) -> str:
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Port:
    """A protocol and the ports of it from ``first`` to ``last``; ICMP has none, and stands as 0 to 0."""

    protocol: str
    first: int
    last: int

    def __str__(self) -> str:
        if self.protocol == "icmp":
            return "icmp"
        if self.everything:
            return f"every {self.protocol} port"
        span = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{span}/{self.protocol}"

    @property
    def everything(self) -> bool:
        return (self.first, self.last) == (1, 65535)

    def within(self, allowed: Iterable[int]) -> bool:
        return set(range(self.first, self.last + 1)) <= set(allowed)

    @classmethod
    def read(cls, protocol: str, ports: Any) -> Port:
        """``ports`` as the API and the provider write it: ``22``, ``8000-9000``; ``0``, ``all`` or nothing for all."""
        text = str(ports if ports is not None else "").strip().lower()
        if protocol == "icmp":
            return cls(protocol, 0, 0)
        if text in ("", "0", "all", "1-65535", "0-65535"):
            return cls(protocol, 1, 65535)
        first, _, last = text.partition("-")
        return cls(protocol, int(first), int(last or first))


@dataclass(frozen=True)
class Rule:
    """One line of a cloud firewall. ``peers`` are addresses; ``named`` says that it also, or only, names tags, droplets
    or load balancers."""

    direction: str
    port: Port
    peers: frozenset[str]
    named: bool
    allows: bool = True

    @property
    def worldwide(self) -> bool:
        """Open to, or towards, every address: also as two halves, or as anything almost as large."""
        return self.allows and any(_is_world(peer) for peer in self.peers)


def _is_world(address: str) -> bool:
    if address in WORLD:
        return True
    prefix = address.partition("/")[2]
    return prefix.isdigit() and int(prefix) <= (7 if "." in address else 16)


@dataclass(frozen=True)
class Firewall(Subject):
    rules: tuple[Rule, ...] | None = ()
    tags: frozenset[str] = frozenset()
    droplets: frozenset[str] = frozenset()
    attached: bool | None = None


@dataclass(frozen=True)
class Droplet(Subject):
    """``default_network``: in the region's default VPC, which every other droplet of the account shares."""

    id: str = ""
    image: str | None = None
    tags: frozenset[str] | None = frozenset()
    keys: int | None = None
    vpc: str | None = None
    in_vpc: bool | None = None
    backups: bool | None = None
    monitoring: bool | None = None


@dataclass(frozen=True)
class Hardening(Subject):
    """That the droplet ``droplet`` (an id) is hardened, and that its controls passed; None while it is not made yet."""

    droplet: str | None = None


@dataclass(frozen=True)
class Vpc(Subject):
    id: str = ""
    default: bool = False


@dataclass(frozen=True)
class Forwarding:
    entry: str
    port: int
    target: str
    passthrough: bool = False


@dataclass(frozen=True)
class LoadBalancer(Subject):
    forwarding: tuple[Forwarding, ...] = ()
    redirects: bool | None = None
    tls_policy: str | None = None
    keepalive: bool | None = None
    in_vpc: bool | None = None
    by_tag: bool | None = None
    members: bool | None = None
    droplets: tuple[str | None, ...] = ()
    """The members' ids, None for each that is not made yet."""


@dataclass(frozen=True)
class Certificate(Subject):
    type: str = ""
    expires: datetime | None = None


@dataclass(frozen=True)
class Key(Subject):
    public: str | None = None


@dataclass(frozen=True)
class Bucket(Subject):
    acl: str | None = None
    versioned: bool | None = None
    force_destroy: bool | None = None


@dataclass(frozen=True)
class Domain(Subject):
    """``records``: (type, name, data, TTL in seconds)."""

    records: tuple[tuple[str, str, str, int], ...] | None = None


@dataclass(frozen=True)
class Account(Subject):
    email_verified: bool | None = None


@dataclass(frozen=True)
class Flow(Subject):
    """Declared intent, from the stack's outputs."""

    reason: str = ""
    owner: str = ""
    review_by: str = ""
    to: str = ""
    source: str = ""


@dataclass(frozen=True)
class Cloud:
    """Everything there is, or is to be."""

    resources: tuple[Subject, ...] = ()
    at: datetime = field(default_factory=lambda: datetime.now().astimezone())
    audit: bool = False
    """Read from the live account, not from a program."""

    def every(self, kind: type[S]) -> list[S]:
        return [resource for resource in self.resources if isinstance(resource, kind)]
