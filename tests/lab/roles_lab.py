"""Droplets for the roles' tests, made as `infra/` makes them: through the lab's API, with first-contact user data.

Two web hosts and a collector in one VPC, a cloud firewall on app-2 alone, and a hand-written inventory with the
variables that the inventory plugin gives.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from lab import control, instance
from lab.network import router
from tests.lab.roles_host import Host

TIERS = {"app-1": "web", "app-2": "web", "logs-1": "logs"}
MIXED = bool(os.environ.get("SEAWALL_SOAK"))
"""Whether app-2 differs from the others: Debian 13, its sshd started by a socket."""
VPC = "10.77.0.0/20"
WORLD = ["0.0.0.0/0", "::/0"]
ADMITTED = ("2222", "443", "9000-9010")
"""What app-2's cloud firewall admits: more than the host's own should, which then is the only one to refuse it."""
RESOLVERS = ["67.207.67.2/32", "67.207.67.3/32"]

USER_DATA = """#cloud-config
groups: [sshusers]
users:
  - name: ops
    ssh_authorized_keys: ["{administrator}"]
    sudo: "ALL=(ALL) NOPASSWD:ALL"
    shell: /bin/bash
    groups: [sshusers]
disable_root: true
ssh_pwauth: false
ssh_deletekeys: true
ssh_keys:
  ed25519_private: |
{private}
  ed25519_public: "{public}"
write_files:
  - path: /etc/ssh/sshd_config.d/00-seawall-first-contact.conf
    content: "Port 2222\\nPermitRootLogin no\\nPasswordAuthentication no\\n"
"""

BY_SOCKET = """  - path: /etc/systemd/system/ssh.socket.d/port.conf
    content: "[Socket]\\nListenStream=\\nListenStream=2222\\n"
runcmd:
  - systemctl disable --now ssh.service
  - systemctl enable --now ssh.socket
"""
"""Appended to the user data: systemd listens and starts sshd when somebody comes, as on Ubuntu from 22.10 on. There a
generator makes the drop-in from sshd's Port at each boot."""


_numbers = itertools.count()


class RolesLab:
    """A running lab with the droplets of ``tiers``; ``inventory`` is the file to give to Ansible."""

    def __init__(
        self, scratch: Path, tiers: dict[str, str], own_kernel: frozenset[str] = frozenset()
    ) -> None:
        """``own_kernel``: the droplets that are virtual machines."""
        self.directory, self.tiers, self.own_kernel = scratch, tiers, own_kernel
        self.instance = f"test-roles-{os.getpid()}-{next(_numbers)}"
        self.inventory = scratch / "inventory.json"
        self.key = _keypair(scratch / "administrator")
        self.host_keys = {name: _keypair(scratch / f"host-{name}") for name in self.tiers}
        token = "dop_v1_" + secrets.token_hex(32)
        fd = os.open(scratch / "token", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(fd, "w") as out:
            out.write(token)
        self.lab = control.start(self.instance, scratch / "token")
        self.api = httpx.Client(
            base_url=self.lab["api"], headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def build(self) -> None:
        """Create the droplets and wait until each answers; then write the inventory."""
        network = {"name": "roles", "region": "fra1", "ip_range": VPC}
        vpc = self.api.post("/v2/vpcs", json=network).raise_for_status().json()["vpc"]["id"]
        self.ids = {name: self._create(name, vpc) for name in self.tiers}
        addresses = {name: self._addresses(name) for name in self.tiers}
        hosts = {name: self._variables(name, addresses) for name in self.tiers}
        groups = {
            "web": {"hosts": {name: {} for name, serves in self.tiers.items() if serves == "web"}},
            "collectors": {"hosts": {name: {} for name, serves in self.tiers.items() if serves == "logs"}},
        }
        self.inventory.write_text(json.dumps({"all": {"hosts": hosts, "children": groups}}))
        if "app-2" in self.tiers:
            self._put_behind_a_firewall("app-2")

    def host(self, name: str) -> Host:
        """A droplet as the tests use it."""
        return Host(name, self.inventory, self.directory, restart=lambda: self.restart(name))

    @contextlib.contextmanager
    def lossy(self, percent: int) -> Iterator[None]:
        """Packets are lost between the droplets and everybody else, each way, while the block runs."""
        region = instance.find(self.instance).namespace("fra1")
        router.lose(region, percent)
        try:
            yield
        finally:
            router.lose(region, 0)

    def restart(self, name: str) -> None:
        """Reboot a droplet as its owner would, through the API; returns once that has been done."""
        body = {"type": "reboot"}
        action = (
            self.api.post(f"/v2/droplets/{self.ids[name]}/actions", json=body)
            .raise_for_status()
            .json()["action"]
        )
        deadline = time.monotonic() + 90
        while (
            status := self.api.get(f"/v2/actions/{action['id']}").json()["action"]["status"]
        ) == "in-progress":
            assert time.monotonic() < deadline, f"{name} has not restarted after 90 s"
            time.sleep(0.2)
        assert status == "completed", status

    def _create(self, name: str, vpc: str) -> int:
        host_key = self.host_keys[name]
        private = "".join(f"    {line}\n" for line in host_key.read_text().splitlines()).rstrip()
        data = USER_DATA.format(administrator=_public(self.key), private=private, public=_public(host_key))
        size = "c-2" if name in self.own_kernel else "s-1vcpu-1gb"
        droplet = {"name": name, "region": "fra1", "size": size, "image": "debian-12-x64"}
        if MIXED and name == "app-2":
            droplet["image"], data = "debian-13-x64", data + BY_SOCKET
        body = {**droplet, "vpc_uuid": vpc, "user_data": data}
        return self.api.post("/v2/droplets", json=body).raise_for_status().json()["droplet"]["id"]

    def _put_behind_a_firewall(self, name: str) -> None:
        """A cloud firewall that admits ``ADMITTED`` and lets everything out; returns once it stands."""
        inbound = [{"protocol": "tcp", "ports": ports, "sources": {"addresses": WORLD}} for ports in ADMITTED]
        outbound = [
            {"protocol": protocol, "ports": "0", "destinations": {"addresses": WORLD}}
            for protocol in ("tcp", "udp")
        ]
        body = {
            "name": name,
            "droplet_ids": [self.ids[name]],
            "inbound_rules": inbound,
            "outbound_rules": outbound,
        }
        wall = self.api.post("/v2/firewalls", json=body).raise_for_status().json()["firewall"]["id"]
        deadline = time.monotonic() + 30
        while self.api.get(f"/v2/firewalls/{wall}").json()["firewall"]["pending_changes"]:
            assert time.monotonic() < deadline, f"the firewall of {name} has not settled after 30 s"
            time.sleep(0.2)

    def _addresses(self, name: str) -> dict[str, str]:
        """public and private address, once the droplet is up and an administrator gets in."""
        patience = (
            3600 if name in self.own_kernel else 600
        )  # an emulated processor, on a machine that does much else
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            droplet = self.api.get(f"/v2/droplets/{self.ids[name]}").raise_for_status().json()["droplet"]
            found = {each["type"]: each["ip_address"] for each in droplet["networks"]["v4"]}
            if droplet["status"] == "active" and self._gets_in(found["public"]):
                return found
            time.sleep(0.5)
        raise AssertionError(f"{name} does not answer on port 2222 within {patience} s")

    def _gets_in(self, address: str) -> bool:
        options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "BatchMode=yes",
            "ConnectTimeout=3",
        ]
        argv = ["ssh", "-q", "-i", str(self.key), *(word for one in options for word in ("-o", one))]
        argv += ["-p", "2222", f"ops@{address}", "sudo cloud-init status --wait || [ $? = 2 ]"]
        return subprocess.run(argv, capture_output=True, timeout=120, check=False).returncode == 0

    def _variables(self, name: str, addresses: dict[str, dict[str, str]]) -> dict:
        aliases = {each: f"{each}.{self.ids[each]}" for each in self.tiers}
        collector = addresses["logs-1"]["private"]
        senders = [each for each, serves in self.tiers.items() if serves == "web"]
        rules = [
            _rule("in", "tcp", "2222", [self.lab["outside"]], "administration"),
            _rule("out", "tcp", "80", WORLD, "packages"),
            _rule("out", "tcp", "443", WORLD, "packages"),
            _rule("out", "udp", "53", RESOLVERS, "names"),
            _rule("out", "tcp", "53", RESOLVERS, "names"),
        ]
        if self.tiers[name] == "web":
            rules += [_rule("in", "tcp", "443", [VPC], "TLS to the application")]
            rules += [_rule("out", "tcp", "6514", [f"{collector}/32"], "log lines")]
        else:
            rules += [
                _rule(
                    "in", "tcp", "6514", [f"{addresses[each]['private']}/32" for each in senders], "log lines"
                )
            ]
        known = self.directory / "known_hosts"
        return {
            "ansible_host": addresses[name]["public"],
            "ansible_port": 2222,
            "ansible_user": "ops",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": f"-o HostKeyAlias={aliases[name]} -o UserKnownHostsFile={known} "
            "-o StrictHostKeyChecking=yes",
            "seawall_name": name,
            "seawall_tier": name.partition("-")[0],
            "seawall_serves": [self.tiers[name]],
            "seawall_private_ip": addresses[name]["private"],
            "seawall_public_ip": addresses[name]["public"],
            "seawall_vpc_range": VPC,
            "seawall_host_key_alias": aliases[name],
            "seawall_first_contact_host_key": _public(self.host_keys[name]),
            "seawall_trusted_ranges": [self.lab["outside"]],
            "sshd_port": 2222,
            "accounts_administrators": [{"name": "ops", "public_keys": [_public(self.key)]}],
            "ufw_rules": rules,
            "rsyslog_collector_address": collector,
            "rsyslog_collector_name": aliases["logs-1"],
            "rsyslog_clients": [aliases[each] for each in senders],
            "expected_listeners": [],
        }


@contextlib.contextmanager
def running(
    scratch: Path, tiers: dict[str, str] = TIERS, own_kernel: frozenset[str] = frozenset()
) -> Iterator[RolesLab]:
    """A lab for as long as the block runs; nothing of it is left afterwards. ``own_kernel``: see `RolesLab`."""
    lab = RolesLab(scratch, tiers, own_kernel)
    try:
        lab.build()
        yield lab
    finally:
        left = control.purge(lab.instance)
        assert left == [], left


def _rule(direction: str, protocol: str, ports: str, addresses: list[str], comment: str) -> dict:
    return {
        "direction": direction,
        "protocol": protocol,
        "ports": ports,
        "addresses": addresses,
        "comment": comment,
    }


def _keypair(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path


def _public(path: Path) -> str:
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])
