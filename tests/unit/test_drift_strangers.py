"""What no code manages is told; what others answer for is not, unless it touches what is ours."""

from __future__ import annotations

import copy

import pytest
from pydantic import ValidationError
from test_drift_cloud import DECLARED, LIVE, VPC, account

from infra.drift import Drift, Known
from seawall.drift.strangers import strangers

KNOWN = [
    Known(kind=kind, name="*", reason="Another team's project", owner="finance")
    for kind in (
        "droplet",
        "firewall",
        "load-balancer",
        "certificate",
        "vpc",
        "ssh-key",
        "volume",
        "tag",
        "record",
    )
]


def found(live, known=(), **more):
    mine = copy.deepcopy(LIVE) | live
    mine["certificate"] = live.get("certificate", [])
    return strangers(DECLARED, account(mine, **more), known)


def test_nothing_strange():
    assert found({}) == []


@pytest.mark.parametrize(
    ("kind", "each", "name"),
    [
        ("droplet", {"id": 9, "name": "by-hand", "status": "active"}, "by-hand"),
        ("firewall", {"id": "f", "name": "hole"}, "hole"),
        ("load-balancer", {"id": "l", "name": "door"}, "door"),
        ("ssh-key", {"id": 3, "name": "eve", "fingerprint": "aa:bb"}, "eve"),
        ("certificate", {"id": "c", "name": "odd"}, "odd"),
        ("vpc", {"id": "w", "name": "other", "default": False}, "other"),
        ("tag", {"name": "odd"}, "odd"),
        ("domain", {"name": "x.example"}, "x.example"),
        ("volume", {"id": "u", "name": "disk"}, "disk"),
        ("reserved-ip", {"ip": "192.0.2.1"}, "192.0.2.1"),
        ("snapshot", {"id": "s", "name": "copy"}, "copy"),
    ],
)
def test_each_kind_is_told_by_name_and_can_be_known(kind, each, name):
    live = {kind: [*(LIVE.get(kind, []) if kind != "certificate" else []), each]}
    (told,) = found(live)
    assert (told.layer, told.status, told.subject.kind, told.subject.name) == (
        "strangers",
        "differs",
        kind,
        name,
    )
    known = Known(kind=kind, name=name[:2] + "*", reason="Somebody else's", owner="them")
    assert found(live, [known]) == []
    assert len(found(live, [known.model_copy(update={"name": "z*"})])) == 1


@pytest.mark.parametrize(
    ("kind", "each", "how"),
    [
        ("droplet", {"id": 9, "name": "x", "vpc_uuid": VPC}, "inside our VPC"),
        ("droplet", {"id": 9, "name": "x", "tags": ["NET-APP"]}, "carries our tags"),
        ("load-balancer", {"id": "l", "name": "x", "tag": "net-app"}, "carries our tags"),
        ("load-balancer", {"id": "l", "name": "x", "droplet_ids": [1]}, "attached to our droplets"),
        ("firewall", {"id": "f", "name": "x", "tags": ["net-app"]}, "carries our tags"),
        ("volume", {"id": "u", "name": "x", "droplet_ids": [1]}, "attached to our droplets"),
    ],
)
def test_what_touches_ours_is_told_whoever_is_known(kind, each, how):
    (told,) = found({kind: [*LIVE.get(kind, []), each]}, KNOWN)
    assert how in told.seen


def test_members_records_and_twins():
    members = {VPC: ({"urn": "do:droplet:1", "name": "app-1"}, {"urn": "do:dbaas:7", "name": "db"})}
    (told,) = found({}, KNOWN, members=members)
    assert (told.subject.kind, told.subject.name) == ("vpc-member", "db")
    zone = [
        {"id": 1, "type": "SOA", "name": "@", "data": "1800"},
        {"id": 2, "type": "NS", "name": "@", "data": "ns1.digitalocean.com."},
        {"id": 3, "type": "A", "name": "www", "data": "198.51.100.1"},
        {"id": 4, "type": "A", "name": "@", "data": "203.0.113.9"},
    ]
    told = found({}, records={"x.example": tuple(zone)})
    assert [each.subject.name for each in told] == ["www.x.example A", "x.example A"]
    assert [each.subject.name for each in found({}, KNOWN, records={"x.example": tuple(zone)})] == [
        "x.example A"
    ]
    twins = [*LIVE["droplet"], {"id": 8, "name": "t"}, {"id": 9, "name": "t"}]
    assert [each.subject.name for each in found({"droplet": twins})] == ["t (8)", "t (9)"]


def test_a_default_vpc_is_none():
    vpcs = [*LIVE["vpc"], {"id": "d", "name": "default-fra1", "default": True}]
    assert found({"vpc": vpcs}) == []


def test_unlisted_is_unknown():
    (told,) = found({}, unasked={"domain": "403"})
    assert (told.status, told.subject.kind) == ("unknown", "domain")


@pytest.mark.parametrize(
    "bad",
    [
        {"known": [{"kind": "droplet", "name": "x"}]},
        {"known": [{"kind": "goat", "name": "x", "reason": "because", "owner": "me"}]},
        {"tell": {"email": {"host": "h", "sender": "a@b", "to": []}}},
        {"tell": {"email": {"host": "h", "sender": "a@b", "to": ["c@d"], "user": "u"}}},
        {"tell": {"email": {"host": "h", "sender": "a@b", "to": ["c@d"], "user": "u", "passwordFile": "f",
                            "starttls": False}}},
        {"remindHours": 0},
        {"typo": 1},
    ],
)  # fmt: skip
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValidationError):
        Drift.model_validate(bad)
