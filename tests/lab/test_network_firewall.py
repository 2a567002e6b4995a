"""Cloud firewalls, VPCs and the ways out, judged by real packets between real machines."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.machines import sources
from lab.network import plan
from lab.world import Droplet, Rule
from tests.lab.machines_support import FAR, OTHER, SMALL, WEB1, WEB2, Lab, tcp, wall

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def serving(small_lab: Lab) -> Lab:
    for number in (WEB1, WEB2, OTHER):
        small_lab.serve(number, 8080)
        small_lab.serve(number, 8443)
    return small_lab


@pytest.fixture
def lab(serving: Lab) -> Iterator[Lab]:
    yield serving
    serving.network()


def test_droplets_without_a_firewall_accept_everything(lab: Lab) -> None:
    web = lab.droplet(WEB1)
    for where in ("host", "outside", WEB2, OTHER, FAR):
        assert lab.probe(where, web.public_ipv4, 8080) == "open", where
    assert lab.probe(WEB2, web.private_ipv4, 8080) == "open"


def test_vpcs_are_isolated_from_each_other(lab: Lab) -> None:
    for where in (OTHER, FAR, "outside"):
        assert lab.probe(where, lab.droplet(WEB1).private_ipv4, 8080) == "silence", where
    lab.run(OTHER, "ip route replace 10.77.0.0/24 dev eth1")
    assert lab.probe(OTHER, "10.77.0.2", 8080) == "silence"
    lab.run(
        OTHER, "ip route replace 10.77.0.0/24 via $(ip -4 route show default | awk '{print $3}') dev eth0"
    )
    assert lab.probe(OTHER, "10.77.0.2", 8080) == "silence"
    lab.run(OTHER, "ip route delete 10.77.0.0/24")


def test_inbound_is_denied_by_default_on_both_interfaces(lab: Lab) -> None:
    web, neighbour = lab.droplet(WEB1), lab.droplet(WEB2)
    administrator = lab.instance.address(plan.ADMINISTRATOR)
    out = (tcp(1, last=65535), Rule("udp", (1, 65535), ("0.0.0.0/0",)))
    lab.network(wall({WEB1}, (tcp(8080, f"{administrator}/32", f"{neighbour.private_ipv4}/32"),), out))
    assert lab.probe("host", web.public_ipv4, 8080) == "open"
    assert lab.probe("host", web.public_ipv4, 8443) == "silence"
    assert lab.probe("outside", web.public_ipv4, 8080) == "silence"
    assert lab.probe(WEB2, web.private_ipv4, 8080) == "open"
    assert lab.probe(WEB2, web.private_ipv4, 8443) == "silence"
    assert lab.probe(WEB2, web.public_ipv4, 8080) == "silence"  # its public address is not named
    assert lab.probe(WEB1, neighbour.private_ipv4, 8080) == "open"


def test_outbound_is_denied_by_default_on_both_interfaces(lab: Lab) -> None:
    neighbour, other = lab.droplet(WEB2), lab.droplet(OTHER)
    lab.network(wall({WEB1}, (tcp(2222),), (tcp(8080, "10.77.0.0/24"), tcp(8443, f"{other.public_ipv4}/32"))))
    assert lab.probe(WEB1, neighbour.private_ipv4, 8080) == "open"
    assert lab.probe(WEB1, neighbour.private_ipv4, 8443) == "silence"
    assert lab.probe(WEB1, neighbour.public_ipv4, 8080) == "silence"
    assert lab.probe(WEB1, other.public_ipv4, 8443) == "open"
    # The mirror and the resolvers are the cloud's own, yet no rule leads there; metadata needs none.
    assert lab.probe(WEB1, lab.instance.address(plan.MIRROR), 80) == "silence"
    assert lab.probe(WEB1, plan.RESOLVERS[0], 53) == "silence"
    assert lab.probe(WEB1, plan.METADATA, 80) == "open"
    lab.network(wall({WEB1}, (), (tcp(80), tcp(53))))
    assert lab.probe(WEB1, lab.instance.address(plan.MIRROR), 80) == "open"
    assert lab.probe(WEB1, plan.RESOLVERS[0], 53) == "open"


def test_deny_wins_across_firewalls(lab: Lab) -> None:
    web, outside = lab.droplet(WEB1), lab.instance.address(plan.OUTSIDE)
    allowing = wall({WEB1}, (tcp(8080),), name="allowing")
    lab.network(allowing)
    assert lab.probe("outside", web.public_ipv4, 8080) == "open"
    lab.network(
        allowing, wall({WEB1}, (tcp(8000, f"{outside}/32", last=9000, action="deny"),), name="denying")
    )
    assert lab.probe("outside", web.public_ipv4, 8080) == "silence"
    assert lab.probe("host", web.public_ipv4, 8080) == "open"


def test_rules_of_several_firewalls_add_up(lab: Lab) -> None:
    web = lab.droplet(WEB1)
    lab.network(wall({WEB1}, (tcp(8080),), name="one"), wall({WEB1, WEB2}, (tcp(8443),), name="two"))
    assert [lab.probe("outside", web.public_ipv4, port) for port in (8080, 8443, 2222)] == [
        "open",
        "open",
        "silence",
    ]
    assert lab.probe("outside", lab.droplet(WEB2).public_ipv4, 8080) == "silence"


def test_icmp_is_a_rule_of_its_own(lab: Lab) -> None:
    def answers() -> bool:
        return "1 received" in lab.run(WEB2, f"ping -c 1 -W 1 {lab.droplet(WEB1).private_ipv4}", check=False)

    assert answers()
    lab.network(wall({WEB1}, (tcp(8080),)))
    assert not answers()
    lab.network(wall({WEB1}, (Rule("icmp", None, ("0.0.0.0/0", "::/0")),)))
    assert answers()


def test_established_connections_outlive_a_rule_change(lab: Lab) -> None:
    web = lab.droplet(WEB1)
    lab.network(wall({WEB1}, (tcp(8080),)))
    with lab.connect("outside", web.public_ipv4, 8080) as kept:
        lab.network(wall({WEB1}, (tcp(8443),)))
        assert lab.probe("outside", web.public_ipv4, 8080) == "silence"
        kept.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"200 OK" in kept.recv(100)


def test_spoofed_sources_are_dropped_on_each_interface(lab: Lab) -> None:
    """A droplet borrows its neighbour's address, and the administrator's; neither gets a packet through."""
    web, neighbour = lab.droplet(WEB1), lab.droplet(WEB2)
    administrator = lab.instance.address(plan.ADMINISTRATOR)
    counting = "\n".join(
        (
            "import socket",
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
            "s.bind(('0.0.0.0', 9999))",
            "while True: print(s.recvfrom(99), flush=True)",
        )
    )
    lab.run(WEB1, f'systemd-run -q --unit=count python3 -c "{counting}"')
    send = (
        'python3 -c "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); '
        "s.bind(('{source}', 0)); s.sendto(b'{word}', ('{to}', 9999))\""
    )
    for source, interface, to in (
        (administrator, "eth0", web.public_ipv4),
        ("10.77.0.99", "eth1", web.private_ipv4),
        (neighbour.public_ipv4, "eth1", web.private_ipv4),
        (neighbour.private_ipv4, "eth0", web.public_ipv4),
    ):
        mine = source in (neighbour.public_ipv4, neighbour.private_ipv4)
        borrow, give_back = (
            ("true", "true")
            if mine
            else (f"ip a add {source}/32 dev {interface}", f"ip a del {source}/32 dev {interface}")
        )
        lab.run(WEB2, f"{borrow}; ip rule add pref 1 to {to} table 99; ip route replace {to} dev {interface} table 99; "
                f"{send.format(source=source, word='spoofed', to=to)}; ip rule del pref 1; {give_back}")  # fmt: skip
    lab.run(WEB2, send.format(source=neighbour.private_ipv4, word="honest", to=web.private_ipv4))
    seen = ""
    until = time.monotonic() + 5
    while "honest" not in seen and time.monotonic() < until:
        seen = lab.run(WEB1, "journalctl -o cat -u count --no-pager")
    lab.run(WEB1, "systemctl stop count")
    assert "honest" in seen
    assert "spoofed" not in seen


def test_firewall_stands_before_the_first_packet(lab: Lab) -> None:
    """Probed without a pause from before it exists: a forbidden port never answers, though sshd listens there."""
    late = Droplet(
        105, "late-1", "fra1", "debian-12-x64", SMALL, "vpc-a", lab.instance.address(99), "10.77.0.9"
    )
    before = lab.world
    lab.network(wall({late.id}, (tcp(9),)), droplets={**lab.world.droplets, late.id: late})
    seen: set[str] = set()
    over = threading.Event()

    def watch(where: int | str, address: str) -> None:
        while not over.is_set():
            seen.add(lab.probe(where, address, 2222, seconds=0.3))

    watchers = [
        threading.Thread(target=watch, args=each)
        for each in (("host", late.public_ipv4), (WEB2, late.private_ipv4))
    ]
    for watcher in watchers:
        watcher.start()
    try:
        lab.backend.boot(late)
        until = time.monotonic() + 60
        while ":2222 " not in lab.run(late.id, "ss -ltn", check=False) and time.monotonic() < until:
            assert seen <= {"silence"}
        time.sleep(1)  # a last second in which a listening sshd could answer
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()
        lab.backend.destroy(late.id)
        lab.world = replace(before, droplets=before.droplets)
        lab.network()
    assert seen == {"silence"}


def test_packages_and_names_come_in_and_nothing_else_goes_out(lab: Lab) -> None:
    lab.run(WEB1, "apt-get -q update && apt-get -q -y install --no-install-recommends tree")
    assert "tree v" in lab.run(WEB1, "tree --version")
    host = lab.run(WEB1, f"getent ahostsv4 {sorted(sources.hosts())[0]} | head -1").split()[0]
    # This machine's own address and services, its resolver, and the package source itself, past the mirror.
    for address, port in ((host, 80), (_own_address(), 22), ("1.1.1.1", 443), ("192.0.2.1", 80)):
        assert lab.probe(WEB1, address, port) == "silence", (address, port)
    with socket.create_server(("0.0.0.0", 0)) as service:  # something of this machine that listens everywhere
        port = service.getsockname()[1]
        assert lab.probe(WEB1, lab.instance.address(plan.ADMINISTRATOR), port) == "silence"
    refused = lab.run(
        WEB1,
        f"curl -s -o /dev/null -w '%{{http_code}}' -x http://{lab.instance.address(plan.MIRROR)}:80 http://example.com/",
    )
    assert refused == "403"


def _own_address() -> str:
    """This machine's address towards the world."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("1.1.1.1", 53))
        return str(client.getsockname()[0])
