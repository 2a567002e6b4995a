"""The Pulumi stack's droplets as an Ansible inventory.

Host variables are the stack's outputs, and what infra/flows.py derives from its flows: each host's own firewall
rules and the ports it is expected to listen on come from the same list as the cloud's.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

CHECKOUT = Path(__file__).resolve().parents[2]
if str(CHECKOUT) not in sys.path:
    sys.path.append(str(CHECKOUT))

from infra import reach, scope  # noqa: E402
from infra.flows import LOGS_PORT, Flow, Flows, Host, Port  # noqa: E402
from infra.groups import groups  # noqa: E402

DOCUMENTATION = """
name: seawall_stack
short_description: Droplets of a Seawall stack
description:
  - Reads the outputs of the Pulumi stack (C(pulumi stack output --json), run in the checkout).
  - Groups are the tiers, C(web) and C(collectors) by what tiers serve, and C(region_SLUG).
  - Pulumi's backend and passphrase come from the environment, as C(seawall env) prints it.
options:
  plugin:
    description: This plugin's name.
    required: true
    choices: [seawall_stack]
  stack:
    description: The stack's name. Without it, Pulumi's own choice (the variable, else the selected stack).
    type: str
    env: [{name: PULUMI_STACK}]
  outputs_file:
    description: A JSON file with the outputs, read instead of asking Pulumi; relative to the checkout.
    type: str
    env: [{name: SEAWALL_OUTPUTS_FILE}]
"""

EXAMPLES = """
plugin: seawall_stack
stack: prod
"""


class InventoryModule(BaseInventoryPlugin):
    """A host a droplet."""

    NAME = "seawall_stack"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith(("seawall.yml", "seawall.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        outputs = self._outputs()
        if not outputs.get("droplets"):
            raise AnsibleParserError(
                "The stack has no droplets: it does not stand, or was taken down. `seawall up` (or `pulumi up`) "
                "creates them."
            )
        directory = Path(os.environ.get("SEAWALL_DIR") or CHECKOUT / ".seawall").absolute()
        for name, variables in host_variables(outputs, directory).items():
            inventory.add_host(name)
            for key, value in variables.items():
                inventory.set_variable(name, key, value)
            droplet = outputs["droplets"][name]
            for group in groups(droplet["tier"], droplet["serves"], droplet["region"]):
                inventory.add_group(group)
                inventory.add_child(group, name)

    def _outputs(self) -> dict[str, Any]:
        if file := self.get_option("outputs_file"):
            try:
                return json.loads((CHECKOUT / file).read_text())
            except (OSError, ValueError) as error:
                raise AnsibleParserError(f"The outputs file {file} can't be read: {error}") from None
        stack = self.get_option("stack")
        command = [
            "pulumi",
            "stack",
            "output",
            "--json",
            "--non-interactive",
            *(["--stack", stack] if stack else []),
        ]
        try:
            answer = subprocess.run(
                command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
            )
        except FileNotFoundError:
            raise AnsibleParserError(
                'pulumi is not on PATH, so nobody can say which droplets there are. `eval "$(seawall env)"` sets '
                "PATH and all else."
            ) from None
        except subprocess.TimeoutExpired:
            raise AnsibleParserError(f"`{shlex.join(command)}` did not end within 120 seconds.") from None
        if answer.returncode:
            raise AnsibleParserError(
                f"No stack could be read: `{shlex.join(command)}` said: {answer.stderr.strip()}. Is one up, and has "
                'this shell its environment (`eval "$(seawall env)"`)?'
            )
        return json.loads(answer.stdout)


def host_variables(outputs: Mapping[str, Any], directory: Path) -> dict[str, dict[str, Any]]:
    """Every host's variables, from the stack's outputs. ``directory`` is Seawall's own (known_hosts, ssh/)."""
    droplets = outputs["droplets"]
    hosts = [Host(name, droplet["tier"], droplet["private_ip"]) for name, droplet in sorted(droplets.items())]
    flows = Flows(
        tuple(Flow.model_validate(flow) for flow in outputs["flows"]),
        tuple(outputs["tiers"]),
        tuple(outputs["trusted_ranges"]),
        outputs["vpc_range"],
    )
    aliases = {name: f"{name}.{droplet['id']}" for name, droplet in droplets.items()}
    scopes, ways = scope.of_outputs(outputs), reach.ways(outputs)
    administrators = [{"name": name, "public_keys": keys} for name, keys in outputs["administrators"].items()]
    collector = next((host for host in hosts if "logs" in droplets[host.name]["serves"]), None)
    identity = directory / "ssh" / "id_ed25519"

    behind = [host for host in hosts if ways[host.name].jump]

    def arguments(host: Host) -> str:
        ours, through = _ssh_options(aliases[host.name], directory, identity), ways[host.name].jump
        if through:
            options = _ssh_options(aliases[through], directory, identity)
            key = str(identity) if identity.exists() else None
            at = (ways[through].address, outputs["ssh_port"], outputs["admin_user"])
            ours["ProxyCommand"] = reach.jump(*at, options, key)
        return " ".join(f"-o {name}={shlex.quote(value)}" for name, value in ours.items())

    def administering(host: Host) -> list[str]:
        """The ranges from which sshd may be reached: the administrators', or the bastion's address."""
        if through := ways[host.name].jump:
            declared = [Flow.model_validate(flow) for flow in outputs["flows"]]
            itself = reach.administered(declared, host.tier, int(outputs["ssh_port"]))
            return [f"{droplets[through]['private_ip']}/32", *(outputs["trusted_ranges"] if itself else [])]
        return outputs["trusted_ranges"]

    def variables(host: Host) -> dict[str, Any]:
        droplet = droplets[host.name]
        found = {
            "ansible_host": ways[host.name].address,
            "ansible_port": outputs["ssh_port"],
            "ansible_user": outputs["admin_user"],
            "ansible_ssh_common_args": arguments(host),
            "seawall_name": host.name,
            "seawall_tier": host.tier,
            "seawall_serves": droplet["serves"],
            "seawall_scope": scopes[host.tier].scope,
            "seawall_private_ip": host.private_ip,
            "seawall_public_ip": droplet["public_ip"],
            "seawall_vpc_range": outputs["vpc_range"],
            "seawall_host_key_alias": aliases[host.name],
            "seawall_first_contact_host_key": droplet["first_contact_host_key"],
            "seawall_trusted_ranges": administering(host),
            "sshd_port": outputs["ssh_port"],
            "accounts_administrators": administrators,
            "ufw_rules": [
                {
                    "direction": rule.direction,
                    "protocol": rule.protocol,
                    "ports": rule.ports,
                    "addresses": list(rule.addresses),
                    "comment": rule.comment,
                }
                for rule in flows.host_rules(host, hosts)
            ],
            "expected_listeners": [_listener(port) for port in flows.listeners(host.tier)],
        }
        if identity.exists():
            found["ansible_ssh_private_key_file"] = str(identity)
        if through := ways[host.name].jump:
            found["seawall_jump"] = through
        if host.name == outputs.get("bastion"):
            found["sshd_jump_targets"] = [f"{each.private_ip}:{outputs['ssh_port']}" for each in behind]
        if collector:
            found |= {
                "rsyslog_collector_address": collector.private_ip,
                "rsyslog_collector_name": aliases[collector.name],
            }
            if "logs" in droplet["serves"]:
                found["rsyslog_clients"] = [aliases[name] for name in _senders(flows, hosts, host)]
        return found

    return {host.name: variables(host) for host in hosts}


def _senders(flows: Flows, hosts: list[Host], collector: Host) -> list[str]:
    """The hosts that a flow lets deliver their logs to ``collector``."""
    port = Port.parse(LOGS_PORT)
    tiers = {
        source
        for source, target, declared in flows.reachable()
        if target == collector.tier and declared.covers(port.protocol, port.first)
    }
    return [host.name for host in hosts if host.tier in tiers and host.name != collector.name]


def _listener(port: Port) -> dict[str, Any]:
    """``last`` is there for a range only: then somewhere within it something may listen."""
    single = {"protocol": port.protocol, "port": port.first}
    return single if port.first == port.last else single | {"last": port.last}


def _ssh_options(alias: str, directory: Path, identity: Path) -> dict[str, str]:
    """A droplet is known by a name that holds its id: an address may be used again, an id never is."""
    options = {
        "HostKeyAlias": alias,
        "UserKnownHostsFile": str(directory / "known_hosts"),
        "StrictHostKeyChecking": "yes",
        "ForwardAgent": "no",
    }
    return options | ({"IdentitiesOnly": "yes"} if identity.exists() else {})
