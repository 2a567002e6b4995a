"""Scans and tests made by others, imported with their hashes (11.3, 11.4)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    today = context.at.date()
    rows = [
        (
            each.id,
            each.kind,
            each.by,
            each.made,
            each.expires,
            "in force" if each.in_force(today) else "expired",
            each.passed,
            each.sha256,
        )
        for each in context.attestations.reports
    ]
    return tables.table(
        "scans",
        "Imported scans and tests",
        "11.3.1 11.3.2 11.4.2 11.4.3 11.4.5",
        "report | kind | by | made | counts until | now | passed | SHA-256",
        rows,
        "" if rows else "None was imported: declare them under reports in attestations.yml.",
    )
