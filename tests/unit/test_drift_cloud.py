"""Declared against the account: what differs is told with the right subject, and what says the same never is."""

from __future__ import annotations

import copy
import json
import random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.drift import cloud, cloud_fix, normal, shared
from seawall.drift.account import Account
from seawall.drift.cloud import Resource, compare, resources
from seawall.drift.run import Look
from seawall.environment import Stack
from seawall.problem import Problem

VPC, LB, WALL, CERT = "v-1", "lb-1", "fw-1", "cert-1"


def resource(kind: str, name: str, identity: str, inputs: dict, outputs: dict | None = None) -> Resource:
    types = {"droplet": "droplet:Droplet", "firewall": "firewall:Firewall", "tag": "tag:Tag", "vpc": "vpc:Vpc",
             "load-balancer": "loadBalancer:LoadBalancer", "ssh-key": "sshKey:SshKey",
             "certificate": "certificate:Certificate"}  # fmt: skip
    return Resource(
        f"urn:pulumi:x::seawall::{types[kind]}::{name}",
        f"digitalocean:index/{types[kind]}",
        identity,
        inputs,
        outputs or {},
    )


DECLARED = [
    resource("droplet", "app-1", "1", {
        "name": "app-1", "image": "debian-12-x64", "region": "fra1", "size": "s-1vcpu-1gb", "dropletAgent": False,
        "tags": ["net", "net-app"], "vpcUuid": VPC,
    }, {"ipv4Address": "203.0.113.9", "ipv4AddressPrivate": "10.20.0.2"}),
    resource("firewall", "app", WALL, {
        "name": "net-app", "tags": ["net-app"],
        "inboundRules": [{"protocol": "tcp", "portRange": "2222", "sourceAddresses": ["198.51.100.7/32"]}],
        "outboundRules": [{"protocol": "icmp", "destinationAddresses": ["0.0.0.0/0", "::/0"]},
                          {"protocol": "udp", "portRange": "1-65535", "destinationTags": ["net"]}],
    }),
    resource("load-balancer", "loadbalancer", LB, {
        "name": "net", "region": "fra1", "vpcUuid": VPC, "dropletIds": [1], "tlsCipherPolicy": "STRONG",
        "redirectHttpToHttps": True,
        "forwardingRules": [{"entryProtocol": "https", "entryPort": 443, "targetProtocol": "https",
                             "targetPort": 443, "certificateName": "site"}],
    }),
    resource("vpc", "vpc", VPC, {"name": "net", "region": "fra1", "ipRange": "10.20.0.0/20"}),
    resource("tag", "app", "net-app", {"name": "net-app"}),
]  # fmt: skip

LIVE = {
    "droplet": [{
        "id": 1, "name": "app-1", "status": "active", "locked": False, "features": ["private_networking"],
        "image": {"id": 5, "slug": "debian-12-x64"}, "region": {"slug": "fra1"}, "size_slug": "s-1vcpu-1gb",
        "tags": ["net-app", "net"], "vpc_uuid": VPC, "volume_ids": [], "snapshot_ids": [], "created_at": "2026-01-01",
        "networks": {"v4": [{"ip_address": "10.20.0.2"}, {"ip_address": "203.0.113.9"}], "v6": []},
        "next_backup_window": None, "kernel": None,
    }],
    "firewall": [{
        "id": WALL, "name": "net-app", "status": "succeeded", "pending_changes": [], "tags": ["net-app"],
        "droplet_ids": [],
        "inbound_rules": [{"protocol": "tcp", "ports": "2222", "sources": {"addresses": ["198.51.100.7"]}}],
        "outbound_rules": [{"protocol": "udp", "ports": "0", "destinations": {"tags": ["NET"]}},
                           {"protocol": "icmp", "ports": "0", "destinations": {"addresses": ["::/0", "0.0.0.0/0"]}}],
    }],
    "load-balancer": [{
        "id": LB, "name": "net", "ip": "203.0.113.1", "status": "active", "region": {"slug": "fra1"},
        "vpc_uuid": VPC, "project_id": "p-9", "droplet_ids": [1], "tag": "", "tls_cipher_policy": "STRONG",
        "redirect_http_to_https": True, "enable_proxy_protocol": False, "http_idle_timeout_seconds": 60,
        "size_unit": 1, "size": "lb-small", "algorithm": "round_robin", "network": "EXTERNAL",
        "health_check": {"protocol": "http", "port": 80}, "sticky_sessions": {"type": "none"},
        "firewall": {"allow": [], "deny": []},
        "forwarding_rules": [{"entry_protocol": "https", "entry_port": 443, "target_protocol": "https",
                              "target_port": 443, "certificate_id": CERT, "tls_passthrough": False}],
    }],
    "certificate": [{"id": CERT, "name": "site"}, {"id": "cert-2", "name": "other"}],
    "vpc": [{"id": VPC, "urn": "do:vpc:v-1", "name": "net", "description": "", "region": "fra1",
             "ip_range": "10.20.0.0/20", "default": False}],
    "tag": [{"name": "NET-app", "resources": {"count": 1}}],
}  # fmt: skip


def account(live=LIVE, **more) -> Account:
    return Account({kind: tuple(each) for kind, each in live.items()}, **more)


def changed(kind: str, **fields):
    live = copy.deepcopy(LIVE)
    live[kind][0] |= fields
    return compare(DECLARED, account(live))


def test_the_same_is_no_difference():
    assert compare(DECLARED, account()) == []


@pytest.mark.parametrize(
    ("kind", "fields", "subject", "what", "seen"),
    [
        ("droplet", {"status": "off"}, "app-1", "status", "off"),
        ("droplet", {"locked": True}, "app-1", "lock", "on"),
        ("droplet", {"name": "app-x"}, "app-1", "name", "app-x"),
        ("droplet", {"tags": ["net"]}, "app-1", "tags", "without net-app"),
        ("droplet", {"tags": ["net", "net-app", "odd"]}, "app-1", "tags", "odd"),
        ("droplet", {"image": {"id": 9, "slug": "ubuntu-24-04-x64"}}, "app-1", "image", "ubuntu-24-04-x64"),
        ("droplet", {"size_slug": "s-2vcpu-2gb"}, "app-1", "size", "s-2vcpu-2gb"),
        ("droplet", {"features": ["droplet_agent"]}, "app-1", "agent", "on"),
        ("droplet", {"features": ["backups"]}, "app-1", "backups", "on"),
        ("droplet", {"snapshot_ids": [7]}, "app-1", "snapshots", "7"),
        ("droplet", {"volume_ids": ["x"]}, "app-1", "volumes", "x"),
        ("droplet", {"vpc_uuid": "v-2"}, "app-1", "VPC", "v-2"),
        ("droplet", {"rescue_mode": True}, "app-1", "rescue_mode", "true"),
        ("firewall", {"tags": []}, "net-app", "tags", "without net-app"),
        ("firewall", {"droplet_ids": [4]}, "net-app", "droplets", "4"),
        ("firewall", {"outbound_rules": []}, "net-app", "outbound rules", "without"),
        ("firewall", {"pending_changes": [{"droplet_id": 1, "status": "waiting"}]}, "net-app", "pending", "waiting"),
        ("load-balancer", {"tls_cipher_policy": "DEFAULT"}, "net", "TLS cipher policy", "DEFAULT"),
        ("load-balancer", {"redirect_http_to_https": False}, "net", "redirect", "off"),
        ("load-balancer", {"network": "INTERNAL"}, "net", "network", "INTERNAL"),
        ("load-balancer", {"firewall": {"allow": ["ip:192.0.2.1"]}}, "net", "allowed sources", "192.0.2.1/32"),
        ("load-balancer", {"firewall": {"deny": ["cidr:192.0.2.0/24"]}}, "net", "denied", "192.0.2.0/24"),
        ("load-balancer", {"droplet_ids": []}, "net", "members", "without 1"),
        ("load-balancer", {"enable_http3": True}, "net", "enable_http3", "true"),
        ("vpc", {"ip_range": "10.99.0.0/20"}, "net", "range", "10.99.0.0/20"),
    ],
)  # fmt: skip
def test_each_change_is_one_difference_of_its_subject(kind, fields, subject, what, seen):
    (found,) = changed(kind, **fields)
    assert (found.layer, found.status, found.subject.kind, found.subject.name) == (
        "cloud",
        "differs",
        kind,
        subject,
    )
    assert found.what.startswith(what)
    assert seen in found.seen
    assert found.subject.urn
    assert found.requirements
    assert found.remedy
    assert found.who == "unknown"


def test_a_rules_unknown_field_makes_it_another_rule():
    rule = LIVE["firewall"][0]["inbound_rules"][0]
    for field in ({"action": "deny"}, {"action": "allow"}, {"priority": 3}):
        (found,) = changed("firewall", inbound_rules=[rule | field])
        assert found.what == "inbound rules"
        assert json.dumps(field) in found.seen


def test_an_action_that_the_api_answers_with_every_rule_is_its_default():
    live = copy.deepcopy(LIVE)
    wall = live["firewall"][0]
    for rule in wall["inbound_rules"] + wall["outbound_rules"]:
        rule["action"] = "allow"
    assert compare(DECLARED, account(live)) == []
    wall["inbound_rules"][0]["action"] = "deny"
    assert [each.what for each in compare(DECLARED, account(live))] == ["inbound rules"]


def test_another_certificate_on_the_load_balancer():
    rule = LIVE["load-balancer"][0]["forwarding_rules"][0] | {"certificate_id": "cert-2"}
    (found,) = changed("load-balancer", forwarding_rules=[rule])
    assert "certificate site" in found.expected
    assert "certificate other" in found.seen


def test_gone_replaced_and_never_made():
    live = copy.deepcopy(LIVE)
    live["droplet"] = []
    (gone,) = compare(DECLARED, account(live))
    assert (gone.what, gone.seen) == ("existence", "gone from the account")
    live["droplet"] = [LIVE["droplet"][0] | {"id": 77}]
    (other,) = compare(DECLARED, account(live))
    assert other.what == "identity"
    assert "77" in other.seen
    (never,) = compare([*DECLARED, resource("tag", "db", "", {"name": "net-db"})], account())
    assert (never.subject.name, never.seen) == ("net-db", "declared, and never made")


def test_what_could_not_be_listed_is_unknown_and_nothing_else():
    live = {kind: each for kind, each in LIVE.items() if kind != "firewall"}
    (found,) = compare(DECLARED, account(live, unasked={"firewall": "403"}))
    assert (found.status, found.subject.kind) == ("unknown", "firewall")


def test_the_program_wins_over_a_state_that_a_refresh_rewrote():
    urn, kind = DECLARED[1].urn, DECLARED[1].type
    drifted = {**DECLARED[1].inputs, "inboundRules": []}
    deployment = {"resources": [{"urn": urn, "type": kind, "id": WALL, "inputs": drifted, "outputs": {}}]}
    preview = {
        "steps": [{"urn": urn, "newState": {"urn": urn, "type": kind, "inputs": dict(DECLARED[1].inputs)}}]
    }
    assert resources(deployment)[0].inputs["inboundRules"] == []
    (declared,) = resources(deployment, preview)
    assert (declared.id, declared.inputs) == (WALL, DECLARED[1].inputs)


def test_what_the_code_no_longer_declares_is_told():
    (found,) = cloud.dropped(DECLARED, DECLARED[1:])
    assert (found.subject.name, found.what) == ("app-1", "existence")
    assert cloud.dropped(DECLARED, DECLARED) == []


class Engine:
    """Pulumi with a state, and a program that answers ``preview``, or doesn't."""

    def __init__(self, preview: str) -> None:
        self.preview = preview

    def ask(self, *arguments: str) -> str:
        if arguments[0] == "stack":
            return json.dumps({"deployment": {"resources": []}})
        if not self.preview:
            raise Problem("no passphrase")
        return self.preview


@pytest.mark.parametrize(
    ("preview", "why"), [("", "no passphrase"), ("<html>", "other than JSON"), ("{}", "")]
)
def test_a_program_that_cannot_be_asked_is_unknown_and_the_last_update_counts(preview, why, monkeypatch):
    session = SimpleNamespace(engine=lambda: Engine(preview), environment={}, stack=Stack("prod"))
    monkeypatch.setattr(shared, "account", lambda looking: account({}))
    found = cloud.look(Look(session, "full"))
    assert [each.status for each in found] == (["unknown"] if why else [])
    assert all(why in each.seen for each in found)
    assert cloud.look(Look(session, "quick")) == []


def test_a_value_known_only_after_an_update_is_not_compared():
    waiting = {**DECLARED[2].inputs, "vpcUuid": cloud.PLACEHOLDER}
    declared = [*DECLARED[:2], Resource(DECLARED[2].urn, DECLARED[2].type, LB, waiting), *DECLARED[3:]]
    assert compare(declared, account()) == []


# --- Normal forms ------------------------------------------------------------------------------------------

ADDRESSES = st.sampled_from(["0.0.0.0/0", "::/0", "192.0.2.1", "192.0.2.1/32", "10.0.0.0/8", "2001:db8::1"])
ENDS = st.fixed_dictionaries(
    {},
    optional={
        "addresses": st.lists(ADDRESSES, min_size=1, max_size=3),
        "tags": st.lists(st.sampled_from(["a", "B"]), min_size=1),
        "droplet_ids": st.lists(st.integers(1, 3), min_size=1, max_size=3),
    },
)
PORTS = st.one_of(st.sampled_from(["0", "all", "1-65535", "22", "80-81", "80", "81"]))
RULES = st.lists(
    st.fixed_dictionaries(
        {"protocol": st.sampled_from(["tcp", "udp", "icmp"]), "ports": PORTS, "sources": ENDS}
    ),
    max_size=6,
)


def split(rules):
    """The same rules, each other end in a rule of its own."""
    for rule in rules:
        ends = [{name: [value]} for name, values in rule["sources"].items() for value in values]
        yield from ({**rule, "sources": end} for end in ends or [{}])


@settings(deadline=None)
@given(RULES, st.randoms(use_true_random=False))
def test_equivalent_rules_are_equal(rules, chance: random.Random):
    other = list(split(copy.deepcopy(rules)))
    chance.shuffle(other)
    other += other[:1]
    for rule in other:
        if rule["ports"] in ("0", "all", "1-65535"):
            rule["ports"] = chance.choice(["0", "all", "1-65535"])
        elif rule["protocol"] == "icmp":
            rule["ports"] = "0"
    assert normal.firewall_rules(other, "in") == normal.firewall_rules(rules, "in")


@settings(deadline=None)
@given(RULES)
def test_one_more_opening_is_never_equal(rules):
    wider = [*rules, {"protocol": "tcp", "ports": "3306", "sources": {"addresses": ["198.51.100.0/24"]}}]
    narrow = [
        rule for rule in rules if not (rule["protocol"] == "tcp" and rule["ports"] in ("0", "all", "1-65535"))
    ]
    assert normal.firewall_rules(wider[len(rules) :] + narrow, "in") != normal.firewall_rules(narrow, "in")


def test_neighbouring_ports_are_a_range():
    def rule(ports):
        return {"protocol": "tcp", "ports": ports, "sources": {"addresses": ["::/0"]}}

    assert normal.firewall_rules([rule("80"), rule("81")], "in") == normal.firewall_rules(
        [rule("80-81")], "in"
    )
    assert normal.firewall_rules([rule("80"), rule("82")], "in") != normal.firewall_rules(
        [rule("80-82")], "in"
    )


@pytest.mark.parametrize("ports", ["", None, "x", "-", "1-x", 22])
def test_odd_ports_never_break_it(ports):
    assert normal.firewall_rules([{"protocol": "tcp", "ports": ports, "sources": None}], "in")


# --- Putting right -----------------------------------------------------------------------------------------


def requests(kind, **fields):
    live = copy.deepcopy(LIVE)
    live[kind][0] |= fields
    there = account(live)
    return cloud_fix.requests(compare(DECLARED, there), DECLARED, there)


def test_a_fix_writes_the_declared_state_and_what_is_left_out_is_not_lost():
    ((method, path, body),) = requests(
        "load-balancer", tls_cipher_policy="DEFAULT", redirect_http_to_https=False
    )
    assert (method, path) == ("PUT", f"/v2/load_balancers/{LB}")
    assert (body["tls_cipher_policy"], body["redirect_http_to_https"]) == ("STRONG", True)
    assert body["forwarding_rules"][0]["certificate_id"] == CERT
    assert body["health_check"] == LIVE["load-balancer"][0]["health_check"]
    ((_, path, body),) = requests("firewall", inbound_rules=[], tags=[])
    assert path == f"/v2/firewalls/{WALL}"
    assert normal.firewall_rules(body["inbound_rules"], "in") == {"tcp 2222 from 198.51.100.7/32"}
    assert (len(body["outbound_rules"]), body["tags"]) == (2, ["net-app"])


def test_tags_go_on_before_others_come_off():
    found = requests("droplet", tags=["net", "odd"])
    assert [(method, path) for method, path, _ in found] == [
        ("POST", "/v2/tags/net-app/resources"),
        ("DELETE", "/v2/tags/odd/resources"),
    ]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("droplet", {"size_slug": "s-2vcpu-2gb"}), ("droplet", {"image": {"slug": "x"}}), ("droplet", {"name": "y"}),
     ("vpc", {"ip_range": "10.9.0.0/20"}), ("droplet", {"locked": True}), ("load-balancer", {"network": "INTERNAL"})],
)  # fmt: skip
def test_what_could_cost_data_is_never_offered(kind, fields):
    assert requests(kind, **fields) == []
