"""What is to be updated, since when, and when it last was (6.3.3, 11.3.1)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    rows = []
    for name, facts in sorted(context.hosts.items()):
        if not (state := facts.patches):
            continue
        security = [
            f"{each.name} {each.installed} to {each.candidate}" for each in state.pending if each.security
        ]
        age = (context.at - state.lists_updated).days if state.lists_updated else None
        rows.append(
            (
                name,
                len(security),
                security[:20],
                len(state.pending) - len(security),
                state.lists_updated,
                age,
                state.last_upgrade,
                state.last_unattended_run,
                state.booted,
                state.reboot_required,
            )
        )
    return tables.table(
        "patches",
        "Patch state",
        "6.3.3 11.3.1",
        "droplet | security updates pending | which | other updates | lists fetched | days old | last upgrade | "
        "last unattended run | booted | reboot needed",
        rows,
        "Pending security updates are the known, fixed vulnerabilities of the distribution's packages. Known but "
        "unfixed ones were not looked up: that takes the distribution's tracker, which nobody asked here.",
    )
