"""The Pulumi program under mocks: what it builds for the lab, written out by hand, and what must never be true."""

from __future__ import annotations

import pulumi
import pytest
import yaml
from infra_support import HOST_PRIVATE, HOST_PUBLIC, OUTSIDE, certificate, lab, run

# The SDK's own, at its import.
pytestmark = pytest.mark.filterwarnings("ignore:digitalocean:DeprecationWarning")

WORLD = ["0.0.0.0/0", "::/0"]
RESOLVERS = ["67.207.67.2/32", "67.207.67.3/32"]


@pytest.fixture
def values(tmp_path):
    return lab(tmp_path)


@pytest.fixture
def built(values, monkeypatch, tmp_path):
    return run(values, monkeypatch, tmp_path)


def inbound(protocol, ports, **sources):
    return {"protocol": protocol, "portRange": ports, **sources}


OUT_OF_EVERY_TIER = [
    inbound("tcp", "53", destinationAddresses=RESOLVERS),
    inbound("tcp", "80", destinationAddresses=WORLD),
    inbound("tcp", "443", destinationAddresses=WORLD),
    inbound("tcp", "6514", destinationTags=["seawall-lab-logs"]),
    inbound("udp", "53", destinationAddresses=RESOLVERS),
]
SSH = inbound("tcp", "2222", sourceAddresses=[OUTSIDE])


class TestTheLab:
    """Exactly this, for the settings in git."""

    def test_firewalls(self, built):
        found = {
            name: (wall["name"], wall["tags"], wall.get("inboundRules", []), wall.get("outboundRules", []))
            for name, wall in built.of("Firewall").items()
        }
        balancer_id = str(1001 + built.position("LoadBalancer", "loadbalancer"))
        assert found == {
            "app": ("seawall-lab-app", ["seawall-lab-app"], [SSH], OUT_OF_EVERY_TIER),
            "logs": (
                "seawall-lab-logs",
                ["seawall-lab-logs"],
                [SSH, inbound("tcp", "6514", sourceTags=["seawall-lab"])],
                OUT_OF_EVERY_TIER,
            ),
            "app-loadbalancer": (
                "seawall-lab-app-loadbalancer",
                ["seawall-lab-app"],
                [inbound("tcp", "443", sourceLoadBalancerUids=[balancer_id])],
                [],
            ),
        }

    def test_load_balancer(self, built):
        (balancer,) = built.of("LoadBalancer").values()
        droplets = [1001 + built.position("Droplet", name) for name in ("app-1", "app-2")]
        assert balancer == {
            "name": "seawall-lab",
            "region": "fra1",
            "vpcUuid": str(1001 + built.position("Vpc", "vpc")),
            "dropletIds": droplets,
            "forwardingRules": [
                {
                    "entryProtocol": "http2",
                    "entryPort": 443,
                    "targetProtocol": "https",
                    "targetPort": 443,
                    "certificateName": built.of("Certificate")["site"]["name"],
                },
                {"entryProtocol": "http", "entryPort": 80, "targetProtocol": "http", "targetPort": 80},
            ],
            "redirectHttpToHttps": True,
            "tlsCipherPolicy": "STRONG",
            "healthcheck": {
                "protocol": "https",
                "port": 443,
                "path": "/healthz",
                "checkIntervalSeconds": 5,
                "responseTimeoutSeconds": 3,
                "unhealthyThreshold": 3,
                "healthyThreshold": 2,
            },
            "httpIdleTimeoutSeconds": 60,
            "enableBackendKeepalive": True,
        }

    def test_droplets(self, built):
        found = built.of("Droplet")
        assert sorted(found) == ["app-1", "app-2", "logs-1"]
        assert {k: v for k, v in found["app-1"].items() if k not in ("userData", "vpcUuid")} == {
            "name": "app-1",
            "region": "fra1",
            "size": "s-1vcpu-1gb",
            "image": "debian-12-x64",
            "sshKeys": ["aa:bb"],
            "tags": ["seawall-lab", "seawall-lab-app"],
            "dropletAgent": False,
        }
        assert found["logs-1"]["tags"] == ["seawall-lab", "seawall-lab-logs"]

    def test_outputs(self, built):
        found = built.outputs
        assert found["url"] == "https://app.seawall.test"
        assert found["loadbalancer_ip"] == "203.0.113.200"
        assert (found["admin_user"], found["ssh_port"], found["stack"]) == ("ops", 2222, "lab")
        number = 1001 + built.position("Droplet", "logs-1")
        assert found["droplets"]["logs-1"] == {
            "id": str(number),
            "public_ip": f"203.0.113.{number - 1000}",
            "private_ip": f"10.20.0.{number - 1000}",
            "tier": "logs",
            "scope": "connected",
            "serves": ["logs"],
            "image": "debian-12-x64",
            "region": "fra1",
            "size": "s-1vcpu-1gb",
            "first_contact_host_key": HOST_PUBLIC,
        }
        assert found["flows"][1] == {
            "from": "loadbalancer",
            "to": "app",
            "ports": ["443/tcp"],
            "reason": "TLS to the application",
            "owner": "platform",
            "reviewBy": "2027-06-30",
        }


class TestFirstBoot:
    def document(self, built, name="app-1"):
        text = built.of("Droplet")[name]["userData"]
        assert text.startswith("#cloud-config\n")
        return yaml.safe_load(text)

    def test_port_22_and_root_never_answer(self, built):
        document = self.document(built)
        assert document["disable_root"] is True
        assert document["ssh_pwauth"] is False
        (file,) = document["write_files"]
        assert file["path"] == "/etc/ssh/sshd_config.d/00-seawall-first-contact.conf"
        assert file["permissions"] == "0600"
        assert {"Port 2222", "PermitRootLogin no", "AuthenticationMethods publickey"} <= set(
            file["content"].splitlines()
        )
        assert "ssh.socket" in document["bootcmd"][0]

    def test_the_administrators_and_nobody_else(self, built, tmp_path):
        key = (tmp_path / "ssh" / "id_ed25519.pub").read_text().strip()
        assert self.document(built)["users"] == [
            {
                "name": "ops",
                "groups": ["sshusers"],
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": [key],
            }
        ]

    def test_the_same_settings_give_the_same_bytes(self, built, values, monkeypatch, tmp_path):
        again = run(values, monkeypatch, tmp_path)
        assert again.of("Droplet")["app-1"]["userData"] == built.of("Droplet")["app-1"]["userData"]


class TestNever:
    """What must not be true of any stack."""

    def test_a_port_open_to_the_world(self, built):
        for wall in built.of("Firewall").values():
            for rule in wall.get("inboundRules", []):
                assert not any(source.endswith("/0") for source in rule.get("sourceAddresses", [])), rule

    def test_a_secret_in_user_data_but_the_one_use_host_key(self, built, tmp_path):
        secrets = [(tmp_path / "tls" / "site.key").read_text().splitlines()[1]]
        for droplet in built.of("Droplet").values():
            document = yaml.safe_load(droplet["userData"])
            assert document.pop("ssh_keys") == {
                "ed25519_private": HOST_PRIVATE,
                "ed25519_public": HOST_PUBLIC,
            }
            rest = yaml.safe_dump(document)
            assert "PRIVATE" not in rest
            assert not any(secret in rest for secret in secrets)
            assert "password" not in rest.replace("PasswordAuthentication no", "").lower()

    def test_a_droplet_before_its_firewall_or_without_one(self, built):
        for name, droplet in built.of("Droplet").items():
            walls = [
                wall for wall, its in built.of("Firewall").items() if set(its["tags"]) & set(droplet["tags"])
            ]
            before = [
                wall for wall in walls if built.position("Firewall", wall) < built.position("Droplet", name)
            ]
            assert before, name
            assert any(built.of("Firewall")[wall].get("outboundRules") for wall in before), name

    def test_a_rule_without_a_flow(self, values, monkeypatch, tmp_path):
        """Each flow left out takes its rules with it; those that others need are refused (test_infra_settings)."""
        values["flows"] = [flow for flow in values["flows"] if flow["to"] != "logs"]
        values["tiers"]["logs"]["serves"] = []
        for wall in run(values, monkeypatch, tmp_path).of("Firewall").values():
            rules = wall.get("inboundRules", []) + wall.get("outboundRules", [])
            assert "6514" not in [rule["portRange"] for rule in rules]

    def test_members_by_tag_or_from_a_tier_that_gets_no_traffic(self, built):
        (balancer,) = built.of("LoadBalancer").values()
        assert "dropletTag" not in balancer
        assert 1001 + built.position("Droplet", "logs-1") not in balancer["dropletIds"]

    def test_a_secret_among_the_outputs(self, built):
        assert "PRIVATE" not in str(built.outputs)

    def test_anything_created_after_a_refusal(self, values, monkeypatch, tmp_path):
        values["trustedRanges"] = ["0.0.0.0/0"]
        made = []
        monkeypatch.setattr("infra_support.Run.new_resource", lambda self, args: made.append(args.name))
        with pytest.raises(pulumi.RunError, match=r"^Settings of stack lab .* nothing was created\.\n  1\. "):
            run(values, monkeypatch, tmp_path)
        assert made == []


class TestOtherStacks:
    def test_only_administrators_reach_a_load_balancer_that_says_so(self, values, monkeypatch, tmp_path):
        values["flows"][0]["from"] = "administrators"
        (balancer,) = run(values, monkeypatch, tmp_path).of("LoadBalancer").values()
        assert balancer["firewall"] == {"allows": [f"cidr:{OUTSIDE}"]}

    def test_lets_encrypt(self, values, monkeypatch, tmp_path):
        values["certificate"] = {"kind": "letsEncrypt", "domains": ["app.seawall.test"]}
        site = run(values, monkeypatch, tmp_path).of("Certificate")["site"]
        assert (site["type"], site["domains"]) == ("lets_encrypt", ["app.seawall.test"])
        assert "privateKey" not in site

    def test_another_certificate_has_another_name(self, built, values, monkeypatch, tmp_path):
        certificate(tmp_path / "tls", "app.seawall.test")
        again = run(values, monkeypatch, tmp_path)
        assert again.of("Certificate")["site"]["name"] != built.of("Certificate")["site"]["name"]

    def test_keys_that_the_account_has_already(self, values, monkeypatch, tmp_path):
        values["administrators"][0]["registered"] = True
        found = run(values, monkeypatch, tmp_path)
        assert found.of("SshKey") == {}
        (fingerprint,) = found.of("Droplet")["app-1"]["sshKeys"]
        assert len(fingerprint.split(":")) == 16

    def test_more_rules_than_one_firewall_holds(self, values, monkeypatch, tmp_path):
        values["flows"] += [
            {"from": "app", "to": "app", "ports": [f"{port}/tcp"], "reason": "Cluster", "owner": "platform"}
            for port in range(9000, 9100, 2)
        ]
        walls = run(values, monkeypatch, tmp_path).of("Firewall")
        sizes = {
            name: len(wall.get("inboundRules", [])) + len(wall.get("outboundRules", []))
            for name, wall in walls.items()
        }
        assert sizes == {"app": 50, "app-2": 50, "app-3": 6, "logs": 7, "app-loadbalancer": 1}

    def test_a_preview_knows_what_it_can(self, values, monkeypatch, tmp_path):
        assert "app-1" in run(values, monkeypatch, tmp_path, preview=True).of("Droplet")
