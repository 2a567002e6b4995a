"""What could be reached, against what was declared (11.4.5)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    rows = [
        (finding.control, finding.subject.name, finding.status.value, finding.title, finding.seen)
        for finding in context.findings
        if "pci-11.4.5" in finding.requirements
    ]
    return tables.table(
        "segmentation",
        "Segmentation test",
        "11.4.5 1.4.4",
        "control | droplet | result | what was tested | seen",
        rows,
        "Tested from the controller and on the hosts at every verification. A test by a person, independent of whoever "
        "built it, is imported under scans.",
    )
