"""What was changed in the code and in the cloud (6.5.1)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    rows = [(each.at, each.source, each.id[:12], each.who, each.what) for each in context.changes]
    since = f"since the bundle of {context.previous['at']}" if context.previous else "of the last 400 days"
    return tables.table(
        "changes",
        f"Changes {since}",
        "6.5.1 1.2.2",
        "when | source | id | who | what",
        rows,
        "Pulumi's history tells who only where it ran in a checkout with a git author.",
    )
