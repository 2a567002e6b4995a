"""A Pulumi program's resources as the rules see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pulumi_policy.proxy import UnknownValueError

from policy.cloud import (
    Bucket,
    Certificate,
    Domain,
    Droplet,
    Firewall,
    Flow,
    Forwarding,
    Hardening,
    Key,
    LoadBalancer,
    Port,
    Properties,
    Rule,
    Subject,
    Vpc,
)
from policy.live import moment, peers


def resource(type: str, name: str, urn: str, properties: Mapping[str, Any]) -> Subject | None:
    """One resource, or ``None`` where no rule is about its type."""
    read = READERS.get(type)
    return read(_known(properties), name, urn) if read else None


def flows(outputs: Mapping[str, Any]) -> list[Subject]:
    """The flows a stack declares in its outputs."""
    declared: Iterable[Mapping[str, Any]] = _known(outputs).get("flows") or []
    return [
        Flow(
            f"{flow.get('from')} → {flow.get('to')}",
            reason=flow.get("reason") or "",
            owner=flow.get("owner") or "",
            review_by=flow.get("review_by") or flow.get("reviewBy") or "",
            to=flow.get("to") or "",
            source=flow.get("from") or "",
        )
        for flow in declared
    ]


def _known(value: Any) -> Any:
    """The value without what nobody knows before it is created: that is ``None``."""
    if isinstance(value, Mapping):
        return {key: _known(_get(value, key)) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_known(_get(value, index)) for index in range(len(value))]
    return value


def _get(container: Any, key: Any) -> Any:
    try:
        return container[key]
    except UnknownValueError:
        return None


def _firewall(it: Properties, name: str, urn: str) -> Firewall:
    inbound, outbound = it.get("inboundRules", []), it.get("outboundRules", [])
    unknown = inbound is None or outbound is None
    rules = (
        [] if unknown else [_rule("in", each) for each in inbound] + [_rule("out", each) for each in outbound]
    )
    tags, droplets = it.get("tags", []), it.get("dropletIds", [])
    return Firewall(
        name,
        urn,
        rules=None if unknown else tuple(rules),
        tags=frozenset(tag for tag in tags or [] if tag),
        droplets=frozenset(str(droplet) for droplet in droplets or [] if droplet),
        # A list whose members aren't known yet still has them.
        attached=True if tags is None or droplets is None else bool(tags or droplets),
    )


def _rule(direction: str, it: Properties) -> Rule:
    side = "source" if direction == "in" else "destination"
    named = any(
        it.get(f"{side}{what}") for what in ("Tags", "DropletIds", "LoadBalancerUids", "KubernetesIds")
    )
    return Rule(
        direction,
        Port.read(it.get("protocol") or "tcp", it.get("portRange")),
        peers(it.get(f"{side}Addresses") or []),
        named,
        it.get("action", "allow") != "deny",
    )


def _droplet(it: Properties, name: str, urn: str) -> Droplet:
    tags, keys = it.get("tags", []), it.get("sshKeys", [])
    return Droplet(
        name,
        urn,
        id=str(it.get("id") or ""),
        image=it.get("image"),
        tags=None if tags is None or None in tags else frozenset(tags),
        keys=None if keys is None else len(keys),
        vpc=it.get("vpcUuid"),
        # Asked for and not known yet is in one, too.
        in_vpc="vpcUuid" in it,
        backups=bool(it.get("backups")),
        monitoring=bool(it.get("monitoring")),
    )


def _balancer(it: Properties, name: str, urn: str) -> LoadBalancer:
    return LoadBalancer(
        name,
        urn,
        forwarding=tuple(
            Forwarding(
                each.get("entryProtocol") or "",
                int(each.get("entryPort") or 0),
                each.get("targetProtocol") or "",
                bool(each.get("tlsPassthrough")),
            )
            for each in it.get("forwardingRules") or []
        ),
        redirects=bool(it.get("redirectHttpToHttps")),
        tls_policy=it.get("tlsCipherPolicy", "DEFAULT"),
        keepalive=bool(it.get("enableBackendKeepalive")),
        in_vpc="vpcUuid" in it,
        by_tag=bool(it.get("dropletTag")),
        members="dropletTag" in it or it.get("dropletIds", []) is None or bool(it.get("dropletIds", [])),
        droplets=tuple(_id(each) for each in it.get("dropletIds") or []),
    )


def _id(value: Any) -> str | None:
    """The engine hands numbers over as floats."""
    return None if value is None else str(int(value))


READERS: dict[str, Callable[[Properties, str, str], Subject]] = {
    "digitalocean:index/firewall:Firewall": _firewall,
    "digitalocean:index/droplet:Droplet": _droplet,
    "digitalocean:index/loadBalancer:LoadBalancer": _balancer,
    "digitalocean:index/vpc:Vpc": lambda it, name, urn: Vpc(name, urn, id=str(it.get("id") or "")),
    "digitalocean:index/certificate:Certificate": lambda it, name, urn: Certificate(
        name, urn, type=it.get("type") or "", expires=moment(it.get("notAfter"))
    ),
    "digitalocean:index/sshKey:SshKey": lambda it, name, urn: Key(name, urn, public=it.get("publicKey")),
    "digitalocean:index/spacesBucket:SpacesBucket": lambda it, name, urn: Bucket(
        name,
        urn,
        acl=it.get("acl", "private"),
        versioned=bool((it.get("versioning") or {}).get("enabled")),
        force_destroy=bool(it.get("forceDestroy")),
    ),
    "seawall:index:Hardening": lambda it, name, urn: Hardening(name, urn, droplet=_id(it.get("dropletId"))),
    "digitalocean:index/domain:Domain": lambda it, name, urn: Domain(name, urn),
}
"""Pulumi's type → how to read it. A type without a rule needs no line."""
