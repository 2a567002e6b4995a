"""Every droplet with its scope, and what no code manages beside them (12.5.1, 12.5.2)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    rows = [
        (
            name,
            "droplet",
            droplet["tier"],
            scope(droplet["tier"], context),
            droplet["public_ip"],
            droplet["private_ip"],
            context.hosts[name].os if name in context.hosts else "",
            droplet["serves"],
            "the stack",
        )
        for name, droplet in sorted((context.outputs.get("droplets") or {}).items())
    ]
    rows += [
        (each["subject"]["name"], each["subject"]["kind"], "", "unknown: decide", "", "", "", "", "nobody")
        for each in (context.drift or {}).get("differences", [])
        if each["layer"] == "strangers" and each["status"] == "differs"
    ]
    looked = context.drift is not None
    return tables.table(
        "inventory",
        "Systems, their scope, and strangers",
        "12.5.1 12.5.2 2.2.3",
        "name | kind | tier | scope | public address | private address | system | serves | managed by",
        rows,
        "" if looked else "Nobody looked for strangers: the drift check was left out.",
    )


def scope(tier: str, context: Context) -> str:
    """In, connected to, or out of the cardholder data environment.

    Where no tier is declared to hold account data, all that is reached from the load balancer is taken for in: the
    cautious reading, until somebody confirms another (12.5.2).
    """
    declared = context.outputs.get("tiers") or {}
    if said := (declared.get(tier) or {}).get("scope"):
        return str(said)
    flows = context.outputs.get("flows") or []
    inside = {flow["to"] for flow in flows if flow["from"] == "loadbalancer"}
    if tier in inside:
        return "in"
    names = {tier, "all"}
    touches = any(
        (flow["from"] in names and flow["to"] in inside)
        or (flow["to"] in names and flow["from"] in inside | {"all"})
        for flow in flows
    )
    return "connected" if touches else "out"
