"""Rules from flows: examples written by hand, and properties that hold for any flows."""

from __future__ import annotations

import ipaddress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from infra.flows import CloudRule, Flow, Flows, Host, HostRule, Port, faults

WORLD = ("0.0.0.0/0", "::/0")
TRUSTED = ("198.51.100.7/32", "2001:db8::/48")
VPC = "10.20.0.0/20"


def flow(source, target, *ports, reason="because"):
    return Flow.model_validate(
        {"from": source, "to": target, "ports": ports, "reason": reason, "owner": "ops"}
    )


def flows(*declared, tiers=("app", "db")):
    return Flows(declared, tiers, TRUSTED, VPC)


HOSTS = [
    Host("app-1", "app", "10.20.0.2"),
    Host("app-2", "app", "10.20.0.3"),
    Host("db-1", "db", "10.20.0.4"),
]


class TestPort:
    @pytest.mark.parametrize(
        ("text", "port"),
        [
            ("443/tcp", ("tcp", 443, 443)),
            ("8000-8100/udp", ("udp", 8000, 8100)),
            ("icmp", ("icmp", 0, 0)),
            ("1-65535/tcp", ("tcp", 1, 65535)),
        ],
    )
    def test_read_and_written(self, text, port):
        assert Port.parse(text) == port
        assert str(Port.parse(text)) == text

    @pytest.mark.parametrize(
        "text", ["", "443", "443/TCP", "tcp/443", "-1/tcp", "icmp/8", "443/sctp", None, 443]
    )
    def test_no_port(self, text):
        with pytest.raises(ValueError, match="is not a port; write 443/tcp"):
            Port.parse(text)


class TestCloud:
    def test_between_tiers_goes_by_tag(self):
        both = flows(flow("app", "db", "5432/tcp", reason="database"))
        assert both.cloud_rules("db") == [
            CloudRule("in", Port("tcp", 5432, 5432), (), ("app",), False, ("database",))
        ]
        assert both.cloud_rules("app") == [
            CloudRule("out", Port("tcp", 5432, 5432), (), ("db",), False, ("database",))
        ]

    def test_all_is_one_peer_and_every_tier_has_the_rule(self):
        pings = flows(flow("all", "all", "icmp", reason="ping"))
        for tier in ("app", "db"):
            assert pings.cloud_rules(tier) == [
                CloudRule("in", Port("icmp"), (), ("all",), False, ("ping",)),
                CloudRule("out", Port("icmp"), (), ("all",), False, ("ping",)),
            ]

    def test_one_port_of_two_flows_is_one_rule_with_both_reasons(self):
        found = flows(
            flow("administrators", "db", "22/tcp", reason="two"), flow("app", "db", "22/tcp", reason="one")
        )
        assert found.cloud_rules("db") == [
            CloudRule("in", Port("tcp", 22, 22), TRUSTED, ("app",), False, ("one", "two"))
        ]

    def test_the_load_balancer_has_a_rule_of_its_own(self):
        found = flows(flow("loadbalancer", "app", "443/tcp"), flow("db", "app", "443/tcp"))
        assert [
            (rule.load_balancer, rule.tiers) for rule in found.cloud_rules("app") if rule.direction == "in"
        ] == [
            (False, ("db",)),
            (True, ()),
        ]


class TestHost:
    def test_neighbours_by_address(self):
        found = flows(flow("app", "db", "5432/tcp", reason="database"))
        assert found.host_rules(HOSTS[2], HOSTS) == [
            HostRule("in", "tcp", "5432", ("10.20.0.2/32", "10.20.0.3/32"), "database")
        ]
        assert found.host_rules(HOSTS[0], HOSTS) == [
            HostRule("out", "tcp", "5432", ("10.20.0.4/32",), "database")
        ]

    def test_the_load_balancer_is_the_vpc(self):
        found = flows(flow("loadbalancer", "app", "8000-8100/tcp", reason="web"))
        assert found.host_rules(HOSTS[0], HOSTS) == [HostRule("in", "tcp", "8000:8100", (VPC,), "web")]

    def test_nobody_is_its_own_neighbour(self):
        assert flows(flow("db", "db", "1/tcp")).host_rules(HOSTS[2], HOSTS) == []

    def test_outside(self):
        found = flows(
            flow("all", "dns", "53/udp", reason="names"), flow("all", "packages", "443/tcp", reason="apt")
        )
        assert found.host_rules(HOSTS[0], HOSTS) == [
            HostRule("out", "udp", "53", ("67.207.67.2/32", "67.207.67.3/32"), "names"),
            HostRule("out", "tcp", "443", WORLD, "apt"),
        ]

    def test_icmp_has_no_ports(self):
        (rule,) = flows(flow("administrators", "db", "icmp")).host_rules(HOSTS[2], HOSTS)
        assert (rule.protocol, rule.ports, rule.addresses) == ("icmp", None, TRUSTED)


class TestTheRest:
    def test_callers(self):
        assert flows(flow("internet", "loadbalancer", "443/tcp")).callers() == WORLD
        assert flows(flow("administrators", "loadbalancer", "443/tcp")).callers() == TRUSTED

    def test_listeners(self):
        found = flows(flow("all", "db", "5432/tcp", "icmp"), flow("administrators", "all", "2222/tcp"))
        assert list(map(str, found.listeners("db"))) == ["2222/tcp", "5432/tcp"]
        assert list(map(str, found.listeners("app"))) == ["2222/tcp"]

    def test_reachable(self):
        found = flows(flow("all", "db", "5432/tcp"), flow("internet", "loadbalancer", "443/tcp"))
        assert {(a, b, str(port)) for a, b, port in found.reachable()} == {
            ("app", "db", "5432/tcp"),
            ("db", "db", "5432/tcp"),
            ("internet", "loadbalancer", "443/tcp"),
        }


class TestFlow:
    def test_written_as_read(self):
        declared = {
            "from": "app",
            "to": "db",
            "ports": ["5432/tcp", "icmp"],
            "reason": "database",
            "owner": "ops",
            "reviewBy": "2027-06-30",
        }
        assert Flow.model_validate(declared).model_dump(mode="json", by_alias=True) == declared

    @pytest.mark.parametrize("missing", ["from", "to", "ports", "reason", "owner"])
    def test_nothing_may_be_missing(self, missing):
        declared = {"from": "app", "to": "db", "ports": ["1/tcp"], "reason": "because", "owner": "ops"}
        del declared[missing]
        with pytest.raises(ValidationError):
            Flow.model_validate(declared)


TIERS = ("app", "db", "logs")
NAMES = st.sampled_from(TIERS)
PORTS = st.one_of(
    st.just("icmp"),
    st.builds(
        lambda ends, protocol: f"{min(ends)}-{max(ends)}/{protocol}",
        st.tuples(st.integers(1, 65535), st.integers(1, 65535)),
        st.sampled_from(["tcp", "udp"]),
    ),
)
FLOWS = st.builds(
    flow,
    st.one_of(NAMES, st.sampled_from(["all", "loadbalancer", "administrators"])),
    st.one_of(NAMES, st.sampled_from(["all", "internet", "packages", "dns", "time"])),
    PORTS,
    reason=st.text("abcdefgh", min_size=3, max_size=12),
)
RANGES = st.one_of(
    st.ip_addresses(v=4).map(lambda address: f"{address}/32"),
    st.ip_addresses(v=6).map(lambda address: f"{address}/128"),
)
DERIVED = st.builds(
    Flows, st.lists(FLOWS, max_size=8).map(tuple), st.just(TIERS), st.lists(RANGES, min_size=1, max_size=3).map(tuple),
    st.just(VPC),
)  # fmt: skip
HOSTS_OF = st.lists(NAMES, min_size=1, max_size=6).map(
    lambda tiers: [Host(f"{tier}-{n}", tier, f"10.20.0.{n}") for n, tier in enumerate(tiers, 2)]
)


def named(endpoint, tiers=TIERS):
    return set(tiers) if endpoint == "all" else {endpoint}


class TestAnyFlows:
    @given(DERIVED)
    def test_twice_is_the_same_in_any_order(self, derived):
        turned = Flows(derived.declared[::-1], TIERS, derived.trusted_ranges, VPC)
        for tier in TIERS:
            assert derived.cloud_rules(tier) == derived.cloud_rules(tier) == turned.cloud_rules(tier)
            keys = [(rule.direction, rule.port, rule.load_balancer) for rule in derived.cloud_rules(tier)]
            assert all(a < b for a, b in pairwise(keys))

    @given(DERIVED, HOSTS_OF)
    def test_no_rule_beyond_the_flows(self, derived, hosts):
        for tier in TIERS:
            for rule in derived.cloud_rules(tier):
                end, other = ("to", "from_") if rule.direction == "in" else ("from_", "to")
                behind = [
                    f for f in derived.declared if rule.port in f.ports and tier in named(getattr(f, end))
                ]
                assert {f.reason for f in behind} >= set(rule.reasons) != set()
                assert {getattr(f, other) for f in behind} >= set(rule.tiers)
                if rule.direction == "in":
                    assert set(rule.addresses) <= set(derived.trusted_ranges)
        for host in hosts:
            for rule in derived.host_rules(host, hosts):
                assert rule.comment in {f.reason for f in derived.declared}
                assert rule.addresses
                assert f"{host.private_ip}/32" not in rule.addresses

    @given(DERIVED, HOSTS_OF)
    def test_what_a_flow_allows_is_open_at_both_ends_on_every_host(self, derived, hosts):
        for f in derived.declared:
            for here in hosts:
                for there in hosts:
                    if here is there or here.tier not in named(f.from_) or there.tier not in named(f.to):
                        continue
                    out, into = derived.host_rules(here, hosts), derived.host_rules(there, hosts)
                    assert any(f"{there.private_ip}/32" in r.addresses and r.direction == "out" for r in out)
                    assert any(f"{here.private_ip}/32" in r.addresses and r.direction == "in" for r in into)

    @given(DERIVED, HOSTS_OF)
    def test_every_address_is_a_network_of_either_family(self, derived, hosts):
        rules = [rule for tier in TIERS for rule in derived.cloud_rules(tier)]
        rules += [rule for host in hosts for rule in derived.host_rules(host, hosts)]
        for rule in rules:
            for address in rule.addresses:
                assert ipaddress.ip_network(address).version in (4, 6)

    @given(DERIVED)
    def test_both_families_where_the_world_is_meant(self, derived):
        for tier in TIERS:
            for rule in derived.cloud_rules(tier):
                assert ("0.0.0.0/0" in rule.addresses) == ("::/0" in rule.addresses)

    @given(st.lists(FLOWS, max_size=6), st.integers(1, 65535))
    def test_faults_are_paragraphs_and_nothing_else_happens(self, declared, port):
        for fault in faults(declared, {"app": ("web",), "db": (), "logs": ("logs",)}, port):
            assert fault.endswith(".")
            assert len(fault) > 60
