"""A whole environment under mocks: bastion, private tiers, account data, names, alerts; and what is refused of it."""

from __future__ import annotations

import copy

import pytest
from infra_support import CHECKOUT, NOW, OUTSIDE, lab, run

from infra.reach import Way, jump, ways
from infra.settings import Refused, Settings
from seawall.hosts import hosts, ssh_command
from seawall.places import Places

pytestmark = pytest.mark.filterwarnings("ignore:digitalocean:DeprecationWarning")

SMALL = {"count": 1, "size": "s-1vcpu-1gb", "image": "debian-12-x64"}


def flow(source, target, *ports):
    return {"from": source, "to": target, "ports": list(ports), "reason": "needed here", "owner": "ops"}


def environment(folder):
    values = lab(folder)
    values["bastion"] = "gate"
    values["tiers"] = {
        "gate": SMALL | {"reservedAddresses": True},
        "app": SMALL | {"serves": ["web"], "cardholderData": "handled"},
        "vault": SMALL | {
            "cardholderData": "stored", "publicNetworking": False, "backups": {"plan": "daily", "hour": 4},
        },
        "logs": SMALL | {"serves": ["logs"], "publicNetworking": False},
    }  # fmt: skip
    values["flows"] = [
        flow("internet", "loadbalancer", "80/tcp", "443/tcp"),
        flow("loadbalancer", "app", "443/tcp"),
        flow("administrators", "gate", "2222/tcp"),
        *(flow("gate", tier, "2222/tcp") for tier in ("app", "vault", "logs")),
        flow("app", "vault", "5432/tcp"),
        *(flow(tier, "logs", "6514/tcp") for tier in ("gate", "app", "vault")),
        flow("all", "packages", "80/tcp", "443/tcp"),
        flow("all", "dns", "53/udp", "53/tcp"),
    ]
    values["dns"] = {"zone": "seawall.test", "create": True, "authorities": ["letsencrypt.org"]}
    values["alerts"] = {"emails": ["ops@seawall.test"], "diskPercent": 70}
    values["project"] = {"name": "Shop", "environment": "Staging"}
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("seawall")


@pytest.fixture(scope="module")
def built(folder):
    with pytest.MonkeyPatch.context() as patch:
        return run(environment(folder), patch, folder)


@pytest.fixture
def values(folder):
    return copy.deepcopy(environment(folder))


class TestBuilt:
    def test_private_droplets_come_after_their_way_out(self, built):
        droplets = built.of("Droplet")
        assert {name: each.get("publicNetworking") for name, each in droplets.items()} == {
            "gate-1": None, "app-1": None, "vault-1": False, "logs-1": False,
        }  # fmt: skip
        (gateway,) = built.of("VpcNatGateway").values()
        vpc = str(1001 + built.position("Vpc", "vpc"))
        assert gateway == {
            "name": "seawall-lab", "type": "PUBLIC", "region": "fra1", "size": 1,
            "vpcs": [{"vpcUuid": vpc, "defaultGateway": True}],
        }  # fmt: skip
        assert built.position("VpcNatGateway", "way-out") < built.position("Droplet", "vault-1")

    def test_backups_and_metrics(self, built):
        vault = built.of("Droplet")["vault-1"]
        assert (vault["backups"], vault["backupPolicy"]) == (True, {"plan": "daily", "hour": 4})
        assert all(each["monitoring"] for each in built.of("Droplet").values())
        assert "backups" not in built.of("Droplet")["app-1"]

    def test_nobody_but_the_application_reaches_the_vault(self, built):
        wall = built.of("Firewall")["vault"]
        assert [(rule["portRange"], rule["sourceTags"]) for rule in wall["inboundRules"]] == [
            ("2222", ["seawall-lab-gate"]),
            ("5432", ["seawall-lab-app"]),
        ]
        assert not any(rule.get("sourceAddresses") for rule in wall["inboundRules"])

    def test_only_the_bastion_is_administered_from_outside(self, built):
        from_outside = {
            name
            for name, wall in built.of("Firewall").items()
            for rule in wall.get("inboundRules", [])
            if OUTSIDE in rule.get("sourceAddresses", [])
        }
        assert from_outside == {"gate"}

    def test_a_reserved_address_is_assigned(self, built):
        assert built.of("ReservedIp") == {"gate-1": {"region": "fra1"}}
        (assignment,) = built.of("ReservedIpAssignment").values()
        assert assignment["dropletId"] == 1001 + built.position("Droplet", "gate-1")

    def test_names(self, built):
        assert built.of("Domain") == {"zone": {"name": "seawall.test"}}
        records = {(each["type"], each["name"]): each["value"] for each in built.of("DnsRecord").values()}
        assert records == {
            ("A", "app"): "203.0.113.200",
            ("CAA", "@"): "letsencrypt.org.",
            ("TXT", "@"): "v=spf1 -all",
            ("TXT", "_dmarc"): "v=DMARC1; p=reject; adkim=s; aspf=s",
        }

    def test_who_is_told(self, built):
        alerts = {
            each["type"].rpartition("/")[2]: each["value"] for each in built.of("MonitorAlert").values()
        }
        assert alerts == {"cpu": 90, "memory_utilization_percent": 90, "disk_utilization_percent": 70}
        assert all(
            each["alerts"]["emails"] == ["ops@seawall.test"] for each in built.of("MonitorAlert").values()
        )
        (check,) = built.of("UptimeCheck").values()
        assert check["target"] == "https://app.seawall.test/healthz"
        assert {each["type"] for each in built.of("UptimeAlert").values()} == {"down_global", "ssl_expiry"}

    def test_the_project_holds_them(self, built):
        (project,) = built.of("Project").values()
        assert (project["name"], project["environment"]) == ("Shop", "Staging")
        assert len(project["resources"]) == 4 + 1 + 1 + 1  # droplets, reserved address, load balancer, zone

    def test_scope_and_bastion_are_told(self, built):
        told = {name: each["scope"] for name, each in built.outputs["droplets"].items()}
        assert told == {"gate-1": "connected", "app-1": "in", "vault-1": "in", "logs-1": "connected"}
        assert built.outputs["bastion"] == "gate-1"


BAD = [
    ("no such bastion", {"bastion": "door"}, "seawall:bastion names door, and there is no such tier"),
    ("no bastion", {"bastion": None}, "Tier vault has no public address, and there is no bastion"),
    ("two bastions", {"tiers.gate.count": 2}, "a bastion is one droplet with a public address"),
    ("a bastion that serves", {"tiers.gate.cardholderData": "stored"}, "has no account data"),
    (
        "reserved and private",
        {"tiers.vault.reservedAddresses": True},
        "Tier vault asks for reserved addresses",
    ),
    ("weekly, on no day", {"tiers.vault.backups": {"plan": "weekly"}}, "needs a `weekday`"),
    ("another zone", {"dns.zone": "example.com"}, "app.seawall.test does not lie in it"),
    ("nobody told", {"alerts": {"emails": []}}, "nobody would be told"),
    ("no address", {"alerts": {"emails": ["ops"]}}, "'ops' is not an e-mail address"),
    ("a metric over the top", {"alerts.cpuPercent": 101}, "less than or equal to 100"),
    ("no such environment", {"project.environment": "Live"}, "seawall:project.environment"),
]


def set_(values, path, value):
    *parents, last = path.split(".")
    for part in parents:
        values = values[part]
    if value is None:
        del values[last]
    else:
        values[last] = value


@pytest.mark.parametrize(("changes", "says"), [each[1:] for each in BAD], ids=[each[0] for each in BAD])
def test_refused(values, folder, changes, says):
    for path, value in changes.items():
        set_(values, path, value)
    with pytest.raises(Refused) as found:
        Settings.load(values, CHECKOUT, seawall_dir=folder, now=NOW)
    assert any(says in problem for problem in found.value.problems), found.value.problems


def test_a_tier_that_the_bastion_may_not_enter(values, folder):
    values["flows"] = [each for each in values["flows"] if (each["from"], each["to"]) != ("gate", "vault")]
    with pytest.raises(
        Refused, match="Tier vault has no public address, and no flow lets the bastion log in"
    ):
        Settings.load(values, CHECKOUT, seawall_dir=folder, now=NOW)


OUTPUTS = {
    "admin_user": "ops",
    "ssh_port": 2222,
    "bastion": "gate-1",
    "flows": [
        flow("administrators", "gate", "2222/tcp"),
        flow("administrators", "web", "2222/tcp"),
        flow("gate", "all", "2222/tcp"),
    ],
    "droplets": {
        name: {"id": str(number), "tier": name[:-2], "public_ip": public, "private_ip": f"10.20.0.{number}"}
        for number, (name, public) in enumerate(
            (("gate-1", "203.0.113.1"), ("web-1", "203.0.113.2"), ("app-1", "203.0.113.3"), ("vault-1", "")),
            1,
        )
    },
}


def test_the_way_to_each():
    assert ways(OUTPUTS) == {
        "gate-1": Way("203.0.113.1"),
        "web-1": Way("203.0.113.2"),
        "app-1": Way("10.20.0.3", "gate-1"),  # it has a public address, but no flow leads there
        "vault-1": Way("10.20.0.4", "gate-1"),
    }


def test_without_a_bastion_every_way_is_direct():
    assert {way.jump for way in ways(OUTPUTS | {"bastion": None}).values()} == {None}


def test_ssh_jumps_with_both_keys_pinned(tmp_path):
    found = hosts(OUTPUTS)["vault-1"]
    words = ssh_command(found, Places(tmp_path), ["uptime"])
    assert words[-3:] == ["ops@10.20.0.4", "--", "uptime"]
    assert "HostKeyAlias=vault-1.4" in words
    (proxy,) = [word for word in words if word.startswith("ProxyCommand=")]
    assert proxy.endswith(" 203.0.113.1")
    for part in ("-W '[%h]:%p'", "-p 2222", "-l ops", "HostKeyAlias=gate-1.1", "StrictHostKeyChecking=yes"):
        assert part in proxy


def test_a_path_with_a_space_stays_one_word():
    assert "-i '/my keys/id'" in jump("203.0.113.1", 22, "ops", {}, "/my keys/id")
