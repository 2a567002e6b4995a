"""Check, diff and plan, case by case: given this state and these inputs, exactly these changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.engine.digitalocean import fields, wire
from lab.engine.digitalocean.certificate import CERTIFICATE
from lab.engine.digitalocean.droplet import DROPLET
from lab.engine.digitalocean.fields import Change, changes, imported, planned, prepare, refreshed
from lab.engine.digitalocean.firewall import FIREWALL
from lab.engine.digitalocean.load_balancer import LOAD_BALANCER
from lab.engine.digitalocean.resource import Resource
from lab.engine.digitalocean.ssh_key import SSH_KEY
from lab.engine.digitalocean.vpc import VPC, go_time
from lab.engine.digitalocean.wire import UNKNOWN, Secret

DROPLET_INPUTS = {"name": "app-1", "image": "debian-12-x64", "size": "s-1vcpu-1gb", "region": "fra1"}
DROPLET_STATE = {
    **DROPLET_INPUTS,
    "userData": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",  # sha1 of "hello"
    "sshKeys": ["aa:bb", "17"],
    "tags": ["web", "seawall"],
    "monitoring": False,
    "ipv6": False,
    "backups": False,
    "resizeDisk": True,
    "vpcUuid": "v-1",
    "publicNetworking": True,
    "status": "active",
}
RULE = {"protocol": "tcp", "portRange": "443", "sourceAddresses": ["10.0.0.0/8", "::/0"]}
SSH = {"protocol": "tcp", "portRange": "2222", "sourceTags": ["Admin"]}


def check(resource: Resource, news: dict[str, Any], olds: dict[str, Any] | None = None) -> Any:
    return prepare(resource.fields, news, olds or {}, lambda: "made-up-1234567")


def faults(resource: Resource, news: dict[str, Any]) -> dict[str, str]:
    return dict(check(resource, news)[1])


# Check


def test_only_defaults_that_say_something_are_filled_in_and_named() -> None:
    inputs, wrong = check(DROPLET, DROPLET_INPUTS)
    assert not wrong
    assert inputs == {**DROPLET_INPUTS, "resizeDisk": True, "__defaults": ["resizeDisk"]}


def test_nested_objects_name_their_own_defaults() -> None:
    inputs, _ = check(
        LOAD_BALANCER, {"name": "lb", "healthcheck": {"protocol": "http", "port": 80, "path": "/"}}
    )
    assert inputs["__defaults"] == []
    assert inputs["healthcheck"] == {
        "protocol": "http",
        "port": 80,
        "path": "/",
        "checkIntervalSeconds": 10,
        "healthyThreshold": 5,
        "responseTimeoutSeconds": 5,
        "unhealthyThreshold": 3,
        "__defaults": [
            "checkIntervalSeconds",
            "healthyThreshold",
            "responseTimeoutSeconds",
            "unhealthyThreshold",
        ],
    }


def test_a_resource_without_a_name_gets_one_and_keeps_it() -> None:
    first, _ = check(VPC, {"region": "fra1"})
    assert (first["name"], first["__defaults"]) == ("made-up-1234567", ["name"])
    second, _ = prepare(VPC.fields, {"region": "fra1"}, first, lambda: "another")
    assert second == first


def test_a_name_taken_out_of_the_program_is_not_kept() -> None:
    inputs, _ = check(VPC, {"region": "fra1"}, {"region": "fra1", "name": "given", "__defaults": []})
    assert inputs["name"] == "made-up-1234567"


def test_numbers_and_texts_are_taken_for_each_other() -> None:
    inputs, wrong = check(LOAD_BALANCER, {"name": "lb", "dropletIds": ["17", 18]})
    assert (inputs["dropletIds"], wrong) == ([17, 18], [])
    assert check(DROPLET, {**DROPLET_INPUTS, "image": 4711})[0]["image"] == "4711"


@pytest.mark.parametrize(
    ("resource", "news", "where", "why"),
    [
        (VPC, {"name": "v"}, "region", "is missing"),
        (VPC, {"region": "fra1", "ipRange": "10.0.0.1/20"}, "ipRange", "no address range"),
        (VPC, {"region": "fra1", "vpcUrn": "do:vpc:1"}, "vpcUrn", "cannot be given"),
        (VPC, {"region": "fra1", "range": "x"}, "range", "no property"),
        (DROPLET, {**DROPLET_INPUTS, "tags": ["no spaces"]}, "tags[0]", "a tag is up to 255"),
        (DROPLET, {**DROPLET_INPUTS, "tags": "web"}, "tags", "is str, not array"),
        (DROPLET, {**DROPLET_INPUTS, "volumeIds": ["v"]}, "volumeIds", "official DigitalOcean provider"),
        (DROPLET, {**DROPLET_INPUTS, "backupPolicy": {"hour": 99}}, "backupPolicy.hour", "0 to 20"),
        (FIREWALL, {"inboundRules": [{"protocol": "sctp"}]}, "inboundRules[0].protocol", "tcp, udp, icmp"),
        (
            FIREWALL,
            {"inboundRules": [{"protocol": "tcp", "portRange": "http"}]},
            "inboundRules[0].portRange",
            "`all`",
        ),
        (LOAD_BALANCER, {"tlsCipherPolicy": "WEAK"}, "tlsCipherPolicy", "DEFAULT, STRONG"),
        (LOAD_BALANCER, {"httpIdleTimeoutSeconds": 5}, "httpIdleTimeoutSeconds", "30 to 600"),
    ],
)
def test_bad_input_is_named(resource: Resource, news: dict[str, Any], where: str, why: str) -> None:
    assert why in faults(resource, news)[where]


def test_what_a_preview_does_not_know_yet_is_nobody_s_fault() -> None:
    assert not faults(DROPLET, {**DROPLET_INPUTS, "vpcUuid": UNKNOWN, "tags": [UNKNOWN], "image": UNKNOWN})


def test_a_private_key_is_sealed_whatever_the_program_says() -> None:
    sealed = fields.sealed(CERTIFICATE.fields, {"name": "site", "privateKey": "PEM"})
    assert sealed == {"name": "site", "privateKey": Secret("PEM")}
    assert "PEM" not in repr(sealed)


# Diff


@pytest.mark.parametrize(
    ("news", "expected"),
    [
        ({}, []),
        ({"userData": "hello"}, []),
        ({"userData": "hello!"}, [Change("userData", "update", True)]),
        ({"userData": UNKNOWN}, [Change("userData", "update", True)]),
        ({"size": "S-1vcpu-1GB", "region": "FRA1"}, []),
        ({"size": "s-2vcpu-4gb"}, [Change("size", "update")]),
        ({"image": "debian-13-x64"}, [Change("image", "update", True)]),
        ({"name": "app-2"}, [Change("name", "update")]),
        ({"sshKeys": ["17", "aa:bb"]}, []),
        ({"sshKeys": ["aa:bb"]}, [Change("sshKeys[1]", "delete", True)]),
        ({"sshKeys": []}, [Change("sshKeys", "delete", True)]),
        ({"tags": ["Seawall", "WEB"]}, []),
        ({"tags": ["seawall", "web", "logs"]}, [Change("tags[2]", "add")]),
        ({"tags": ["web", UNKNOWN]}, [Change("tags[1]", "update")]),
        ({"vpcUuid": None}, []),
        ({"vpcUuid": "v-2"}, [Change("vpcUuid", "update", True)]),
        ({"vpcUuid": UNKNOWN}, [Change("vpcUuid", "update", True)]),
        ({"publicNetworking": False}, [Change("publicNetworking", "delete", True)]),
        ({"monitoring": True}, [Change("monitoring", "add", True)]),
        ({"ipv6": True}, [Change("ipv6", "add")]),
        ({"resizeDisk": None}, []),
        ({"gracefulShutdown": False}, []),
    ],
)
def test_a_droplet_changes(news: dict[str, Any], expected: list[Change]) -> None:
    inputs = (
        {key: DROPLET_STATE[key] for key in ("sshKeys", "tags")}
        | DROPLET_INPUTS
        | {"userData": "hello"}
        | news
    )
    assert changes(DROPLET.fields, DROPLET_STATE, inputs) == expected


def test_switching_ipv6_off_takes_a_new_droplet() -> None:
    inputs = {**DROPLET_STATE, "userData": "hello", "ipv6": False}
    assert changes(DROPLET.fields, {**DROPLET_STATE, "ipv6": True}, inputs) == [
        Change("ipv6", "delete", True)
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([RULE, SSH], [SSH, RULE], []),
        ([RULE], [{**RULE, "sourceAddresses": ["::/0", "10.0.0.0/8"]}], []),
        ([RULE], [{**RULE, "__defaults": []}], []),
        ([SSH], [{**SSH, "sourceTags": ["admin"], "sourceAddresses": []}], []),
        ([{"protocol": "tcp", "portRange": "all"}], [{"protocol": "tcp", "portRange": "0"}], []),
        ([{"protocol": "tcp", "portRange": "all"}], [{"protocol": "tcp", "portRange": "1-65535"}], []),
        ([{"protocol": "icmp"}], [{"protocol": "icmp", "portRange": "all"}], []),
        ([{"protocol": "udp", "portRange": "all"}], [{"protocol": "udp", "portRange": "53"}], ["update"]),
        ([RULE], [RULE, SSH], ["add"]),
        ([RULE, SSH], [SSH], ["delete"]),
        ([RULE], [{**RULE, "sourceAddresses": [UNKNOWN]}], ["update"]),
    ],
)
def test_firewall_rules_are_a_set(old: list[Any], new: list[Any], expected: list[str]) -> None:
    found = changes(FIREWALL.fields, {"inboundRules": old}, {"inboundRules": new})
    assert [change.kind for change in found] == expected
    assert not any(change.replace for change in found)


@given(st.permutations([RULE, SSH, {"protocol": "icmp"}, {"protocol": "udp", "portRange": "123"}]))
def test_no_order_of_rules_is_a_change(rules: list[Any]) -> None:
    state = {"outboundRules": [], "inboundRules": sorted(rules, key=str)}
    assert changes(FIREWALL.fields, state, {"inboundRules": rules}) == []


@pytest.mark.parametrize(
    ("news", "expected"),
    [
        ({}, []),
        ({"forwardingRules": [{"certificateName": "site-1"}]}, []),
        ({"forwardingRules": [{"certificateId": "site-1"}]}, []),
        ({"forwardingRules": [{"certificateName": "site-2"}]}, ["forwardingRules[0]"]),
        ({"tlsCipherPolicy": "DEFAULT"}, ["tlsCipherPolicy"]),
        ({"algorithm": "least_connections"}, ["algorithm"]),
        ({"dropletIds": []}, ["dropletIds"]),
        ({"dropletIds": [2, 1]}, []),
    ],
)
def test_a_load_balancer_changes(news: dict[str, Any], expected: list[str]) -> None:
    ports = {"entryProtocol": "https", "entryPort": 443, "targetProtocol": "https", "targetPort": 443}
    state = {
        "name": "lb",
        "algorithm": "round_robin",
        "tlsCipherPolicy": "STRONG",
        "dropletIds": [1, 2],
        "projectId": "p",
        "sizeUnit": 1,
        "stickySessions": {"type": "none"},
        "forwardingRules": [
            {**ports, "certificateName": "site-1", "certificateId": "site-1", "tlsPassthrough": False}
        ],
    }
    given = {
        "name": "lb",
        "tlsCipherPolicy": "STRONG",
        "forwardingRules": [{"certificateName": "site-1"}],
        **news,
    }
    given["forwardingRules"] = [{**ports, **rule} for rule in given["forwardingRules"]]
    assert [change.path for change in changes(LOAD_BALANCER.fields, state, given)] == expected


def test_a_certificate_is_compared_by_hash_and_says_nothing_of_its_domains() -> None:
    state = {"name": "s", "type": "custom", "privateKey": fields.sha1("K"), "domains": ["a.test"]}
    assert changes(CERTIFICATE.fields, state, {"name": "s", "privateKey": "K"}) == []
    assert changes(CERTIFICATE.fields, state, {"name": "s", "privateKey": "L"}) == [
        Change("privateKey", "update", True)
    ]


def test_a_key_s_trailing_newline_is_no_change() -> None:
    assert (
        changes(
            SSH_KEY.fields,
            {"name": "k", "publicKey": "ssh-ed25519 A"},
            {"name": "k", "publicKey": "ssh-ed25519 A\n"},
        )
        == []
    )


# Plan and read


def test_a_plan_keeps_what_the_cloud_chose_and_fills_in_the_rest() -> None:
    plan = planned(
        LOAD_BALANCER.fields, {"projectId": "p", "dropletTag": "old"}, {"name": "lb", "__defaults": []}
    )
    assert (plan["projectId"], plan["algorithm"], plan["redirectHttpToHttps"]) == ("p", "round_robin", False)
    assert "dropletTag" not in plan
    assert "__defaults" not in plan


def test_a_preview_knows_the_inputs_and_nothing_else() -> None:
    told = fields.foretold(
        DROPLET.fields, planned(DROPLET.fields, {}, {**DROPLET_INPUTS, "userData": "hello"})
    )
    assert (told["name"], told["userData"]) == ("app-1", DROPLET_STATE["userData"])
    assert all(told[key] is UNKNOWN for key in ("ipv4Address", "dropletUrn", "vpcUuid"))


def test_a_refresh_changes_only_inputs_there_were() -> None:
    inputs = {
        **DROPLET_INPUTS,
        "userData": "hello",
        "tags": ["seawall", "web"],
        "resizeDisk": True,
        "__defaults": ["resizeDisk"],
    }
    assert refreshed(DROPLET.fields, inputs, DROPLET_STATE) == inputs
    renamed = refreshed(DROPLET.fields, inputs, {**DROPLET_STATE, "name": "by-hand", "tags": ["web"]})
    assert (renamed["name"], renamed["tags"]) == ("by-hand", ["web"])
    assert "vpcUuid" not in renamed


def test_an_import_gives_what_a_program_would_have_to_say() -> None:
    assert imported(DROPLET.fields, DROPLET_STATE) == {
        **DROPLET_INPUTS,
        "userData": DROPLET_STATE["userData"],
        "sshKeys": ["aa:bb", "17"],
        "tags": ["web", "seawall"],
        "vpcUuid": "v-1",
        "publicNetworking": True,
        "__defaults": [],
    }


# Values on the wire

plain = st.recursive(
    st.booleans() | st.text() | st.integers(-(2**53), 2**53) | st.just(UNKNOWN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), plain, max_size=4))
def test_properties_survive_the_wire(properties: dict[str, Any]) -> None:
    assert wire.read(wire.write(properties)) == properties


def test_a_secret_comes_back_in_the_clear_and_a_null_not_at_all() -> None:
    assert wire.read(wire.write({"a": Secret({"b": "c"}), "n": None})) == {"a": {"b": "c"}}


def test_go_prints_times_its_own_way() -> None:
    assert go_time("2020-03-13T19:20:47Z") == "2020-03-13 19:20:47 +0000 UTC"
    assert go_time("2020-03-13T19:20:47.442049Z") == "2020-03-13 19:20:47.442049 +0000 UTC"
