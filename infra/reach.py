"""How a droplet is logged in to: directly, or out of the bastion. Derived from the flows; pure.

Behind the bastion is whoever has no public address, and whoever no flow lets the administrators reach themselves.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.flows import Flow


@dataclass(frozen=True)
class Way:
    """Where sshd answers, and the droplet to jump through, if any."""

    address: str
    jump: str | None = None


def ways(outputs: Mapping[str, Any]) -> dict[str, Way]:
    """The way to each droplet, from the stack's outputs."""
    droplets, bastion = outputs.get("droplets") or {}, outputs.get("bastion")
    flows = [Flow.model_validate(flow) for flow in outputs.get("flows") or []] if bastion else []

    def direct(name: str) -> bool:
        droplet = droplets[name]
        return (
            name == bastion
            or not bastion
            or (bool(droplet["public_ip"]) and administered(flows, droplet["tier"], int(outputs["ssh_port"])))
        )

    return {
        name: Way(droplet["public_ip"]) if direct(name) else Way(droplet["private_ip"], bastion)
        for name, droplet in droplets.items()
    }


def administered(flows: Iterable[Flow], tier: str, port: int, by: str = "administrators") -> bool:
    """Whether a flow lets ``by`` reach ``tier``'s sshd."""
    return any(
        flow.from_ == by and flow.to in (tier, "all") and any(each.covers("tcp", port) for each in flow.ports)
        for flow in flows
    )


def jump(address: str, port: int, user: str, options: Mapping[str, str], identity: str | None) -> str:
    """The value of ssh's ProxyCommand that jumps through a bastion.

    It is what ProxyJump stands for, written out: ssh hands none of its own options on to a jump host, and without
    ours it would neither know the bastion's pinned key nor which key to show.
    """
    words = ["ssh", "-W", "[%h]:%p", "-p", str(port), "-l", user]
    if identity:
        words += ["-i", identity]
    for name, value in options.items():
        words += ["-o", f"{name}={value}"]
    return shlex.join([*words, address])
