"""Accepted failures: who answers for each, and until when."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    today = context.at.date()
    rows = [
        (
            each.control,
            each.subjects,
            each.approver,
            each.reason,
            each.start,
            each.expiry,
            "in force" if each.in_force(today) else "lapsed" if each.expiry < today else "not yet",
        )
        for each in context.waivers
    ]
    return tables.table(
        "waivers", "Waivers", "12.3.1", "control | on | approver | reason | from | until | now", rows
    )
