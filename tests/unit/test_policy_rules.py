"""Every rule with an example it must find and one it must leave alone, the false alarms of the peers among these.

Examples are written as each side has them: provider inputs (camelCase) for a program, API answers for the account.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

import policy.rules  # noqa: F401
from policy import live, program
from policy.cloud import Account, Certificate, Cloud, Domain, Flow, Key, Port, Subject
from policy.rule import POLICIES
from seawall.findings import Waiver, accepted

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FIREWALL, DROPLET = "digitalocean:index/firewall:Firewall", "digitalocean:index/droplet:Droplet"
BALANCER, BUCKET = (
    "digitalocean:index/loadBalancer:LoadBalancer",
    "digitalocean:index/spacesBucket:SpacesBucket",
)


def made(type: str, **inputs: Any) -> Subject:
    found = program.resource(type, "it", "urn:pulumi:lab::seawall::x::it", inputs)
    assert found
    return found


def inbound(**rule: Any) -> Subject:
    return made(FIREWALL, tags=["lab"], inboundRules=[{"protocol": "tcp", "portRange": "443", **rule}])


def outbound(**rule: Any) -> Subject:
    return made(FIREWALL, tags=["lab"], outboundRules=[{"protocol": "tcp", "portRange": "443", **rule}])


def balancer(entry: str = "https", port: int = 443, target: str = "https", **more: Any) -> Subject:
    rule = {"entryProtocol": entry, "entryPort": port, "targetProtocol": target, "targetPort": 443}
    return made(BALANCER, **{"forwardingRules": [rule], "vpcUuid": "v", "dropletIds": [1], **more})


def droplet(**inputs: Any) -> Subject:
    return made(
        DROPLET, **{"image": "debian-12-x64", "tags": ["lab"], "sshKeys": ["k"], "vpcUuid": "v", **inputs}
    )


def hardening(droplet: str | None) -> Subject:
    return made("seawall:index:Hardening", name="app-1", dropletId=droplet)


def domain(*records: tuple[str, str, str, int]) -> Domain:
    return Domain("example.com", records=records)


WALL = made(FIREWALL, tags=["lab"])
PLAIN = ["0.0.0.0/0", "::/0"]

EXAMPLES: dict[str, tuple[list[list[Subject]], list[list[Subject]]]] = {
    # rule: ([each must be found], [each must be left alone])
    "firewall-public-ingress": (
        [
            [inbound(sourceAddresses=PLAIN)],
            [inbound(sourceAddresses=["::/0"])],
            [inbound(sourceAddresses=["0.0.0.0/1", "128.0.0.0/1"])],
            [inbound(sourceAddresses=["0.0.0.0/0"], sourceLoadBalancerUids=["lb"])],
        ],
        [
            [inbound(sourceLoadBalancerUids=["lb"])],
            [inbound(sourceAddresses=["10.0.0.0/8"])],
            [inbound(sourceAddresses=["0.0.0.0/0"], action="deny")],
            [inbound(protocol="icmp", sourceAddresses=PLAIN)],
        ],
    ),
    "firewall-public-administration": (
        [
            [inbound(portRange="22", sourceAddresses=PLAIN)],
            [inbound(portRange="2000-3000", sourceAddresses=PLAIN)],
            [inbound(portRange="all", sourceAddresses=PLAIN)],
            [inbound(portRange="3389", sourceAddresses=["0.0.0.0/0"])],
        ],
        [
            [inbound(portRange="22", sourceAddresses=["198.51.100.7/32"])],
            [inbound(portRange="443", sourceAddresses=PLAIN)],
            [inbound(portRange="22", protocol="udp", sourceAddresses=PLAIN)],
        ],
    ),
    "firewall-public-database": (
        [[inbound(portRange="5432", sourceAddresses=PLAIN)], [inbound(portRange="0", sourceAddresses=PLAIN)]],
        [[inbound(portRange="5432", sourceTags=["app"])], [inbound(portRange="5433", sourceAddresses=PLAIN)]],
    ),
    "firewall-all-ports": (
        [
            [inbound(portRange="1-65535", sourceTags=["app"])],
            [inbound(portRange="0", sourceAddresses=["10.0.0.0/8"])],
        ],
        [
            [inbound(portRange="8000-9000", sourceTags=["app"])],
            [outbound(portRange="0", destinationTags=["app"])],
        ],
    ),
    "firewall-public-egress": (
        [
            [outbound(portRange="1-65535", destinationAddresses=PLAIN)],
            [outbound(portRange="25", destinationAddresses=["0.0.0.0/0"])],
        ],
        [
            [outbound(portRange="443", destinationAddresses=PLAIN)],
            [outbound(protocol="udp", portRange="123", destinationAddresses=PLAIN)],
            [outbound(portRange="25", destinationAddresses=["203.0.113.9"])],
        ],
    ),
    "firewall-attached": (
        [[made(FIREWALL, inboundRules=[])]],
        [[made(FIREWALL, tags=["lab"])], [made(FIREWALL, tags=None)], [made(FIREWALL, dropletIds=[None])]],
    ),
    "droplet-firewall": (
        [[droplet(tags=["other"]), WALL], [droplet(tags=[])]],
        [
            [droplet(), WALL],
            [droplet(tags=[None]), WALL],
            [droplet(id="7", tags=[]), made(FIREWALL, dropletIds=[7])],
        ],
    ),
    "droplet-ssh-key": ([[droplet(sshKeys=[])]], [[droplet()], [droplet(sshKeys=None)]]),
    "droplet-vpc": (
        [[made(DROPLET, image="debian-12-x64")]],
        [[droplet()], [droplet(vpcUuid=None)]],  # asked for, not known before it is there
    ),
    "droplet-image": (
        [[droplet(image="centos-7-x64")]],
        [[droplet(image="debian-13-x64")], [droplet(image=None)]],
    ),
    "droplet-tags": ([[droplet(tags=[])]], [[droplet()], [droplet(tags=[None, None])]]),
    "droplet-backups": ([[droplet()]], [[droplet(backups=True)]]),
    "droplet-monitoring": ([[droplet()]], [[droplet(monitoring=True)]]),
    "loadbalancer-https": (
        [
            [balancer("http", 80, "http")],
            [balancer("http", 8080, "http", redirectHttpToHttps=True)],
            [balancer("tcp")],
        ],
        [
            [balancer("http", 80, "http", redirectHttpToHttps=True)],  # tfsec #1907
            [balancer("http2")],
            [
                made(
                    BALANCER,
                    forwardingRules=[{"entryProtocol": "https", "entryPort": 443, "tlsPassthrough": True}],
                )
            ],
        ],
    ),
    "loadbalancer-redirect": (
        [[balancer("http", 80, "http")]],
        [[balancer("http", 80, "http", redirectHttpToHttps=True)], [balancer()]],
    ),
    "loadbalancer-tls-policy": (
        [[balancer()], [balancer(tlsCipherPolicy="DEFAULT")]],
        [[balancer(tlsCipherPolicy="STRONG")], [balancer("tcp", tlsCipherPolicy="DEFAULT")]],
    ),
    "loadbalancer-backend-tls": ([[balancer(target="http")]], [[balancer()], [balancer(target="http2")]]),
    "loadbalancer-vpc": ([[made(BALANCER, forwardingRules=[])]], [[balancer()], [balancer(vpcUuid=None)]]),
    "loadbalancer-members": (
        [[balancer(dropletIds=[])], [balancer(dropletTag="web")]],
        [[balancer()], [balancer(dropletIds=None)], [balancer(dropletIds=[None])]],
    ),
    "loadbalancer-hardened": (
        [
            [balancer()],
            [balancer(dropletIds=[1.0, 2.0]), hardening("1")],
            [balancer(dropletIds=[None, None]), hardening(None)],
        ],
        [
            [balancer(dropletIds=[1.0]), hardening("1")],
            [balancer(dropletIds=[None, 2.0]), hardening("2"), hardening(None)],
            [balancer(dropletIds=[])],
            # Replaced: the old one is in the program no more.
            [balancer(dropletIds=[None]), hardening(None)],
        ],
    ),
    "loadbalancer-keepalive": ([[balancer()]], [[balancer(enableBackendKeepalive=True)]]),
    "certificate-expiry": (
        [
            [Certificate("c", type="custom", expires=datetime(2026, 6, 20, tzinfo=UTC))],
            [Certificate("c", type="lets_encrypt", expires=datetime(2026, 5, 30, tzinfo=UTC))],
        ],
        [
            [Certificate("c", type="lets_encrypt", expires=datetime(2026, 6, 20, tzinfo=UTC))],
            [Certificate("c", type="custom", expires=None)],
        ],
    ),
    "key-strength": (
        [[Key("k", public="ssh-dss AAAA")], [Key("k", public="ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAgD/")]],
        [[Key("k", public="ssh-ed25519 AAAA")], [Key("k", public=None)]],
    ),
    "bucket-private": ([[made(BUCKET, acl="public-read")]], [[made(BUCKET)], [made(BUCKET, acl="private")]]),
    "bucket-versioned": ([[made(BUCKET)]], [[made(BUCKET, versioning={"enabled": True})]]),
    "bucket-force-destroy": ([[made(BUCKET, forceDestroy=True)]], [[made(BUCKET)]]),
    "domain-spf": ([[domain()]], [[domain(("TXT", "@", '"v=spf1 -all"', 1800))], [Domain("unread")]]),
    "domain-dmarc": ([[domain()]], [[domain(("TXT", "_dmarc", "v=DMARC1; p=reject", 1800))]]),
    "domain-dkim": (
        [[domain(("MX", "@", "mail.example.com.", 1800))]],
        [[domain()], [domain(("MX", "@", "m.", 1800), ("TXT", "s1._domainkey", "v=DKIM1", 1800))]],
    ),
    "domain-ttl": ([[domain(("A", "@", "192.0.2.1", 90_000))]], [[domain(("NS", "@", "ns1.", 172_800))]]),
    "account-email": (
        [[Account("a", email_verified=False)]],
        [[Account("a", email_verified=True)], [Account("a")]],
    ),
    "flow-reason": (
        [[Flow("f", reason=" ", owner="ops")], [Flow("f", reason="why")]],
        [[Flow("f", reason="w", owner="o")]],
    ),
    "flow-review": (
        [[Flow("f", review_by="2026-05-31")]],
        [[Flow("f", review_by="2026-06-01")], [Flow("f")]],
    ),
    "flow-public-tier": (
        [[Flow("f", source="internet", to="app")]],
        [[Flow("f", source="internet", to="loadbalancer")], [Flow("f", source="administrators", to="app")]],
    ),
}


def complaints(rule: str, resources: list[Subject]) -> list[str]:
    return [said for _, said in POLICIES[rule].complaints(Cloud(tuple(resources), at=NOW))]


def test_every_rule_has_examples_of_both_kinds() -> None:
    assert set(EXAMPLES) == set(POLICIES)
    assert all(wrong and right for wrong, right in EXAMPLES.values())


@pytest.mark.parametrize("rule", EXAMPLES)
def test_what_is_wrong_is_found(rule: str) -> None:
    for resources in EXAMPLES[rule][0]:
        assert complaints(rule, resources), resources


@pytest.mark.parametrize("rule", EXAMPLES)
def test_what_is_right_is_left_alone(rule: str) -> None:
    for resources in EXAMPLES[rule][1]:
        assert not complaints(rule, resources), resources


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("22", (22, 22)),
        ("8000-9000", (8000, 9000)),
        ("0", (1, 65535)),
        ("all", (1, 65535)),
        (None, (1, 65535)),
    ],
)
def test_ports_are_read_as_both_sides_write_them(written: Any, read: tuple[int, int]) -> None:
    port = Port.read("tcp", written)
    assert (port.first, port.last) == read


def test_the_account_is_read_with_what_nobody_manages() -> None:
    answers: dict[str, list[dict[str, Any]]] = {
        "vpcs": [
            {"id": "v0", "name": "default-fra1", "default": True},
            {"id": "v1", "name": "lab", "default": False},
        ],
        "droplets": [
            {"id": 1, "name": "app-1", "vpc_uuid": "v1", "tags": ["lab"], "image": {"slug": "debian-12-x64"}},
            {"id": 2, "name": "left", "vpc_uuid": "v0", "tags": [], "image": {}, "features": ["backups"]},
        ],
        "firewalls": [
            {
                "id": "f",
                "name": "lab",
                "tags": ["lab"],
                "inbound_rules": [{"protocol": "tcp", "ports": "0", "sources": {"addresses": ["0.0.0.0/0"]}}],
                "outbound_rules": [],
            }
        ],
        "load_balancers": [],
        "certificates": [],
        "ssh_keys": [],
        "domains": [],
    }
    found = live.account(
        lambda path, key: answers[key],
        lambda path, key: {"email": "a@b.c", "email_verified": True},
        {"1": "urn:1"},
    )
    cloud = Cloud(tuple(found), at=NOW, audit=True)
    wrong = {(rule.id, s.name) for rule in POLICIES.values() for s, _ in rule.complaints(cloud)}
    assert {("droplet-vpc", "left"), ("droplet-firewall", "left"), ("droplet-tags", "left")} <= wrong
    assert {("firewall-public-ingress", "lab"), ("firewall-all-ports", "lab")} <= wrong
    assert not {(rule, name) for rule, name in wrong if name == "app-1"} - {
        ("droplet-backups", "app-1"),
        ("droplet-monitoring", "app-1"),
    }
    assert {s.name: s.urn for s in found if s.kind == "droplet"} == {"app-1": "urn:1", "left": ""}


def test_a_waiver_counts_for_its_time_only() -> None:
    waiver = Waiver.model_validate(
        {
            "control": "droplet-backups",
            "subjects": ["app-*"],
            "approver": "security lead",
            "reason": "app droplets are made anew from code",
            "start": "2026-01-01",
            "expiry": "2026-06-30",
        }
    )
    assert accepted([waiver], "droplet-backups", "app-1", date(2026, 6, 30))
    assert not accepted([waiver], "droplet-backups", "app-1", date(2026, 7, 1))
    assert not accepted([waiver], "droplet-backups", "logs-1", date(2026, 6, 1))
