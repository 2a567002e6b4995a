"""What logs are kept, since when, and how (10.3, 10.5.1)."""

from __future__ import annotations

from seawall.archive import Verdict
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
    kept = [
        f"{name} keeps a log {facts.log_days[0]} days, {facts.log_days[1]} of them uncompressed."
        for name, facts in sorted(context.hosts.items())
        if facts.log_days
    ]
    chained = [_chain(verdict) for verdict in context.archives]
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
        + " ".join([*kept, *(chained or ["No archive's chain of hashes was verified."]), looked]),
    )


def _chain(verdict: Verdict) -> str:
    """A collector's chain in words. Its head stands in the bundle, and is signed with it."""
    what = f"The chain of hashes over {verdict.collector}'s closed logs"
    head = f"{verdict.entries} entries, head {verdict.head}, {verdict.anchors} anchors signed before"
    if verdict.wrong:
        return f"{what} ({head}) is broken: {'; '.join(verdict.wrong)}."
    return f"{what} ({head}) was verified: every closed file is as it was."
