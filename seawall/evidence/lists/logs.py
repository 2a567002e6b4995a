"""What logs are kept, since when, and how (10.3, 10.5.1)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    rows = []
    for name, facts in sorted(context.hosts.items()):
        senders: dict[str, list] = {}
        for file in facts.logs:
            senders.setdefault(file.sender, []).append(file)
        for sender, files in sorted(senders.items()):
            times = [file.changed for file in files]
            rows.append((name, sender, len(files), sum(file.bytes for file in files), min(times), max(times)))
    controls = [f for f in context.findings if {"pci-10.3.4", "pci-10.5.1"} & set(f.requirements)]
    passed = sum(finding.status.value == "pass" for finding in controls)
    looked = "Nobody compared the logs with what was seen of them before: the drift check was left out."
    if context.drift is not None:
        altered = [
            f"{each['subject']['name']} {each['what'].removeprefix('log ')}"
            for each in context.drift.get("differences", [])
            if each["layer"] == "hosts" and each["what"].startswith("log ")
        ]
        looked = (
            "The drift check compared every log with the hash the controller kept of what it had seen of it before: "
            f"{', '.join(altered) or 'none'} was altered."
        )
    return tables.table(
        "logs",
        "Logs at the collector",
        "10.3.2 10.3.4 10.5.1",
        "collector | sender | files | bytes | oldest change | newest change",
        rows,
        f"{passed} of {len(controls)} checks of integrity and retention passed; each is listed under its requirement. "
        + looked,
    )
