"""Protocols and cipher suites, as the daemons themselves say (12.3.3)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    rows = [
        (name, setting, value)
        for name, facts in sorted(context.hosts.items())
        for setting, value in sorted(facts.ciphers.items())
    ]
    return tables.table(
        "ciphers", "Protocols and cipher suites in use", "12.3.3", "droplet | setting | value", rows
    )
