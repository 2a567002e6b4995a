"""Certificates at the load balancer and on the hosts, with what is left of their time (4.2.1.1)."""

from __future__ import annotations

from seawall.evidence import table as tables
from seawall.evidence.context import Context
from seawall.evidence.table import Table


def table(context: Context) -> Table:
    rows: list[tuple[object, ...]] = [
        (each.at, each.where, "", "", each.names, "", each.not_after, each.days(context.at), each.fingerprint)
        for each in context.certificates
    ]
    rows += [
        (
            name,
            each.path,
            each.subject,
            each.issuer,
            each.names,
            each.key,
            each.not_after,
            (each.not_after - context.at).days,
            f"SHA-256 {each.fingerprint}",
        )
        for name, facts in sorted(context.hosts.items())
        for each in facts.certificates
    ]
    return tables.table(
        "certificates",
        "Certificates and their expiry",
        "4.2.1.1",
        "at | file or name | subject | issuer | names | key | not after | days left | fingerprint",
        rows,
        "Of the load balancer's own, DigitalOcean's API tells names, expiry and fingerprint only.",
    )
