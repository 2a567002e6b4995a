"""The lists auditors ask for. One file a list, with one function:

    def table(context: Context) -> Table

Add it to ``LISTS``, and it is a CSV file of the bundle and a table of the report.
"""

from __future__ import annotations

from collections.abc import Callable

from seawall.evidence.context import Context
from seawall.evidence.lists import (
    certificates,
    changes,
    ciphers,
    drift,
    flows,
    inventory,
    logs,
    patches,
    responsibilities,
    scans,
    segmentation,
    software,
    users,
    waivers,
)
from seawall.evidence.table import Table

LISTS: tuple[Callable[[Context], Table], ...] = (
    inventory.table,
    flows.table,
    segmentation.table,
    users.table,
    certificates.table,
    ciphers.table,
    software.table,
    patches.table,
    changes.table,
    logs.table,
    scans.table,
    drift.table,
    waivers.table,
    responsibilities.table,
)
