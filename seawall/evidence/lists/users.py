"""Who can get in, with what privilege and which keys (7.2.4, 8.2)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    rows = [
        (name, user.name, user.uid, user.can_log_in, user.sudo, user.password, user.groups, user.keys)
        for name, facts in sorted(context.hosts.items())
        for user in facts.users
        if user.can_log_in or user.keys or user.sudo
    ]
    return tables.table(
        "users",
        "Accounts, privileges and keys",
        "7.2.2 7.2.4 7.2.5 8.2.1 8.2.4 8.2.5",
        "droplet | account | uid | can log in | sudo | password | groups | keys",
        rows,
        "Accounts that can neither log in nor become root are left out. Fingerprints of keys are SHA-256, as "
        "`ssh-keygen -l` prints them.",
    )
