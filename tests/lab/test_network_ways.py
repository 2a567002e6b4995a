"""Other ways in and out: a droplet without a public interface behind a NAT gateway, and reserved addresses."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.host import patiently
from lab.network import plan
from lab.world import Droplet, NatGateway
from tests.lab.machines_support import FAR, OTHER, SMALL, WEB1, WEB2, Lab, tcp, wall

pytestmark = pytest.mark.timeout(240)

ALONE = 105


@pytest.fixture(scope="module")
def lab(small_lab: Lab) -> Iterator[Lab]:
    """With one more droplet, alone-1, in web-1's VPC and nowhere else."""
    before = small_lab.world
    address = small_lab.instance.address(90)
    alone = Droplet(ALONE, "alone-1", "fra1", "debian-12-x64", SMALL, "vpc-a", None, "10.77.0.9")
    gateway = NatGateway("out", "fra1", "vpc-a", address)
    small_lab.network(droplets=before.droplets | {ALONE: alone}, nat_gateways={"out": gateway})
    small_lab.backend.boot(alone)
    assert patiently(lambda: small_lab.probe(WEB1, "10.77.0.9", 2222) == "open", 180)
    yield small_lab
    small_lab.backend.destroy(ALONE)
    small_lab.network(droplets=before.droplets, nat_gateways={})


def test_it_has_one_interface_and_was_set_up_by_its_user_data(lab: Lab) -> None:
    links = lab.run(ALONE, "ip -br address").split()
    assert "10.77.0.9/24" in links
    assert not [word for word in links if word.startswith("eth0")]
    assert "ops" in lab.run(ALONE, "id ops")


def test_it_reaches_the_world_and_is_seen_as_its_gateway(lab: Lab) -> None:
    assert lab.probe(ALONE, lab.instance.address(plan.MIRROR), 80) == "open"
    assert lab.probe(ALONE, plan.RESOLVERS[0], 53) == "open"
    lab.serve(FAR, 8081)
    assert lab.probe(ALONE, lab.droplet(FAR).public_ipv4, 8081) == "open"
    seen = lab.world.nat_gateways["out"].public_ipv4
    lab.network(wall({FAR}, (tcp(8081, f"{seen}/32"), tcp(2222)), (tcp(1, last=65535),)))
    assert lab.probe(ALONE, lab.droplet(FAR).public_ipv4, 8081) == "open"
    assert lab.probe(WEB1, lab.droplet(FAR).public_ipv4, 8081) == "silence"
    lab.network()


def test_nobody_comes_in_by_its_way_out(lab: Lab) -> None:
    gateway = lab.world.nat_gateways["out"].public_ipv4
    for where in ("host", "outside", FAR, OTHER):
        assert lab.probe(where, gateway, 2222) in ("silence", "refused"), where
        # This machine's own way to such an address is its own affair, and leads elsewhere.
        assert where == "host" or lab.probe(where, "10.77.0.9", 2222) != "open", where


def test_its_firewall_holds_on_the_way_out_too(lab: Lab) -> None:
    lab.network(wall({ALONE}, (tcp(2222),), (tcp(53),)))
    assert lab.probe(ALONE, plan.RESOLVERS[0], 53) == "open"
    assert lab.probe(ALONE, lab.instance.address(plan.MIRROR), 80) == "silence"
    lab.network()


def test_without_a_gateway_there_is_no_way_out(lab: Lab) -> None:
    gateways = lab.world.nat_gateways
    lab.network(nat_gateways={})
    assert lab.probe(ALONE, plan.RESOLVERS[0], 53) != "open"
    assert lab.probe(WEB1, "10.77.0.9", 2222) == "open"
    lab.network(nat_gateways=gateways)
    assert lab.probe(ALONE, plan.RESOLVERS[0], 53) == "open"


def test_a_reserved_address_leads_to_one_droplet_and_then_to_another(lab: Lab) -> None:
    address = lab.instance.address(91)
    for number in (WEB1, WEB2):
        lab.serve(number, 8082)

    def assigned(number: int | None) -> str:
        droplets = {
            each.id: replace(each, reserved_ipv4=address if each.id == number else None)
            for each in lab.world.droplets.values()
        }
        lab.network(droplets=droplets)
        if lab.probe("host", address, 8082) != "open":
            return "nobody"
        with urllib.request.urlopen(f"http://{address}:8082/", timeout=5) as answer:
            return answer.read().decode().strip()

    assert assigned(WEB1) == "web-1"
    assert lab.probe("outside", address, 8082) == "open"
    assert lab.probe(OTHER, address, 8082) == "open"
    assert assigned(WEB2) == "web-2"
    # The droplet's own firewall counts, whichever address it is reached by.
    lab.network(wall({WEB2}, (tcp(2222),), ()))
    assert lab.probe("outside", address, 8082) == "silence"
    lab.network()
    assert assigned(None) == "nobody"
