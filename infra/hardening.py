"""Hardening as a resource, one a droplet: what stands behind one has been hardened, and its controls passed.

The work is done by our own plugin (``infra/provider``). What it does it by are inputs here: the part of the network
that concerns a droplet, and digests of everything that decides what hardening leaves.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import yaml

from infra.droplets import Machine
from infra.groups import groups
from infra.settings import Settings

CHECKOUT = Path(__file__).resolve().parent.parent
ROLE_PARTS = ("defaults", "tasks", "templates", "files", "vars", "handlers")
SHARED = {
    "playbook": ["playbooks/harden.yml"],
    "plugins": [
        "plugins/modules",
        "plugins/module_utils",
        "plugins/action",
        "plugins/controller",
        "plugins/lookup",
    ],
}
"""What every role is run by, under the names that a preview shows beside the roles'."""


class Hardening(pulumi.CustomResource):
    """``droplet_id`` is known once the droplet is hardened and its controls passed: what needs that takes it here."""

    droplet_id: pulumi.Output[str]
    verification: pulumi.Output[dict[str, Any]]

    def __init__(self, name: str, properties: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__("seawall:index:Hardening", name, {**properties, "verification": None}, opts)

    def translate_input_property(self, prop: str) -> str:
        return {"droplet_id": "dropletId"}.get(prop, prop)

    def translate_output_property(self, prop: str) -> str:
        return {"dropletId": "droplet_id"}.get(prop, prop)


def create(
    settings: Settings, network: Mapping[str, Any], machines: Iterable[Machine]
) -> dict[str, Hardening]:
    """One a droplet, by its name. ``network``: the stack's outputs as far as they are about hosts."""
    machines = list(machines)
    # They begin when the last droplet stands, so that one Ansible run takes them all.
    begun = [machine.droplet for machine in machines]
    return {
        machine.name: Hardening(
            machine.name,
            {
                "name": machine.name,
                "droplet_id": machine.droplet.id,
                "network": concerning(settings, network, machine.tier),
                "roles": roles(settings.tiers[machine.tier].serves),
                "controls": controls(),
                "settings": variables(
                    machine.name,
                    groups(machine.tier, settings.tiers[machine.tier].serves, settings.region),
                ),
            },
            pulumi.ResourceOptions(depends_on=begun),
        )
        for machine in machines
    }


def concerning(settings: Settings, network: Mapping[str, Any], tier: str) -> dict[str, Any]:
    """``network`` with only those droplets of which a host of ``tier`` knows: its own tier's, those at the other end
    of its flows, the collectors and the bastion, which knows all."""
    peers = {permit.peer for permit in settings.derived.permits() if permit.tier == tier}
    near = {
        name
        for name, held in settings.tiers.items()
        if name in (tier, settings.bastion)
        or tier == settings.bastion
        or peers & {name, "all"}
        or "logs" in held.serves
    }
    droplets = {name: droplet for name, droplet in network["droplets"].items() if droplet["tier"] in near}
    return {**network, "droplets": droplets}


def roles(serves: Iterable[str]) -> dict[str, str]:
    """The digest of each role that a host is hardened by, and of what runs them."""
    (play,) = yaml.safe_load((CHECKOUT / "playbooks/harden.yml").read_text())
    named = [entry if isinstance(entry, dict) else {"role": entry} for entry in play["roles"]]
    wanted = [
        entry["role"]
        for entry in named
        if not (asked := re.search(r"'(\w+)' in seawall_serves", entry.get("when", ""))) or asked[1] in serves
    ]
    return {role: digest(*(f"roles/{role}/{part}" for part in ROLE_PARTS)) for role in wanted} | {
        name: digest(*paths) for name, paths in SHARED.items()
    }


def controls() -> dict[str, str]:
    """The digest of each file of controls, and of what they ask hosts by."""
    found = {
        path.stem.removeprefix("test_"): digest(str(path.relative_to(CHECKOUT)))
        for path in sorted((CHECKOUT / "tests/controls").glob("test_*.py"))
    }
    return found | {"facts": digest("seawall/facts")}


def variables(name: str, groups: Iterable[str]) -> dict[str, str]:
    """The digest of each variable set for a host beside the stack: in ``inventory/group_vars`` and ``host_vars``. A
    file that is encrypted counts as one variable."""
    found: dict[str, str] = {}
    for scope in ("group_vars/all", *(f"group_vars/{group}" for group in groups), f"host_vars/{name}"):
        folder = CHECKOUT / "inventory" / scope
        for path in (folder.with_name(f"{folder.name}.yml"), *sorted(folder.glob("*"))):
            if not path.is_file():
                continue
            text = path.read_text()
            sealed = text.startswith("$ANSIBLE_VAULT")
            held = {path.name: text} if sealed else yaml.safe_load(text) or {}
            found |= {
                key: _short(json.dumps(value, sort_keys=True, default=str)) for key, value in held.items()
            }
    return found


@cache
def digest(*paths: str) -> str:
    """Of every file below ``paths``, by name and content."""
    whole = hashlib.sha256()
    for path in paths:
        below = CHECKOUT / path
        for file in sorted([below] if below.is_file() else below.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                whole.update(f"{file.relative_to(CHECKOUT)}\0".encode() + _digest(file))
    return whole.hexdigest()[:16]


def _digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
