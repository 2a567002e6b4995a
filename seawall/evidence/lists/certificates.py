"""Certificates on the hosts, with what is left of their time (4.2.1.1)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    rows = [
        (
            name,
            each.path,
            each.subject,
            each.issuer,
            each.names,
            each.key,
            each.not_after,
            (each.not_after - context.at).days,
            each.fingerprint,
        )
        for name, facts in sorted(context.hosts.items())
        for each in facts.certificates
    ]
    return tables.table(
        "certificates",
        "Certificates and their expiry",
        "4.2.1.1",
        "droplet | file | subject | issuer | names | key | not after | days left | SHA-256",
        rows,
        "The load balancer's own certificate is DigitalOcean's to hold; its expiry is in the audit of the account.",
    )
