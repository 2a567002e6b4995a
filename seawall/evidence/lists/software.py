"""How much software is where; each package is in the CycloneDX files (12.3.4)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    rows = [
        (name, facts.os, facts.kernel, len(facts.packages), f"software/{name}.cdx.json")
        for name, facts in sorted(context.hosts.items())
    ]
    return tables.table(
        "software", "Software", "12.3.4", "droplet | system | kernel | packages | CycloneDX file", rows
    )
