"""Who answers for which requirement (12.8.5)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.catalogue import catalogue
from seawall.evidence.context import Context
from seawall.evidence.table import Table

WHO = {"you": "you", "digitalocean": "DigitalOcean", "shared": "both"}


def table(context: Context) -> Table:
    rows = [(each.number, each.says, WHO[each.who], each.shown) for each in catalogue().requirements]
    return tables.table(
        "responsibilities",
        "Responsibility matrix",
        "12.8.5",
        "requirement | in our words | who answers for it | how it is shown",
        rows,
        "DigitalOcean answers for data centres, hardware and the platform below the droplet; for what runs "
        "on it, you do.",
    )
