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

    def test_evidence_store(self, built):
        (bucket,) = built.of("SpacesBucket").values()
        assert bucket == {
            "name": "seawall-lab-evidence",
            "region": "fra1",
            "acl": "private",
            "versioning": {"enabled": True},
            "lifecycleRules": [
                {
                    "id": "evidence",
                    "enabled": True,
                    "abortIncompleteMultipartUploadDays": 7,
                    "noncurrentVersionExpiration": {"days": 396},
                }
            ],
        }
        (key,) = built.of("SpacesKey").values()
        assert key["grants"] == [{"bucket": "seawall-lab-evidence", "permission": "readwrite"}]

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


class TestHardening:
    def test_one_a_droplet_once_all_stand(self, built):
        found = built.of("Hardening")
        assert sorted(found) == ["app-1", "app-2", "logs-1"]
        last = max(built.position("Droplet", name) for name in found)
        assert all(built.position("Hardening", name) > last for name in found)

    def test_the_load_balancer_waits_for_it(self, built):
        door = built.position("LoadBalancer", "loadbalancer")
        assert all(built.position("Hardening", name) < door for name in ("app-1", "app-2"))

    def test_what_a_host_is_hardened_by(self, built):
        found = built.of("Hardening")
        everywhere = {"packages", "sshd", "ufw", "accounts", "rsyslog_client", "playbook", "plugins"}
        assert everywhere <= set(found["app-1"]["roles"]) & set(found["logs-1"]["roles"])
        only = {"nginx_tls": "app-1", "example_app": "app-1", "rsyslog_collector": "logs-1"}
        for role, name in only.items():
            assert [each for each, its in found.items() if role in its["roles"] and each != "app-2"] == [name]
        assert {"sshd", "nginx", "facts"} <= set(found["app-1"]["controls"])
        assert found["app-1"]["dropletId"] == str(1001 + built.position("Droplet", "app-1"))

    def test_a_host_knows_of_those_it_talks_to(self, values, monkeypatch, tmp_path):
        values["tiers"]["db"] = {"count": 1, "size": "s-1vcpu-1gb", "image": "debian-12-x64"}
        values["tiers"]["batch"] = {"count": 1, "size": "s-1vcpu-1gb", "image": "debian-12-x64"}
        values["flows"].append(
            {"from": "app", "to": "db", "ports": ["5432/tcp"], "reason": "The database", "owner": "platform"}
        )
        found = run(values, monkeypatch, tmp_path).of("Hardening")
        known = {name: sorted(its["network"]["droplets"]) for name, its in found.items()}
        assert known == {
            "app-1": ["app-1", "app-2", "db-1", "logs-1"],
            "app-2": ["app-1", "app-2", "db-1", "logs-1"],
            "db-1": ["app-1", "app-2", "db-1", "logs-1"],
            "batch-1": ["batch-1", "logs-1"],
            "logs-1": ["app-1", "app-2", "batch-1", "db-1", "logs-1"],
        }

    def test_a_key_never_lies_in_it(self, built):
        assert "PRIVATE" not in str(built.of("Hardening"))

    def test_left_to_the_command_line(self, values, monkeypatch, tmp_path):
        built = run(values | {"harden": False}, monkeypatch, tmp_path)
        assert built.of("Hardening") == {}
        (balancer,) = built.of("LoadBalancer").values()
        assert balancer["dropletIds"] == [1001 + built.position("Droplet", f"app-{n}") for n in (1, 2)]

    def test_variables_beside_the_stack_count(self, monkeypatch, tmp_path):
        from infra import hardening

        monkeypatch.setattr(hardening, "CHECKOUT", tmp_path)
        for path, text in {
            "group_vars/all.yml": "sshd_banner: x\n",
            "group_vars/app/secret.yml": "$ANSIBLE_VAULT;1.1;AES256\n3738\n",
            "group_vars/logs.yml": "kept_days: 400\n",
            "host_vars/app-1.yml": "sshd_banner: y\nmotd: z\n",
        }.items():
            file = tmp_path / "inventory" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        one, two = (hardening.variables(name, ["app", "web"]) for name in ("app-1", "app-2"))
        assert sorted(one) == ["motd", "secret.yml", "sshd_banner"]
        assert sorted(two) == ["secret.yml", "sshd_banner"]
        assert one["sshd_banner"] != two["sshd_banner"]


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

    def test_the_proxy_protocol_has_a_port_of_its_own(self, values, monkeypatch, tmp_path):
        values["proxyProtocol"] = True
        values["flows"][1]["ports"] = ["443/tcp", "8443/tcp"]
        built = run(values, monkeypatch, tmp_path)
        (balancer,) = built.of("LoadBalancer").values()
        assert balancer["enableProxyProtocol"] is True
        assert balancer["forwardingRules"][0]["targetPort"] == balancer["healthcheck"]["port"] == 8443
        opened = built.of("Firewall")["app-loadbalancer"]["inboundRules"]
        assert [rule["portRange"] for rule in opened] == ["443", "8443"]

    def test_a_private_key_in_the_clear_is_refused(self, values, monkeypatch, tmp_path):
        values["certificate"]["privateKey"] = key = (tmp_path / "tls" / "site.key").read_text()
        with pytest.raises(pulumi.RunError, match="certificate has a private key in the clear") as refused:
            run(values, monkeypatch, tmp_path)
        assert key.splitlines()[1] not in str(refused.value)
        monkeypatch.setattr("infra.program.is_config_secret", lambda name: name == "seawall:certificate")
        assert run(values, monkeypatch, tmp_path).of("Certificate")["site"]["privateKey"]["value"] == key

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
