"""What the lab decides about machines and packets, without making any."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from lab import packages
from lab.instance import BENCHMARKING, DOCUMENTATION, Instance, choose_range
from lab.machines import image, virtual
from lab.machines.groups import Hierarchy, limits
from lab.machines.machine import Machine
from lab.network import balancer, plan
from lab.world import (
    BackendError,
    Certificate,
    Droplet,
    Firewall,
    Forwarding,
    HealthCheck,
    LoadBalancer,
    Rule,
    Size,
    Vpc,
    World,
)

HERE = Instance("test", 20000, "198.18.7.0/24")
SIZE = Size("s-1vcpu-1gb", 1024, 1, 25)
ANY = ("0.0.0.0/0", "::/0")


def world(*firewalls: Firewall) -> World:
    return World(
        vpcs={"v": Vpc("v", "fra1", "10.20.0.0/20")},
        droplets={
            number: Droplet(
                number,
                f"app-{number}",
                "fra1",
                "debian-12-x64",
                SIZE,
                "v",
                f"198.18.7.1{number}",
                f"10.20.0.{number}",
            )
            for number in (2, 3)
        },
        firewalls={wall.id: wall for wall in firewalls},
    )


def chain(text: str, name: str) -> list[str]:
    """A chain's rules."""
    lines = text.splitlines()
    start = lines.index(f"chain {name} {{") + 1
    return lines[start : lines.index("}", start)]


def rules(*firewalls: Firewall) -> str:
    return plan.region_rules("fra1", plan.stations(HERE, world(*firewalls)))


def test_denials_come_first_whatever_their_order() -> None:
    allow = Firewall("a", frozenset({2}), (Rule("tcp", (22, 22), ANY),), ())
    deny = Firewall("d", frozenset({2}), (Rule("tcp", (1, 100), ("192.0.2.0/24",), "deny"),), ())
    assert chain(rules(allow, deny), "to_2") == [
        "ip saddr { 192.0.2.0/24 } tcp dport 1-100 drop",
        "tcp dport 22 return",
        "drop",
    ]


def test_a_firewall_without_rules_in_a_direction_denies_it() -> None:
    text = rules(Firewall("a", frozenset({2}), (), ()))
    assert chain(text, "to_2") == chain(text, "from_2") == ["drop"]


def test_a_droplet_in_no_firewall_has_no_chain() -> None:
    text = rules(Firewall("a", frozenset({2}), (), ()))
    assert "to_3" not in text
    assert "from_3" not in text
    assert '"v2" : jump to_2' in text
    assert '"p2" : jump from_2' in text


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            Rule("udp", (53, 53), ("67.207.67.2/32", "67.207.67.3/32")),
            "ip daddr { 67.207.67.2/31 } udp dport 53 return",
        ),
        (Rule("icmp", None, ANY), "meta l4proto icmp return"),
        (
            Rule("tcp", (8000, 8100), ("10.0.0.0/8", "10.1.0.0/16")),
            "ip daddr { 10.0.0.0/8 } tcp dport 8000-8100 return",
        ),
        (Rule("tcp", (443, 443), ("::/0",)), None),
        (Rule("tcp", (443, 443), ()), None),
    ],
)
def test_a_rule_is_one_line_or_none(rule: Rule, expected: str | None) -> None:
    found = chain(rules(Firewall("a", frozenset({2}), (), (rule,))), "from_2")
    assert found == [*([expected] if expected else []), "drop"]


def test_a_bad_line_loses_what_it_is_told_to_and_nothing_once_it_is_mended() -> None:
    assert "numgen random mod 100 < 5 drop" in plan.loss_rules(5)
    assert plan.loss_rules(0).splitlines() == ["table inet loss", "delete table inet loss"]
    with pytest.raises(ValueError, match="101 is no percentage"):
        plan.loss_rules(101)


def test_links_are_told_apart_by_droplet() -> None:
    public, private = plan.links_of(HERE, world(), world().droplets[2])
    assert (public.gateway, public.is_default, private.gateway, private.is_default) == (
        "198.18.7.1",
        True,
        "10.20.0.1",
        False,
    )
    assert "Gateway=" not in private.settings()
    assert public.mac != private.mac


def test_ranges_avoid_what_the_machine_uses() -> None:
    first = choose_range(5, [])
    assert first.subnet_of(BENCHMARKING)
    assert first.prefixlen == 24
    assert choose_range(5, [first]) != first
    assert choose_range(5, [BENCHMARKING]) == DOCUMENTATION[0]
    with pytest.raises(BackendError, match="/24"):
        choose_range(5, [IPv4Network("0.0.0.0/0")])


def test_limits_in_both_versions_of_control_groups() -> None:
    new = limits(SIZE, Hierarchy(Path("/x"), frozenset(), True))
    assert new == {"memory.max": "1073741824", "cpu.max": "100000 100000", "pids.max": "8192"}
    old = limits(SIZE, Hierarchy(Path("/x"), frozenset({"memory", "rw"}), False))
    assert old == {"memory.limit_in_bytes": "1073741824"}


def test_an_images_key_follows_its_content(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "droplet").mkdir()
    (tmp_path / "droplet" / "packages.txt").write_text("sudo\n")
    monkeypatch.setattr(image, "FOLDER", tmp_path)
    before = image.key("debian-12-x64")
    (tmp_path / "droplet" / "packages.txt").write_text("sudo\ncurl\n")
    assert image.key("debian-12-x64") != before


def test_an_unknown_image_is_refused() -> None:
    with pytest.raises(BackendError, match="no image 'beos'"):
        image.root("beos")


def balancing(**changes: object) -> LoadBalancer:
    given: dict[str, object] = {
        "id": "0a1b2c3d-0000", "name": "site", "region": "fra1", "vpc_id": "v",
        "public_ipv4": "198.18.7.50", "private_ipv4": "10.20.0.50",
        "forwarding": (Forwarding("https", 443, "https", 443, "c"),),
        "health_check": HealthCheck("https", 443, "/healthz", 10, 5, 3, 5),
        "members": frozenset({2}), "redirect_http_to_https": True,
    }  # fmt: skip
    return LoadBalancer(**{**given, **changes})  # type: ignore[arg-type]


def test_a_load_balancer_opens_its_entries_and_the_redirect_only() -> None:
    both = World(world().vpcs, world().droplets, {}, {"b": balancing()}, {})
    text = plan.region_rules("fra1", plan.stations(HERE, both))
    assert chain(text, "to_0a1b2c3d") == [
        "tcp dport 80 return",
        "tcp dport 443 return",
        "ip saddr { 198.18.7.0/24 } meta l4proto icmp return",
        "drop",
    ]


def test_haproxy_does_as_declared() -> None:
    text = balancer.configuration(balancing(deny=("192.0.2.0/24",)), {2: "10.20.0.2"}, Path("/f"))
    assert "bind 198.18.7.50:443 ssl crt /f/c.pem alpn h2,http/1.1" in text
    assert "server droplet-2 10.20.0.2:443 check port 443 inter 10s fall 3 rise 5 ssl verify none" in text
    assert "uri /healthz" in text
    assert "redirect scheme https code 301" in text
    assert text.count("reject if { src 192.0.2.0/24 }") == 2  # the redirect is an entry too
    assert "send-proxy" not in text
    assert "send-proxy" in balancer.configuration(
        balancing(proxy_protocol=True), {2: "10.20.0.2"}, Path("/f")
    )


def test_strong_has_neither_cbc_nor_static_keys() -> None:
    assert all("GCM" in suite or "CHACHA20" in suite for suite in balancer.STRONG.split(":"))
    assert all(suite.startswith("ECDHE-") for suite in balancer.STRONG.split(":"))


def test_what_haproxy_can_not_speak_is_said() -> None:
    with pytest.raises(BackendError, match="does not speak http3"):
        balancer.configuration(
            balancing(forwarding=(Forwarding("http3", 443, "http", 80, "c"),)), {}, Path("/f")
        )


def test_a_private_key_stays_out_of_words() -> None:
    certificate = Certificate("c", "site", "LEAF", "CHAIN", "KEY")
    assert "KEY" not in repr(certificate)
    assert balancer.bundle(certificate) == "LEAF\nCHAIN\nKEY\n"


def test_needed_packages_are_listed_once() -> None:
    assert len(set(packages.needed())) == len(packages.needed())
    assert {"haproxy", "apt-cacher-ng", "mmdebstrap", "systemd-container", "nftables"} <= set(
        packages.needed()
    )


def test_a_machine_of_its_own_kernel_has_tap_devices_with_a_droplets_addresses_and_routes() -> None:
    droplet = Droplet(7, "own", "fra1", "debian-12-x64", SIZE, "v", "198.18.7.17", "10.20.0.7")
    link, _ = plan.links_of(HERE, world(), droplet)
    tap, veth = link.commands(None), link.commands("seawall-x-d7")
    assert tap[0] == "tuntap add dev p7 mode tap vnet_hdr"
    assert veth[0] == "link add p7 type veth peer name eth0 address 02:00:00:00:00:07 netns seawall-x-d7"
    assert tap[1:] == veth[1:]


@pytest.mark.parametrize(
    ("size", "own"),
    [("s-1vcpu-512mb-10gb", False), ("s-4vcpu-8gb", False), ("c-2", True), ("g-2vcpu-8gb", True)],
)
def test_sizes_with_dedicated_processors_have_a_kernel_of_their_own(size: str, own: bool) -> None:
    assert virtual.has_own_kernel(size) is own


def test_a_machine_stays_what_it_was_made_as(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.instance.DATA", tmp_path)
    dedicated = Size("c-2", 4096, 2, 25)
    assert type(virtual.of(HERE, 1, dedicated)) is virtual.Virtual
    assert type(virtual.of(HERE, 1, SIZE)) is Machine
    (HERE.droplets / "1").mkdir(parents=True)
    assert type(virtual.of(HERE, 1, dedicated)) is virtual.Virtual, "its making was interrupted"
    (HERE.droplets / "1" / "made").touch()
    assert type(virtual.of(HERE, 1, dedicated)) is Machine
    (HERE.droplets / "1" / "vmlinuz").touch()
    assert type(virtual.of(HERE, 1)) is type(virtual.of(HERE, 1, SIZE)) is virtual.Virtual


def test_without_qemu_only_droplets_that_need_it_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.instance.DATA", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    droplet = Droplet(
        7, "own", "fra1", "debian-12-x64", Size("c-2", 4096, 2, 25), "v", "198.18.7.17", "10.20.0.7"
    )
    with pytest.raises(
        BackendError, match=r"own can't boot: its size c-2.*`qemu-system-x86_64` is not installed"
    ):
        virtual.of(HERE, 7, droplet.size).build(droplet, ())
    assert not (HERE.droplets / "7").exists()
    assert packages.needed(packages.OWN_KERNEL) == ["qemu-system-x86"]
    assert "qemu-system-x86" not in packages.needed()
