"""Every droplet with its scope, and what no code manages beside them (12.5.1, 12.5.2)."""

from __future__ import annotations

from infra import scope
from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    known = scope.of_outputs(context.outputs)
    rows = [
        (
            name,
            "droplet",
            droplet["tier"],
            *told(known.get(droplet["tier"])),
            droplet["public_ip"],
            droplet["private_ip"],
            context.hosts[name].os if name in context.hosts else "",
            droplet["serves"],
            "the stack",
        )
        for name, droplet in sorted((context.outputs.get("droplets") or {}).items())
    ]
    rows += [
        (
            each["subject"]["name"],
            each["subject"]["kind"],
            "",
            "unknown: decide",
            "",
            "",
            "",
            "",
            "",
            "nobody",
        )
        for each in (context.drift or {}).get("differences", [])
        if each["layer"] == "strangers" and each["status"] == "differs"
    ]
    looked = context.drift is not None
    return tables.table(
        "inventory",
        "Systems, their scope, and strangers",
        "12.5.1 12.5.2 2.2.3",
        "name | kind | tier | scope | because | public address | private address | system | serves | managed by",
        rows,
        "" if looked else "Nobody looked for strangers: the drift check was left out.",
    )


def told(found: scope.Scope | None) -> tuple[str, str]:
    return (found.scope, found.because) if found else ("unknown: decide", "")
