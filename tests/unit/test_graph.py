"""The network's picture: as declared, and what it says of an account that is otherwise."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from seawall import drawing
from seawall.drift.account import Account
from seawall.graph import as_declared, as_it_is, write
from seawall.problem import Problem

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def flow(source: str, target: str, *ports: str) -> dict:
    return {
        "from": source,
        "to": target,
        "ports": ports,
        "reason": f"{source} and {target}",
        "owner": "platform",
    }


OUTPUTS = {
    "stack": "prod",
    "vpc_range": "10.40.0.0/20",
    "trusted_ranges": ["198.51.100.7/32"],
    "loadbalancer_ip": "203.0.113.9",
    "tiers": {"app": {}, "db": {}},
    "flows": [
        flow("internet", "loadbalancer", "443/tcp"),
        flow("loadbalancer", "app", "443/tcp"),
        flow("app", "db", "5432/tcp"),
        flow("administrators", "all", "2222/tcp"),
        flow("all", "packages", "80/tcp", "443/tcp"),
    ],
    "droplets": {
        "app-1": {"id": "1", "tier": "app", "private_ip": "10.40.0.3", "public_ip": "203.0.113.11"},
        "db-1": {"id": "2", "tier": "db", "private_ip": "10.40.0.4", "public_ip": "203.0.113.12"},
    },
}
WORLD = {"addresses": ["0.0.0.0/0", "::/0"]}
SSH = {"protocol": "tcp", "ports": "2222", "sources": {"addresses": ["198.51.100.7"]}}
OUT = [{"protocol": "tcp", "ports": port, "destinations": WORLD} for port in ("80", "443")]
TO_DB = {"protocol": "tcp", "ports": "5432", "destinations": {"tags": ["seawall-prod-db"]}}
LIVE = {
    "vpc": [{"id": "v", "name": "seawall-prod", "ip_range": "10.40.0.0/20"}],
    "droplet": [
        {"id": 1, "name": "app-1", "vpc_uuid": "v", "tags": ["seawall-prod", "seawall-prod-app"]},
        {"id": 2, "name": "db-1", "vpc_uuid": "v", "tags": ["seawall-prod", "Seawall-prod-DB"]},
    ],
    "firewall": [
        {
            "id": "a", "name": "seawall-prod-app", "tags": ["seawall-prod-app"], "inbound_rules": [SSH],
            "outbound_rules": [*OUT, TO_DB],
        },
        {
            "id": "b", "name": "seawall-prod-app-loadbalancer", "tags": ["seawall-prod-app"],
            "inbound_rules": [{"protocol": "tcp", "ports": "443", "sources": {"load_balancer_uids": ["lb"]}}],
        },
        {
            "id": "c", "name": "seawall-prod-db", "tags": ["seawall-prod-db"], "outbound_rules": OUT,
            "inbound_rules": [SSH, {"protocol": "tcp", "ports": "5432", "sources": {"tags": ["seawall-prod-app"]}}],
        },
    ],
    "load-balancer": [
        {
            "id": "lb", "name": "seawall-prod", "ip": "203.0.113.9", "status": "active", "vpc_uuid": "v",
            "droplet_ids": [1], "tls_cipher_policy": "STRONG",
            "forwarding_rules": [
                {"entry_protocol": "https", "entry_port": 443, "target_protocol": "https", "target_port": 443}
            ],
        }
    ],
}  # fmt: skip


@pytest.fixture
def live() -> dict:
    return copy.deepcopy(LIVE)


def seen(live: dict):
    return as_it_is(OUTPUTS, Account({kind: tuple(items) for kind, items in live.items()}), AT)


def odd(network) -> list[tuple]:
    return [(o.source, o.target, o.ports, o.state) for o in network.openings if o.state != "declared"]


def test_as_declared_every_flow_is_an_arrow_with_its_reason():
    network = as_declared(OUTPUTS, AT)
    assert network.code == 0
    assert [(arrow.source, arrow.target) for arrow in network.picture.arrows] == [
        ("internet", "loadbalancer"),
        ("loadbalancer", "app"),
        ("app", "db"),
        ("administrators", "all"),
        ("all", "to:packages"),
    ]
    page = network.html()
    for word in ("app and db", "platform", "seawall-prod-db", "in 5432/tcp from app", "10.40.0.0/20"):
        assert word in page


def test_an_account_as_declared_differs_in_nothing(live):
    network = seen(live)
    assert odd(network) == []
    assert network.code == 0
    assert [row.name for row in network.firewalls] == [
        "seawall-prod-app",
        "seawall-prod-app-loadbalancer",
        "seawall-prod-db",
    ]


def test_what_a_rule_opens_and_no_flow_declares_is_a_stranger(live):
    live["firewall"][2]["inbound_rules"] += [
        {"protocol": "tcp", "ports": "22", "sources": WORLD},
        {"protocol": "icmp", "ports": "0", "sources": {"tags": ["billing"]}},
        {"protocol": "tcp", "ports": "0", "sources": {"droplet_ids": [1]}},
    ]
    network = seen(live)
    assert odd(network) == [
        ("app-1", "db", ("1-65535/tcp",), "stranger"),
        ("billing", "db", ("icmp",), "stranger"),
        ("internet", "db", ("22/tcp",), "stranger"),
    ]
    assert network.code == 2
    assert {"billing", "app-1"} <= {place.key for place in network.picture.before}


def test_a_rule_that_denies_opens_nothing_and_is_told(live):
    live["firewall"][2]["inbound_rules"].append(
        {"protocol": "tcp", "ports": "22", "sources": WORLD, "action": "deny"}
    )
    network = seen(live)
    assert odd(network) == []
    assert "deny" in network.notes[0]


def test_a_flow_is_open_only_where_both_ends_allow_it(live):
    live["firewall"][0]["outbound_rules"].pop()
    assert odd(seen(live)) == [("app", "db", ("5432/tcp",), "missing")]


def test_a_wider_rule_opens_the_flow_and_more(live):
    live["firewall"][2]["inbound_rules"][1]["ports"] = "5000-6000"
    assert odd(seen(live)) == [("app", "db", ("5000-6000/tcp",), "stranger")]


def test_a_door_that_is_gone_closes_what_goes_through_it(live):
    live["load-balancer"] = []
    assert [o[:2] for o in odd(seen(live)) if o[3] == "missing"] == [
        ("internet", "loadbalancer"),
        ("loadbalancer", "app"),
    ]


def test_an_entry_more_is_open_to_the_internet(live):
    live["load-balancer"][0]["forwarding_rules"].append(
        {"entry_protocol": "tcp", "entry_port": 5432, "target_protocol": "tcp", "target_port": 5432}
    )
    assert odd(seen(live)) == [("internet", "loadbalancer", ("5432/tcp",), "stranger")]


def test_a_droplet_that_waits_for_the_load_balancer_is_named(live):
    live["load-balancer"][0]["droplet_ids"] = []
    network = seen(live)
    assert network.picture.doors[0].lines == ("203.0.113.9", "to nobody", "not to app-1")
    assert network.code == 2


def test_droplets_gone_uncovered_and_of_nobody_are_seen(live):
    live["droplet"][1:] = [{"id": 9, "name": "jump-box", "vpc_uuid": "v", "tags": []}]
    live["droplet"][0]["tags"] = []
    places = {place.key: (place.lines, place.state) for place in seen(live).picture.tiers}
    assert places == {
        "app": (("app-1  no firewall covers it",), "stranger"),
        "db": (("db-1  gone",), "missing"),
        "jump-box": (("not of this stack", "no firewall covers it"), "stranger"),
    }


@pytest.mark.parametrize("tiers", [1, 6])
def test_lines_never_share_a_number_and_boxes_never_overlap(tiers):
    names = [f"tier{number}" for number in range(tiers)]
    flows = [flow("internet", "loadbalancer", "443/tcp"), flow("loadbalancer", names[0], "443/tcp")]
    flows += [flow(a, b, "5432/tcp") for a in names for b in names if a != b]
    flows += [flow("administrators", name, "2222/tcp") for name in names]
    flows += [flow(name, "internet", "443/tcp") for name in names]
    outputs = {**OUTPUTS, "tiers": {name: {} for name in names}, "flows": flows, "droplets": {}}
    root = ElementTree.fromstring(drawing.network(outputs))
    space = {"s": "http://www.w3.org/2000/svg"}
    beads = [(int(c.get("cx")), int(c.get("cy"))) for c in root.findall(".//s:circle", space)]
    assert len(beads) == len(flows)
    for number, (x, y) in enumerate(beads):
        assert all(abs(x - a) >= 18 or abs(y - b) >= 18 for a, b in beads[:number]), "numbers overlap"
    boxes = [
        [int(r.get(k)) for k in ("x", "y", "width", "height")]
        for r in root.findall(".//s:rect[@class='ground']", space)
    ]
    for number, (x, y, w, h) in enumerate(boxes):
        assert all(x + w <= a or a + c <= x or y + h <= b or b + d <= y for a, b, c, d in boxes[:number])
    lanes = [set(re.findall(r"L(\d+) ", p.get("d"))) for p in root.findall(".//s:path[@class='halo']", space)]
    assert all(lanes)


def test_names_from_an_account_are_text(live):
    live["droplet"].append({"id": 9, "name": "<script>alert(1)</script>", "vpc_uuid": "v", "tags": []})
    network = seen(live)
    assert "<script" not in network.html() + network.svg()
    ElementTree.fromstring(network.svg())


def test_a_file_is_private_and_what_its_name_says(tmp_path: Path):
    network = as_declared(OUTPUTS, AT)
    for name, begin in (("net.svg", "<svg"), ("net.html", "<!doctype html>")):
        write(network, tmp_path / name)
        assert (tmp_path / name).read_text().startswith(begin)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    with pytest.raises(Problem, match=r"neither \.svg nor \.html"):
        write(network, tmp_path / "net.png")
