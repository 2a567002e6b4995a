"""A stack's droplets as something to log in to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seawall.places import Places
from seawall.problem import USAGE, Problem


@dataclass(frozen=True)
class Host:
    """A droplet with what ssh needs to know. ``alias`` names its pinned host keys: an address may be reused, it not."""

    name: str
    address: str
    port: int
    user: str
    alias: str
    tier: str


def hosts(outputs: Mapping[str, Any]) -> dict[str, Host]:
    """By name, from the stack's outputs."""
    return {
        name: Host(
            name=name,
            address=droplet["public_ip"],
            port=int(outputs["ssh_port"]),
            user=outputs["admin_user"],
            alias=f"{name}.{droplet['id']}",
            tier=droplet["tier"],
        )
        for name, droplet in (outputs.get("droplets") or {}).items()
    }


def named(found: Mapping[str, Host], name: str) -> Host:
    if name not in found:
        raise Problem(
            f"There is no droplet {name} in this stack; it has {', '.join(found) or 'none'}.", code=USAGE
        )
    return found[name]


def ssh_command(host: Host, where: Places, remote: list[str]) -> list[str]:
    """The `ssh` a careful person would type: pinned host key, one user, no agent forwarded."""
    identity = ["-i", str(where.ssh_key), "-o", "IdentitiesOnly=yes"] if where.ssh_key.exists() else []
    return [
        "ssh",
        *identity,
        "-p",
        str(host.port),
        "-o",
        f"UserKnownHostsFile={where.known_hosts}",
        "-o",
        f"HostKeyAlias={host.alias}",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "ForwardAgent=no",
        f"{host.user}@{host.address}",
        *(["--", *remote] if remote else []),
    ]


def login(host: Host, where: Places, remote: list[str]) -> None:
    """Become ssh."""
    command = ssh_command(host, where, remote)
    os.execvp(command[0], command)
