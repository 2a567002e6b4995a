"""A host's variables, by the inventory's own function."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inventory.plugins import seawall_stack

NOWHERE = Path("/nonexistent")
"""Stands for the controller's own folder, which is another on each machine and no variable of a host."""

LOCAL = ("ansible_ssh_common_args", "ansible_ssh_private_key_file")


def whole(network: Mapping[str, Any]) -> dict[str, Any]:
    """``network`` with what the engine leaves out because it is nothing: the public address of a droplet without."""
    droplets = {name: {"public_ip": "", **droplet} for name, droplet in network["droplets"].items()}
    return {**network, "droplets": droplets}


def variables(network: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What Ansible gets, but for what only this machine knows."""
    found = seawall_stack.host_variables(whole(network), NOWHERE)[name]
    return {key: value for key, value in found.items() if key not in LOCAL}
