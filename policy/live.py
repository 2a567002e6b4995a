"""The live account as the rules see it: everything the API lists, whether a stack manages it or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from policy.cloud import (
    Account,
    Certificate,
    Domain,
    Droplet,
    Firewall,
    Forwarding,
    Key,
    LoadBalancer,
    Port,
    Properties,
    Rule,
    Subject,
    Vpc,
)

List = Callable[[str, str], Iterable[Properties]]
"""Lists everything at a path, page by page: (path, the key that holds it)."""


def account(every: List, one: Callable[[str, str], Properties], urns: Mapping[str, str]) -> list[Subject]:
    """All there is. ``urns``: the API's id (a certificate's name, for one) → Pulumi's name of what a stack manages."""
    vpcs = list(every("/v2/vpcs", "vpcs"))
    default = {vpc["id"] for vpc in vpcs if vpc.get("default")}
    urn = lambda it, key="id": urns.get(str(it[key]), "")  # noqa: E731
    found: list[Subject] = [Vpc(it["name"], urn(it), id=it["id"], default=it["id"] in default) for it in vpcs]
    found += [_droplet(it, urn(it), default) for it in every("/v2/droplets", "droplets")]
    found += [_firewall(it, urn(it)) for it in every("/v2/firewalls", "firewalls")]
    found += [_balancer(it, urn(it), default) for it in every("/v2/load_balancers", "load_balancers")]
    found += [
        Certificate(it["name"], urn(it, "name"), type=it.get("type", ""), expires=moment(it.get("not_after")))
        for it in every("/v2/certificates", "certificates")
    ]
    found += [
        Key(it["name"], urn(it), public=it["public_key"]) for it in every("/v2/account/keys", "ssh_keys")
    ]
    for it in every("/v2/domains", "domains"):
        records = every(f"/v2/domains/{it['name']}/records", "domain_records")
        told = tuple((r["type"], r["name"], str(r["data"]), int(r.get("ttl") or 1800)) for r in records)
        found.append(Domain(it["name"], urn(it, "name"), records=told))
    owner = one("/v2/account", "account")
    return [*found, Account(owner.get("email") or "account", email_verified=owner.get("email_verified"))]


def moment(text: Any) -> datetime | None:
    """An ISO 8601 time, if there is one."""
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None


def peers(addresses: Iterable[str]) -> frozenset[str]:
    """Addresses as ranges: a bare one stands for itself alone."""
    return frozenset(
        text if "/" in text else f"{text}/{128 if ':' in text else 32}" for text in addresses if text
    )


def _firewall(it: Properties, urn: str) -> Firewall:
    rules = [_rule("in", each, "sources") for each in it.get("inbound_rules") or []]
    rules += [_rule("out", each, "destinations") for each in it.get("outbound_rules") or []]
    tags, droplets = it.get("tags") or [], it.get("droplet_ids") or []
    return Firewall(
        it["name"],
        urn,
        rules=tuple(rules),
        tags=frozenset(tags),
        droplets=frozenset(map(str, droplets)),
        attached=bool(tags or droplets),
    )


def _rule(direction: str, it: Properties, side: str) -> Rule:
    others = it.get(side) or {}
    return Rule(
        direction,
        Port.read(it["protocol"], it.get("ports")),
        peers(others.get("addresses") or []),
        any(others.get(what) for what in ("tags", "droplet_ids", "load_balancer_uids", "kubernetes_ids")),
        it.get("action", "allow") != "deny",
    )


def _droplet(it: Properties, urn: str, default: set[str]) -> Droplet:
    features = it.get("features") or []
    return Droplet(
        it["name"],
        urn,
        id=str(it["id"]),
        image=(it.get("image") or {}).get("slug") or "",
        tags=frozenset(it.get("tags") or []),
        vpc=it.get("vpc_uuid"),
        in_vpc=bool(it.get("vpc_uuid")) and it.get("vpc_uuid") not in default,
        backups="backups" in features,
        monitoring="monitoring" in features,
    )


def _balancer(it: Properties, urn: str, default: set[str]) -> LoadBalancer:
    return LoadBalancer(
        it["name"],
        urn,
        forwarding=tuple(
            Forwarding(
                each["entry_protocol"],
                int(each["entry_port"]),
                each["target_protocol"],
                bool(each.get("tls_passthrough")),
            )
            for each in it.get("forwarding_rules") or []
        ),
        redirects=bool(it.get("redirect_http_to_https")),
        tls_policy=it.get("tls_cipher_policy") or "DEFAULT",
        keepalive=bool(it.get("enable_backend_keepalive")),
        in_vpc=bool(it.get("vpc_uuid")) and it.get("vpc_uuid") not in default,
        by_tag=bool(it.get("tag")),
        members=bool(it.get("droplet_ids")),
    )
