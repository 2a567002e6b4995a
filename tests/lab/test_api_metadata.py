"""The metadata service: each droplet learns about itself, and nobody about another."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from lab.api import metadata

from .api_support import cloud, ssh_key


@pytest.fixture
def lab(tmp_path):
    with cloud(tmp_path / "api.sqlite3") as lab:
        yield lab


class Droplet:
    """Someone at ``address`` who asks the service."""

    def __init__(self, lab, address, region=None):
        self.transport = httpx.ASGITransport(
            metadata.create_app(lab.store, region=region), client=(address, 40000)
        )

    def get(self, path):
        async def ask():
            async with httpx.AsyncClient(transport=self.transport, base_url="http://169.254.169.254") as http:
                return await http.get(path)

        return asyncio.run(ask())


def test_a_droplet_reads_itself(lab):
    key = ssh_key()
    lab.ask("POST", "/v2/account/keys", {"name": "ops", "public_key": key}, 201)
    user_data = "#cloud-config\nruncmd: [/bin/true]\n# ends in /"
    identifier = lab.ask("GET", "/v2/account/keys")["ssh_keys"][0]["id"]
    vpc = lab.vpc()
    made = lab.droplet(ssh_keys=[identifier], user_data=user_data, tags=["web", "stack"], vpc_uuid=vpc["id"])
    lab.droplet("app-2", vpc_uuid=vpc["id"], settle=False)
    assert lab.droplet("app-3", vpc_uuid=vpc["id"])["networks"]["v4"][1]["ip_address"] == "10.20.0.4"

    for address in ("203.0.113.10", "10.20.0.2"):
        asks = Droplet(lab, address)
        assert asks.get("/metadata/v1/").text.split("\n") == [
            "id", "hostname", "user-data", "vendor-data", "public-keys", "region", "interfaces/", "dns/",
            "floating_ip/", "reserved_ip/", "tags/", "features/",
        ]  # fmt: skip
        expected = {
            "id": str(made["id"]),
            "hostname": "app-1",
            "user-data": user_data,
            "public-keys": key,
            "region": "fra1",
            "interfaces/": "private/\npublic/",
            "interfaces/public/": "0/",
            "interfaces/public/0/": "ipv4/\nmac\ntype",
            "interfaces/public/0/ipv4/address": "203.0.113.10",
            "interfaces/public/0/ipv4/gateway": "203.0.113.1",
            "interfaces/private/0/ipv4/address": "10.20.0.2",
            "interfaces/private/0/ipv4/netmask": "255.255.240.0",
            "interfaces/private/0/mac": metadata.mac(made["id"], "private"),
            "dns/nameservers": "67.207.67.2\n67.207.67.3",
            "tags/": "web\nstack",
        }
        for path, text in expected.items():
            answer = asks.get(f"/metadata/v1/{path}")
            assert (answer.status_code, answer.text) == (200, text), path
        moved = asks.get("/metadata/v1/interfaces/public")
        assert (moved.status_code, moved.headers["location"]) == (301, "/metadata/v1/interfaces/public/")
        assert asks.get("/metadata/v1").text == asks.get("/metadata/v1/").text
        for path in ("nothing", "interfaces/public/1/mac", "id/", "interfaces/pub", "%00"):
            assert asks.get(f"/metadata/v1/{path}").status_code == 404, path
        document = asks.get("/metadata/v1.json").json()
        assert (document["droplet_id"], document["user_data"]) == (made["id"], user_data)
        assert document["interfaces"]["public"][0]["ipv4"]["netmask"] == "255.255.255.0"
        assert document["dns"]["nameservers"] == ["67.207.67.2", "67.207.67.3"]


def test_nobody_else_is_answered(lab):
    lab.droplet()
    for path in ("/metadata/v1/", "/metadata/v1/user-data", "/metadata/v1.json"):
        assert Droplet(lab, "192.0.2.1").get(path).status_code == 404
        assert Droplet(lab, "203.0.113.10", region="ams3").get(path).status_code == 404
        assert Droplet(lab, "203.0.113.10", region="fra1").get(path).status_code == 200
    assert "user_data" not in Droplet(lab, "203.0.113.10").get("/metadata/v1.json").json()


def test_hardware_addresses_are_a_droplets_own():
    made = {
        metadata.mac(droplet, kind) for droplet in range(100_000, 100_100) for kind in ("public", "private")
    }
    assert len(made) == 200
    assert all(int(mac[:2], 16) & 3 == 2 for mac in made)  # locally administered, unicast
