"""Every difference that came and went (1.2.8, 10.7)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    rows = [
        (
            each.get("came"),
            each.get("went") or "still there",
            each.get("layer"),
            f"{each['subject']['kind']} {each['subject']['name']}",
            each.get("what"),
            each.get("expected"),
            each.get("seen"),
            each.get("who"),
        )
        for each in context.drift_history
    ]
    looked = len(context.drift_runs)
    return tables.table(
        "drift",
        "Drift history",
        "1.2.8 2.2.1 10.7.2 11.5.2",
        "came | went | layer | subject | what | expected | seen | who",
        rows,
        f"{looked} looks in all."
        if looked
        else "Nobody ever looked for drift here: schedule `seawall drift`.",
    )
