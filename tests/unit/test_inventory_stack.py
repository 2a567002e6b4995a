"""The inventory of a stack, against one written by hand."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from seawall.connection import routes

CHECKOUT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location(
    "seawall_stack", CHECKOUT / "inventory/plugins/seawall_stack.py"
)
seawall_stack = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(seawall_stack)


def droplet(number, tier, serves=()):
    return {
        "id": str(4710 + number),
        "public_ip": f"203.0.113.{number}",
        "private_ip": f"10.20.0.{number}",
        "tier": tier,
        "serves": list(serves),
        "image": "debian-12-x64",
        "region": "fra1",
        "size": "s-1vcpu-1gb",
        "first_contact_host_key": f"ssh-ed25519 AAAA{number}",
    }


def flow(source, target, ports, reason):
    return {
        "from": source,
        "to": target,
        "ports": ports,
        "reason": reason,
        "owner": "ops",
        "reviewBy": "2027-06-30",
    }


OUTPUTS = {
    "admin_user": "ops",
    "ssh_port": 2222,
    "vpc_range": "10.20.0.0/20",
    "trusted_ranges": ["198.51.100.7/32"],
    "administrators": {"ops": ["ssh-ed25519 AAAAops"]},
    "tiers": {"app": {}, "pay-ment": {}, "logs": {}},
    "flows": [
        flow("loadbalancer", "app", ["443/tcp"], "TLS to the application"),
        flow("administrators", "all", ["2222/tcp"], "Administration over SSH"),
        flow("all", "logs", ["6514/tcp"], "Logs"),
        flow("app", "pay-ment", ["8000-8010/tcp"], "Payments"),
    ],
    "droplets": {
        "app-1": droplet(2, "app", ["web"]),
        "app-2": droplet(3, "app", ["web"]),
        "pay-ment-1": droplet(4, "pay-ment"),
        "logs-1": droplet(5, "logs", ["logs"]),
    },
}


def rule(direction, ports, addresses, comment):
    return {
        "direction": direction,
        "protocol": "tcp",
        "ports": ports,
        "addresses": addresses,
        "comment": comment,
    }


SSH = rule("in", "2222", ["198.51.100.7/32"], "Administration over SSH")


@pytest.fixture
def directory(tmp_path):
    return tmp_path


def test_a_web_server(directory):
    assert seawall_stack.host_variables(OUTPUTS, directory)["app-1"] == {
        "ansible_host": "203.0.113.2",
        "ansible_port": 2222,
        "ansible_user": "ops",
        "ansible_ssh_common_args": f"-o HostKeyAlias=app-1.4712 -o UserKnownHostsFile={directory}/known_hosts "
        "-o StrictHostKeyChecking=yes -o ForwardAgent=no",
        "seawall_name": "app-1",
        "seawall_tier": "app",
        "seawall_serves": ["web"],
        "seawall_scope": "in",
        "seawall_private_ip": "10.20.0.2",
        "seawall_public_ip": "203.0.113.2",
        "seawall_vpc_range": "10.20.0.0/20",
        "seawall_host_key_alias": "app-1.4712",
        "seawall_first_contact_host_key": "ssh-ed25519 AAAA2",
        "seawall_trusted_ranges": ["198.51.100.7/32"],
        "sshd_port": 2222,
        "accounts_administrators": [{"name": "ops", "public_keys": ["ssh-ed25519 AAAAops"]}],
        "ufw_rules": [
            rule("in", "443", ["10.20.0.0/20"], "TLS to the application"),
            SSH,
            rule("out", "6514", ["10.20.0.5/32"], "Logs"),
            rule("out", "8000:8010", ["10.20.0.4/32"], "Payments"),
        ],
        "expected_listeners": [{"protocol": "tcp", "port": 443}, {"protocol": "tcp", "port": 2222}],
        "rsyslog_collector_address": "10.20.0.5",
        "rsyslog_collector_name": "logs-1.4715",
    }


def test_a_collector(directory):
    found = seawall_stack.host_variables(OUTPUTS, directory)["logs-1"]
    assert found["rsyslog_clients"] == ["app-1.4712", "app-2.4713", "pay-ment-1.4714"]
    assert found["ufw_rules"] == [
        SSH,
        rule("in", "6514", ["10.20.0.2/32", "10.20.0.3/32", "10.20.0.4/32"], "Logs"),
    ]
    assert found["expected_listeners"] == [
        {"protocol": "tcp", "port": 2222},
        {"protocol": "tcp", "port": 6514},
    ]


def test_a_range_of_listeners(directory):
    found = seawall_stack.host_variables(OUTPUTS, directory)["pay-ment-1"]
    assert {"protocol": "tcp", "port": 8000, "last": 8010} in found["expected_listeners"]


def test_the_labs_own_key_is_used_where_it_is(directory):
    (directory / "ssh").mkdir()
    (directory / "ssh" / "id_ed25519").touch(mode=0o600)
    found = seawall_stack.host_variables(OUTPUTS, directory)["app-1"]
    assert found["ansible_ssh_private_key_file"] == f"{directory}/ssh/id_ed25519"
    assert found["ansible_ssh_common_args"].endswith("-o IdentitiesOnly=yes")


def test_behind_a_bastion(directory):
    """A droplet without a public address is reached through the bastion, which lets jump there and nowhere else."""
    outputs = OUTPUTS | {
        "bastion": "app-1",
        "flows": [
            *OUTPUTS["flows"],
            flow("app", "pay-ment", ["2222/tcp"], "Administration out of the bastion"),
        ],
        "droplets": OUTPUTS["droplets"] | {"pay-ment-1": droplet(4, "pay-ment") | {"public_ip": ""}},
    }
    outputs["flows"][1] = flow("administrators", "app", ["2222/tcp"], "Administration over SSH")
    found = seawall_stack.host_variables(outputs, directory)
    inner, bastion = found["pay-ment-1"], found["app-1"]
    assert inner["ansible_host"] == "10.20.0.4"
    assert inner["seawall_jump"] == "app-1"
    assert inner["seawall_trusted_ranges"] == ["10.20.0.2/32"]
    assert (
        rule("in", "2222", ["10.20.0.2/32", "10.20.0.3/32"], "Administration out of the bastion")
        in inner["ufw_rules"]
    )
    words = shlex.split(inner["ansible_ssh_common_args"])
    proxy = shlex.split(next(word for word in words if word.startswith("ProxyCommand=")).partition("=")[2])
    assert proxy[:7] == ["ssh", "-W", "[%h]:%p", "-p", "2222", "-l", "ops"]
    assert "HostKeyAlias=app-1.4712" in proxy
    assert proxy[-1] == "203.0.113.2"
    assert bastion["ansible_host"] == "203.0.113.2"
    assert bastion["seawall_trusted_ranges"] == ["198.51.100.7/32"]
    # logs-1 and app-2 have public addresses, but no flow lets the administrators reach logs-1.
    assert bastion["sshd_jump_targets"] == ["10.20.0.5:2222", "10.20.0.4:2222"]
    assert "sshd_jump_targets" not in inner
    (route,) = [each for name, each in routes(found).items() if name == "pay-ment-1"]
    assert (route.address, route.jump and route.jump.name) == ("10.20.0.4", "app-1")


def ansible(outputs, tmp_path, *arguments):
    """`ansible-inventory` as a user types it, on the inventory in git."""
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps(outputs))
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-inventory", "-i", "inventory/seawall.yml", *arguments],
        cwd=CHECKOUT,
        env=os.environ | {"SEAWALL_OUTPUTS_FILE": str(file), "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_groups(tmp_path):
    answer = ansible(OUTPUTS, tmp_path, "--list")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert {name: sorted(found[name]["hosts"]) for name in found if name not in ("_meta", "all")} == {
        "app": ["app-1", "app-2"],
        "collectors": ["logs-1"],
        "logs": ["logs-1"],
        "pay_ment": ["pay-ment-1"],
        "region_fra1": ["app-1", "app-2", "logs-1", "pay-ment-1"],
        "web": ["app-1", "app-2"],
    }


def test_no_stack_is_an_error_that_says_so(tmp_path):
    answer = ansible({}, tmp_path, "--graph")
    assert "The stack has no droplets" in answer.stderr


def test_the_static_example_gives_roles_what_the_stack_gives_them(directory):
    example = yaml.safe_load((CHECKOUT / "inventory/static.yml.example").read_text())["all"]
    children = example["children"]
    for name, host in (children["web"]["hosts"] | children["collectors"]["hosts"]).items():
        expected = set(seawall_stack.host_variables(OUTPUTS, directory)[name])
        assert expected - set(host) - set(example["vars"]) == set()
