"""A stack's droplets as something to log in to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra import reach
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
    jump: Host | None = None
    """The bastion it is reached through."""


def hosts(outputs: Mapping[str, Any]) -> dict[str, Host]:
    """By name, from the stack's outputs."""
    droplets = outputs.get("droplets") or {}
    ways = reach.ways(outputs)

    def host(name: str) -> Host:
        way = ways[name]
        return Host(
            name=name,
            address=way.address,
            port=int(outputs["ssh_port"]),
            user=outputs["admin_user"],
            alias=f"{name}.{droplets[name]['id']}",
            tier=droplets[name]["tier"],
            jump=host(way.jump) if way.jump else None,
        )

    return {name: host(name) for name in droplets}


def named(found: Mapping[str, Host], name: str) -> Host:
    if name not in found:
        raise Problem(
            f"There is no droplet {name} in this stack; it has {', '.join(found) or 'none'}.", code=USAGE
        )
    return found[name]


def ssh_command(host: Host, where: Places, remote: list[str]) -> list[str]:
    """The `ssh` a careful person would type: pinned host keys, one user, no agent forwarded, out of the bastion."""
    key = str(where.ssh_key) if where.ssh_key.exists() else None

    def options(each: Host) -> dict[str, str]:
        return {
            "UserKnownHostsFile": str(where.known_hosts),
            "HostKeyAlias": each.alias,
            "StrictHostKeyChecking": "yes",
            "ForwardAgent": "no",
        }

    ours = options(host)
    if through := host.jump:
        ours["ProxyCommand"] = reach.jump(through.address, through.port, through.user, options(through), key)
    return [
        "ssh",
        *(["-i", key, "-o", "IdentitiesOnly=yes"] if key else []),
        "-p",
        str(host.port),
        *(word for name, value in ours.items() for word in ("-o", f"{name}={value}")),
        f"{host.user}@{host.address}",
        *(["--", *remote] if remote else []),
    ]


def login(host: Host, where: Places, remote: list[str]) -> None:
    """Become ssh."""
    command = ssh_command(host, where, remote)
    os.execvp(command[0], command)
