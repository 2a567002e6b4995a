"""The cloud's layer: what the code declares of each resource against what the API itself says of it.

The provider does not read everything back (a load balancer's TLS policy; a droplet's image and agent), and a refresh
writes into the state whatever it finds. So both sides are brought here: ``declared`` are the program's own inputs
(``pulumi preview``) or, in a quick look, those of the last update; ``seen`` is the API's answer, whole: what it holds
beyond the fields known here is a difference as well.

What the API answers to nobody stays out: a droplet's keys and user data are looked at on the host.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1

from seawall.drift import normal
from seawall.drift.account import Account, Object, last_action
from seawall.drift.difference import Difference, unasked
from seawall.drift.run import Look
from seawall.findings import Subject

PLACEHOLDER = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What Pulumi writes for a value that it will know only after an update."""

NOBODY = "unknown"


@dataclass(frozen=True)
class Resource:
    """One of Pulumi's: its inputs are what is declared, its outputs what the last update or refresh read."""

    urn: str
    type: str
    id: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str | None:
        return KINDS.get(self.type)

    @property
    def name(self) -> str:
        """What the account calls it."""
        return str(self.inputs.get("name") or self.urn.rpartition("::")[2])


KINDS = {
    "digitalocean:index/vpc:Vpc": "vpc",
    "digitalocean:index/vpcNatGateway:VpcNatGateway": "nat-gateway",
    "digitalocean:index/tag:Tag": "tag",
    "digitalocean:index/sshKey:SshKey": "ssh-key",
    "digitalocean:index/droplet:Droplet": "droplet",
    "digitalocean:index/firewall:Firewall": "firewall",
    "digitalocean:index/certificate:Certificate": "certificate",
    "digitalocean:index/loadBalancer:LoadBalancer": "load-balancer",
    "digitalocean:index/domain:Domain": "domain",
    "digitalocean:index/dnsRecord:DnsRecord": "record",
    "digitalocean:index/volume:Volume": "volume",
    "digitalocean:index/reservedIp:ReservedIp": "reserved-ip",
}

Document = dict[str, Any]
"""Field → normal form; both sides have the same fields."""


def resources(deployment: Mapping[str, Any], preview: Mapping[str, Any] | None = None) -> list[Resource]:
    """What the stack holds; with a ``preview --json --show-sames``, as its program declares it now."""
    found = {
        each["urn"]: Resource(
            each["urn"],
            each["type"],
            str(each.get("id", "")),
            each.get("inputs") or {},
            each.get("outputs") or {},
        )
        for each in deployment.get("resources") or []
        if each["type"] in KINDS and not each.get("delete")
    }
    if preview is None:
        return list(found.values())
    declared = []
    for step in preview.get("steps") or []:
        new = step.get("newState") or {}
        if new.get("type") not in KINDS:
            continue
        known = found.get(step["urn"])
        declared.append(
            Resource(
                step["urn"],
                new["type"],
                known.id if known else "",
                {**(new.get("inputs") or {})},
                known.outputs if known else {},
            )
        )
    return list({each.urn: each for each in declared}.values())


def look(looking: Look) -> list[Difference]:
    """What of the declared cloud differs from the account."""
    from seawall.drift import shared

    declared = shared.declared(looking)
    found = compare(declared, shared.account(looking), last_action(looking.session.environment))
    if why := shared.unheard(looking):
        subject = Subject(kind="program", name=looking.session.stack.name)
        found.append(
            unasked(
                "cloud",
                subject,
                why,
                "Put that right. Until then the last update's word counts, not the code's.",
            )
        )
    return found + dropped(shared.stated(looking), declared)


def dropped(stated: Iterable[Resource], declared: Iterable[Resource]) -> list[Difference]:
    """What the stack still holds and the code no longer declares."""
    wanted = {each.urn for each in declared}
    return [
        Difference(
            layer="cloud",
            subject=Subject(kind=str(each.kind), name=each.name, urn=each.urn),
            what="existence",
            expected="not there: the code no longer declares it",
            seen=f"there, id {each.id}",
            requirements=("pci-1.2.8",),
            remedy="`seawall up` removes it; or put it back into the code.",
        )
        for each in stated
        if each.urn not in wanted
    ]


def compare(
    declared: Iterable[Resource], account: Account, acted: Callable[[str], str] = lambda droplet: ""
) -> list[Difference]:
    """What differs. Pure but for ``acted``, which is asked about droplets that differ only."""
    declared = list(declared)
    found = []
    for kind in sorted({each.kind for each in declared if each.kind} & account.unasked.keys()):
        found.append(
            Difference(
                layer="cloud",
                status="unknown",
                subject=Subject(kind=kind, name="all"),
                what="could not be listed",
                expected="the API lists them",
                seen=account.unasked[kind],
                requirements=("pci-12.5.1",),
                remedy="Give the token the scope to read them (docs/drift.md lists the scopes), or try again.",
            )
        )
    for resource in declared:
        if resource.kind in NOUNS and resource.kind not in account.unasked:
            found += _differences(resource, declared, account, acted)
    return found


def _differences(
    resource: Resource, declared: list[Resource], account: Account, acted: Callable[[str], str]
) -> list[Difference]:
    assert resource.kind
    noun = NOUNS[resource.kind]

    def difference(what: str, expected: str, seen: str, remedy: str) -> Difference:
        when = acted(resource.id) if resource.kind == "droplet" and resource.id else ""
        return Difference(
            layer="cloud",
            status="differs",
            subject=Subject(kind=str(resource.kind), name=resource.name, urn=resource.urn),
            what=what,
            expected=expected,
            seen=seen,
            who=f"{NOBODY} (last action on it: {when})" if when else NOBODY,
            requirements=noun.requirements_of(what),
            remedy=remedy,
            fix=offered(str(resource.kind), what, expected, seen),
        )

    live = account.find(resource.kind, _identity(resource)) if resource.id else None
    if live is None:
        others = [each for each in account.named(resource.kind, resource.name) if resource.kind != "tag"]
        if others and resource.id:
            made = others[0].get("created_at", "an unknown time")
            return [
                difference(
                    "identity",
                    f"id {_identity(resource)}",
                    f"another of that name, id {others[0]['id']}, made at {made}",
                    "Somebody deleted it and made another. Look at what that one is; delete it, then "
                    "`pulumi refresh --yes` and `seawall up` make the declared one.",
                )
            ]
        if not resource.id:
            return [
                difference(
                    "existence", "there", "declared, and never made", "`seawall up` makes what was declared."
                )
            ]
        return [
            difference(
                "existence",
                f"there, id {_identity(resource)}",
                "gone from the account",
                "`pulumi refresh --yes` forgets it, `seawall up` makes it again as declared.",
            )
        ]
    context = Context(account, declared)
    wanted, seen = noun.declared(resource, context), noun.seen(live, context)
    found = []
    for what in wanted:
        if wanted[what] is not None and wanted[what] != seen.get(what):
            expected, there = _told(wanted[what], seen.get(what))
            found.append(difference(what, expected, there, noun.remedy_of(what)))
    for what, value in normal.unknown(live, noun.known).items():
        found.append(
            difference(
                what,
                "not set",
                value,
                "Nothing that was declared sets this field. Put it back where it was set; if DigitalOcean itself "
                "answers it now, tell the maintainers.",
            )
        )
    return found


def _identity(resource: Resource) -> str:
    """Pulumi's id of a certificate is its name (its own id changes when Let's Encrypt renews it)."""
    if resource.type.endswith(":Certificate"):
        return str(resource.outputs.get("uuid") or resource.id)
    return resource.id


def _told(wanted: Any, seen: Any) -> tuple[str, str]:
    """Both sides as text; of two sets, what only one of them has."""
    if isinstance(wanted, frozenset) and isinstance(seen, frozenset):
        missing, more = sorted(wanted - seen), sorted(seen - wanted)
        return (
            "; ".join(missing) or "nothing more than declared",
            "; ".join([*more, *(f"without {each}" for each in missing)]),
        )
    return _value(wanted), _value(seen)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, frozenset):
        return "; ".join(sorted(value)) or "none"
    return "nothing" if value in (None, "") else str(value)


# --- Each noun: its declared and its seen side --------------------------------------------------------------


@dataclass(frozen=True)
class Context:
    """What names stand for."""

    account: Account
    declared: list[Resource]

    @property
    def certificates(self) -> dict[str, str]:
        """Id → name."""
        return {str(each["id"]): str(each["name"]) for each in self.account.of("certificate")}

    @property
    def rules_carry_actions(self) -> bool:
        """Whether the API answers ``action`` with every rule there is, which makes ``allow`` its default."""
        rules = [
            rule
            for wall in self.account.of("firewall")
            for direction in ("inbound_rules", "outbound_rules")
            for rule in wall.get(direction) or ()
        ]
        return all("action" in rule for rule in rules)


@dataclass(frozen=True)
class Noun:
    """How one kind is compared. ``known`` are the fields of its answer that are compared or computed."""

    declared: Callable[[Resource, Context], Document]
    seen: Callable[[Object, Context], Document]
    known: frozenset[str]
    requirements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By what differs; ``""`` for the rest."""
    unread: frozenset[str] = frozenset()
    """What the provider doesn't read back: a refresh never mends it."""

    def requirements_of(self, what: str) -> tuple[str, ...]:
        return self.requirements.get(what, self.requirements.get("", ()))

    def remedy_of(self, what: str) -> str:
        if what == "status":
            return "Find out why; then `seawall drift --fix`, or the control panel, brings it back up."
        if what in self.unread:
            return (
                "Pulumi does not see this field: set it back in the control panel, or let `seawall drift --fix` where "
                "it offers to. `seawall up` alone changes nothing here."
            )
        return "`pulumi refresh --yes` reads what is there, then `seawall up` puts the declared state back."


def _get(resource: Resource, name: str, default: Any) -> Any:
    """A declared input, or the API's default. None where only an update will tell."""
    value = resource.inputs.get(name)
    if isinstance(value, str) and PLACEHOLDER in value:
        return None
    return default if value is None else value


def _text(resource: Resource, name: str, default: str) -> str | None:
    """A declared text; None where there is none, or only an update will tell."""
    value = _get(resource, name, default)
    return None if value in (None, "") else str(value)


def _each(
    resource: Resource, name: str, default: list, form: Callable[[Iterable[Any]], frozenset[str]]
) -> frozenset[str] | None:
    """A declared list in its normal form; None where only an update will tell."""
    value = _get(resource, name, default)
    return None if value is None or PLACEHOLDER in map(str, value) else form(value)


def _droplet(resource: Resource, context: Context) -> Document:
    agent = resource.inputs.get("dropletAgent")
    return {
        "name": resource.name,
        "status": "active",
        "lock": False,
        "region": _text(resource, "region", ""),
        "image": _text(resource, "image", ""),
        "size": _text(resource, "size", ""),
        "tags": _each(resource, "tags", [], normal.lower),
        "VPC": _text(resource, "vpcUuid", resource.outputs.get("vpcUuid") or ""),
        "monitoring": _get(resource, "monitoring", False),
        "backups": _get(resource, "backups", False),
        "IPv6": _get(resource, "ipv6", False),
        "agent": None if agent is None else bool(agent),
        "volumes": _each(resource, "volumeIds", [], normal.texts),
        "snapshots": normal.texts(()),
        "addresses": normal.texts(
            filter(None, (resource.outputs.get("ipv4Address"), resource.outputs.get("ipv4AddressPrivate")))
        )
        or None,
    }


def _live_droplet(live: Object, context: Context) -> Document:
    features, image = set(live.get("features") or ()), live.get("image") or {}
    return {
        "name": live.get("name"),
        "status": live.get("status"),
        "lock": bool(live.get("locked")),
        "region": (live.get("region") or {}).get("slug"),
        "image": str(image.get("slug") or image.get("id") or ""),
        "size": live.get("size_slug"),
        "tags": normal.lower(live.get("tags")),
        "VPC": live.get("vpc_uuid"),
        "monitoring": "monitoring" in features,
        "backups": "backups" in features or bool(live.get("next_backup_window")),
        "IPv6": "ipv6" in features or bool((live.get("networks") or {}).get("v6")),
        "agent": "droplet_agent" in features,
        "volumes": normal.texts(live.get("volume_ids")),
        "snapshots": normal.texts(live.get("snapshot_ids")),
        "addresses": normal.texts(
            each["ip_address"] for each in (live.get("networks") or {}).get("v4") or ()
        ),
    }


ENDS = {"Addresses": "addresses", "Tags": "tags", "DropletIds": "droplet_ids",
        "LoadBalancerUids": "load_balancer_uids", "KubernetesIds": "kubernetes_ids"}  # fmt: skip


def as_api_rule(rule: Mapping[str, Any], end: str, word: str) -> dict[str, Any]:
    """A rule of Pulumi's inputs as the API writes it. What the provider may come to know is kept."""
    known = {f"{word}{name}": api for name, api in ENDS.items()}
    others = {name: value for name, value in rule.items() if name not in known and name not in
              ("protocol", "portRange", "__defaults")}  # fmt: skip
    return {
        "protocol": rule.get("protocol"),
        "ports": rule.get("portRange") or "0",
        end: {api: rule[name] for name, api in known.items() if rule.get(name)},
        **others,
    }


def _firewall(resource: Resource, context: Context) -> Document:
    inbound, outbound = (_get(resource, name, []) or [] for name in ("inboundRules", "outboundRules"))
    waiting = PLACEHOLDER in json.dumps([inbound, outbound], default=str)
    return {
        "name": resource.name,
        "inbound rules": None
        if waiting
        else normal.firewall_rules([as_api_rule(rule, "sources", "source") for rule in inbound], "in"),
        "outbound rules": None
        if waiting
        else normal.firewall_rules(
            [as_api_rule(rule, "destinations", "destination") for rule in outbound], "out"
        ),
        "tags": _each(resource, "tags", [], normal.lower),
        "droplets": _each(resource, "dropletIds", [], normal.texts),
        "pending changes": normal.texts(()),
    }


def _live_firewall(live: Object, context: Context) -> Document:
    uniform = context.rules_carry_actions

    def rules(name: str, direction: str) -> frozenset[str]:
        return normal.firewall_rules(
            [
                {
                    field: value
                    for field, value in rule.items()
                    if not (uniform and field == "action" and value == "allow")
                }
                for rule in live.get(name) or ()
            ],
            direction,
        )

    return {
        "name": live.get("name"),
        "inbound rules": rules("inbound_rules", "in"),
        "outbound rules": rules("outbound_rules", "out"),
        "tags": normal.lower(live.get("tags")),
        "droplets": normal.texts(live.get("droplet_ids")),
        "pending changes": normal.texts(
            f"droplet {each.get('droplet_id')} ({each.get('status')})"
            for each in live.get("pending_changes") or ()
        ),
    }


BALANCER = {
    # what → (Pulumi's input, the API's field, DigitalOcean's default)
    "TLS cipher policy": ("tlsCipherPolicy", "tls_cipher_policy", "DEFAULT"),
    "redirect of HTTP to HTTPS": ("redirectHttpToHttps", "redirect_http_to_https", False),
    "proxy protocol": ("enableProxyProtocol", "enable_proxy_protocol", False),
    "backend keepalive": ("enableBackendKeepalive", "enable_backend_keepalive", False),
    "DNS records off": ("disableLetsEncryptDnsRecords", "disable_lets_encrypt_dns_records", False),
    "idle time-out": ("httpIdleTimeoutSeconds", "http_idle_timeout_seconds", 60),
    "size": ("sizeUnit", "size_unit", 1),
    "network": ("network", "network", "EXTERNAL"),
    "network stack": ("networkStack", "network_stack", "IPV4"),
    "type": ("type", "type", "REGIONAL"),
    "members' tag": ("dropletTag", "tag", ""),
}
HEALTH = {
    "protocol": "protocol",
    "port": "port",
    "path": "path",
    "checkIntervalSeconds": "check_interval_seconds",
    "responseTimeoutSeconds": "response_timeout_seconds",
    "unhealthyThreshold": "unhealthy_threshold",
    "healthyThreshold": "healthy_threshold",
}
FORWARDING = {
    "entryProtocol": "entry_protocol",
    "entryPort": "entry_port",
    "targetProtocol": "target_protocol",
    "targetPort": "target_port",
    "tlsPassthrough": "tls_passthrough",
}


def _balancer(resource: Resource, context: Context) -> Document:
    given = resource.inputs
    walls, sticky = given.get("firewall") or {}, given.get("stickySessions") or {}
    # What is not declared stands as DigitalOcean chose it when it was made.
    health = given.get("healthcheck") or resource.outputs.get("healthcheck")
    rules = [
        {
            **{api: rule[name] for name, api in FORWARDING.items() if name in rule},
            "certificate_id": rule.get("certificateName") or rule.get("certificateId") or "",
        }
        for rule in _get(resource, "forwardingRules", [])
    ]
    tagged = bool(given.get("dropletTag"))
    return {
        "name": resource.name,
        "status": "active",
        "region": _text(resource, "region", ""),
        "VPC": _text(resource, "vpcUuid", resource.outputs.get("vpcUuid") or ""),
        "address": str(resource.outputs.get("ip") or "") or None,
        "forwarding rules": normal.forwarding_rules(rules, context.certificates)
        if PLACEHOLDER not in json.dumps(rules, default=str)
        else None,
        "members": None if tagged else _each(resource, "dropletIds", [], normal.texts),
        "health check": _health({api: health.get(name) for name, api in HEALTH.items()}) if health else None,
        "sticky sessions": str(sticky.get("type") or "none"),
        "allowed sources": normal.sources(walls.get("allows")),
        "denied sources": normal.sources(walls.get("denies")),
        **{what: _get(resource, name, default) for what, (name, _, default) in BALANCER.items()},
    }


def _live_balancer(live: Object, context: Context) -> Document:
    walls = live.get("firewall") or {}
    return {
        "name": live.get("name"),
        "status": live.get("status"),
        "region": (live.get("region") or {}).get("slug"),
        "VPC": live.get("vpc_uuid"),
        "address": live.get("ip"),
        "forwarding rules": normal.forwarding_rules(live.get("forwarding_rules") or (), context.certificates),
        "members": normal.texts(live.get("droplet_ids")),
        "health check": _health(live.get("health_check") or {}),
        "sticky sessions": str((live.get("sticky_sessions") or {}).get("type") or "none"),
        "allowed sources": normal.sources(walls.get("allow")),
        "denied sources": normal.sources(walls.get("deny")),
        **{
            what: default if live.get(api) is None else live[api]
            for what, (_, api, default) in BALANCER.items()
        },
    }


def _health(check: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {check[name]}" for name in HEALTH.values() if check.get(name) not in (None, ""))


def _certificate(resource: Resource, context: Context) -> Document:
    ours = resource.inputs.get("type", "custom") == "custom"
    return {
        "name": resource.name,
        "state": "verified",
        "type": str(resource.inputs.get("type") or "custom"),
        "names": None if ours else normal.lower(resource.inputs.get("domains")),
        "SHA-1 fingerprint": _sha1(str(resource.inputs.get("leafCertificate") or "")) if ours else None,
    }


def _live_certificate(live: Object, context: Context) -> Document:
    return {
        "name": live.get("name"),
        "state": live.get("state"),
        "type": live.get("type"),
        "names": normal.lower(live.get("dns_names")),
        "SHA-1 fingerprint": str(live.get("sha1_fingerprint", "")).replace(":", "").lower(),
    }


def _sha1(pem: str) -> str | None:
    """The name by which DigitalOcean knows a certificate (a name, not a proof)."""
    try:
        return x509.load_pem_x509_certificate(pem.encode()).fingerprint(SHA1()).hex()  # noqa: S303
    except ValueError:
        return None  # the state of an older provider holds a digest only


def _vpc(resource: Resource, context: Context) -> Document:
    return {
        "name": resource.name,
        "range": _get(resource, "ipRange", resource.outputs.get("ipRange")),
        "region": _get(resource, "region", None),
        "description": str(resource.inputs.get("description") or ""),
        "default of its region": False,
    }


def _live_vpc(live: Object, context: Context) -> Document:
    return {
        "name": live.get("name"),
        "range": live.get("ip_range"),
        "region": live.get("region"),
        "description": live.get("description") or "",
        "default of its region": bool(live.get("default")),
    }


def _key(resource: Resource, context: Context) -> Document:
    key = normal.public_key(str(resource.inputs.get("publicKey") or ""))
    return {"name": resource.name, "public key": key, "fingerprint": fingerprint(key)}


def _live_key(live: Object, context: Context) -> Document:
    key = normal.public_key(str(live.get("public_key") or ""))
    return {"name": live.get("name"), "public key": key, "fingerprint": live.get("fingerprint")}


def fingerprint(key: str) -> str | None:
    """The MD5 fingerprint by which DigitalOcean names keys; None for what is none."""
    try:
        digest = hashlib.md5(b64decode(key.split()[1]), usedforsecurity=False).hexdigest()
    except (IndexError, ValueError, NotBase64):
        return None
    return ":".join(digest[start : start + 2] for start in range(0, 32, 2))


NOUNS = {
    "droplet": Noun(
        _droplet,
        _live_droplet,
        frozenset(
            [
                "id",
                "name",
                "memory",
                "vcpus",
                "disk",
                "disk_info",
                "locked",
                "status",
                "kernel",
                "created_at",
                "features",
                "backup_ids",
                "next_backup_window",
                "snapshot_ids",
                "image",
                "volume_ids",
                "size",
                "size_slug",
                "networks",
                "region",
                "tags",
                "vpc_uuid",
                "gpu_info",
            ]
        ),
        {
            "": ("pci-1.2.8", "pci-12.5.1"),
            "tags": ("pci-1.2.8", "pci-1.4.1"),
            "agent": ("pci-2.2.4",),
            "image": ("pci-2.2.1",),
            "VPC": ("pci-1.4.1",),
        },
        unread=frozenset({"image", "agent", "lock", "snapshots"}),
    ),
    "firewall": Noun(
        _firewall,
        _live_firewall,
        frozenset(
            [
                "id",
                "name",
                "status",
                "created_at",
                "pending_changes",
                "inbound_rules",
                "outbound_rules",
                "droplet_ids",
                "tags",
                "message",
            ]
        ),
        {
            "": ("pci-1.2.8", "pci-1.2.1"),
            "inbound rules": ("pci-1.2.8", "pci-1.3.1"),
            "outbound rules": ("pci-1.2.8", "pci-1.3.2"),
            "tags": ("pci-1.2.8", "pci-1.4.1"),
        },
    ),
    "load-balancer": Noun(
        _balancer,
        _live_balancer,
        frozenset(
            [
                "id",
                "name",
                "ip",
                "ipv6",
                "size",
                "size_unit",
                "algorithm",
                "status",
                "created_at",
                "region",
                "vpc_uuid",
                "project_id",
                "droplet_ids",
                "tag",
                "message",
                "forwarding_rules",
                "health_check",
                "sticky_sessions",
                "firewall",
            ]
        )
        | {api for _, api, _ in BALANCER.values()},
        {
            "": ("pci-1.2.8",),
            "TLS cipher policy": ("pci-4.2.1", "pci-2.2.7"),
            "redirect of HTTP to HTTPS": ("pci-4.2.1",),
            "forwarding rules": ("pci-4.2.1", "pci-1.2.8"),
            "allowed sources": ("pci-1.3.1",),
            "denied sources": ("pci-1.3.1",),
        },
        unread=frozenset({"TLS cipher policy", "network"}),
    ),
    "certificate": Noun(
        _certificate,
        _live_certificate,
        frozenset(
            ["id", "name", "not_after", "sha1_fingerprint", "created_at", "dns_names", "state", "type"]
        ),
        {"": ("pci-4.2.1.1", "pci-4.2.1")},
    ),
    "vpc": Noun(
        _vpc,
        _live_vpc,
        frozenset(["id", "urn", "name", "description", "region", "ip_range", "default", "created_at"]),
        {"": ("pci-1.2.8", "pci-1.4.1")},
    ),
    "ssh-key": Noun(
        _key,
        _live_key,
        frozenset(["id", "fingerprint", "public_key", "name"]),
        {"": ("pci-8.2.1", "pci-8.2.4")},
    ),
    "tag": Noun(
        lambda resource, context: {},
        lambda live, context: {},
        frozenset({"name", "resources"}),
        {"": ("pci-1.2.8", "pci-1.4.1")},
    ),
}


# --- What `--fix` may put right (``cloud_fix``) --------------------------------------------------------------

FIREWALL_FIX = frozenset({"name", "inbound rules", "outbound rules", "tags", "droplets"})
LOAD_BALANCER_FIX = (frozenset(BALANCER) - {"network", "network stack", "type", "members' tag"}) | {
    "name", "forwarding rules", "members", "health check", "allowed sources", "denied sources",
}  # fmt: skip


def offered(kind: str, what: str, expected: str, seen: str) -> str:
    """What `--fix` would do about a difference; empty where a person has to."""
    if kind == "firewall" and what in FIREWALL_FIX:
        return "writes the declared firewall back, whole"
    if kind == "load-balancer" and what in LOAD_BALANCER_FIX:
        return "writes the declared load balancer back, whole"
    if kind == "droplet" and what == "tags":
        return "puts the declared tags back, and takes off what is not declared"
    if kind == "droplet" and what == "status" and seen == "off":
        return "powers the droplet on"
    return ""
