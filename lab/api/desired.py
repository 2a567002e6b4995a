"""The tables as a ``lab.world.World``: tags, ids and uids resolved to droplets and addresses."""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
from collections import defaultdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lab import world as w

from .catalogue import Catalogue
from .tables import Certificate, Droplet, Firewall, LoadBalancer, NatGateway, ReservedIp, Vpc

ALL_PORTS = (1, 65535)


def world(db: Session, catalogue: Catalogue) -> w.World:
    """All that should exist, as ``db`` has it now. A droplet under destruction stays until its machine is gone."""
    droplets = list(db.scalars(select(Droplet)))
    balancers = list(db.scalars(select(LoadBalancer)))
    members = Members(droplets, balancers)
    reserved = {each.droplet_id: each.ip for each in db.scalars(select(ReservedIp)) if each.droplet_id}
    return w.World(
        vpcs={v.id: w.Vpc(v.id, v.region, v.ip_range) for v in db.scalars(select(Vpc))},
        droplets={d.id: droplet(d, catalogue, reserved.get(d.id)) for d in droplets},
        firewalls={f.id: firewall(f, members) for f in db.scalars(select(Firewall))},
        load_balancers={b.id: load_balancer(b, members) for b in balancers},
        certificates={
            c.id: w.Certificate(c.id, c.name, c.leaf, c.chain, c.private_key)
            for c in db.scalars(select(Certificate))
        },
        nat_gateways={
            g.id: w.NatGateway(g.id, g.region, g.vpc_id, g.public_ipv4)
            for g in db.scalars(select(NatGateway).where(NatGateway.default_gateway))
        },
    )


def digest(value: Any) -> str:
    """A name for one exact state of a world's firewall or load balancer, the same in every process."""
    text = json.dumps(dataclasses.asdict(value), default=sorted, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Members:
    """Who is meant by a tag, an id or a uid."""

    def __init__(self, droplets: list[Droplet], balancers: list[LoadBalancer]):
        self._addresses = {d.id: [each for each in (d.public_ipv4, d.private_ipv4) if each] for d in droplets}
        self._balancers = {b.id: (b.public_ipv4, b.private_ipv4) for b in balancers}
        self._serving = {d.id for d in droplets if not d.destroying}
        self._tagged: dict[str, set[int]] = defaultdict(set)
        for each in droplets:
            for tag in each.tags:
                self._tagged[tag.lower()].add(each.id)

    def droplets(self, ids: list[int], tags: list[str]) -> frozenset[int]:
        """The droplets among ``ids`` or with one of ``tags``."""
        tagged = set().union(*(self._tagged.get(tag.lower(), set()) for tag in tags))
        return frozenset((set(ids) & self._addresses.keys()) | tagged)

    def serving(self, ids: list[int], tags: list[str]) -> frozenset[int]:
        """The same without those on their way out: a load balancer sends them nothing more."""
        return self.droplets(ids, tags) & self._serving

    def addresses(self, end: dict[str, Any]) -> tuple[str, ...]:
        """The CIDRs meant by a rule's ``sources`` or ``destinations``."""
        cidrs = {str(ipaddress.ip_network(address, strict=False)) for address in end.get("addresses", [])}
        for droplet_id in self.droplets(end.get("droplet_ids", []), end.get("tags", [])):
            cidrs |= {f"{address}/32" for address in self._addresses[droplet_id]}
        for uid in end.get("load_balancer_uids", []):
            cidrs |= {f"{address}/32" for address in self._balancers.get(uid, ())}
        return tuple(sorted(cidrs))


def droplet(row: Droplet, catalogue: Catalogue, reserved_ipv4: str | None = None) -> w.Droplet:
    """A droplet with its size spelled out."""
    return w.Droplet(
        id=row.id,
        name=row.name,
        region=row.region,
        image=row.image,
        size=catalogue.sizes[row.size].world(row.disk),
        vpc_id=row.vpc_id,
        public_ipv4=row.public_ipv4,
        private_ipv4=row.private_ipv4,
        powered=row.powered,
        reserved_ipv4=reserved_ipv4,
    )


def firewall(row: Firewall, members: Members) -> w.Firewall:
    """A firewall whose rules name addresses only."""
    return w.Firewall(
        id=row.id,
        droplet_ids=members.droplets(row.droplet_ids, row.tags),
        inbound=tuple(_rule(rule, "sources", members) for rule in row.inbound),
        outbound=tuple(_rule(rule, "destinations", members) for rule in row.outbound),
    )


def _rule(rule: dict[str, Any], end: str, members: Members) -> w.Rule:
    return w.Rule(
        protocol=rule["protocol"],
        ports=None if rule["protocol"] == "icmp" else ports(rule["ports"]),
        addresses=members.addresses(rule[end]),
        action=rule.get("action", "allow"),
    )


def ports(text: str) -> tuple[int, int]:
    """``"22"``, ``"8000-9000"``, or ``"0"`` for all, as an inclusive range."""
    if text == "0":
        return ALL_PORTS
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def load_balancer(row: LoadBalancer, members: Members) -> w.LoadBalancer:
    """A load balancer whose members are droplet ids."""
    settings, health = row.settings, row.settings["health_check"]
    sources = settings["firewall"]
    return w.LoadBalancer(
        id=row.id,
        name=row.name,
        region=row.region,
        vpc_id=row.vpc_id,
        public_ipv4=row.public_ipv4,
        private_ipv4=row.private_ipv4,
        forwarding=tuple(
            w.Forwarding(**{**rule, "certificate_id": rule["certificate_id"] or None})
            for rule in settings["forwarding_rules"]
        ),
        health_check=w.HealthCheck(
            protocol=health["protocol"],
            port=health["port"],
            path=health["path"],
            interval=health["check_interval_seconds"],
            timeout=health["response_timeout_seconds"],
            unhealthy=health["unhealthy_threshold"],
            healthy=health["healthy_threshold"],
        ),
        members=members.serving(settings["droplet_ids"], [settings["tag"]] if settings["tag"] else []),
        tls_cipher_policy=settings["tls_cipher_policy"],
        redirect_http_to_https=settings["redirect_http_to_https"],
        proxy_protocol=settings["enable_proxy_protocol"],
        idle_timeout=settings["http_idle_timeout_seconds"],
        allow=tuple(_cidr(source) for source in sources["allow"]),
        deny=tuple(_cidr(source) for source in sources["deny"]),
    )


def _cidr(source: str) -> str:
    """``ip:192.0.2.1`` or ``cidr:192.0.2.0/24`` as a CIDR."""
    return str(ipaddress.ip_network(source.partition(":")[2], strict=False))
