"""What may talk to what, why, who answers for it, and when it is looked at again (1.2.5, 1.2.7)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    today = context.at.date().isoformat()
    rows = []
    for flow in context.outputs.get("flows") or []:
        by = str(flow.get("reviewBy") or flow.get("review_by") or "")
        due = "never set" if not by else "overdue" if by < today else "in time"
        rows.append((flow["from"], flow["to"], flow["ports"], flow.get("reason"), flow.get("owner"), by, due))
    return tables.table(
        "flows",
        "Flows: the only openings there are",
        "1.2.1 1.2.5 1.2.7",
        "from | to | ports | reason | owner | review by | review",
        rows,
        "Cloud firewalls, host firewalls, allow lists and the expected listeners are all derived from these. "
        "Flows to packages, time and the internet go to every address.",
    )
