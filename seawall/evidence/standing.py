"""What the latest verification and today's attestations amount to, without a bundle and without asking anybody."""

from __future__ import annotations

from datetime import UTC, datetime

from seawall import findings
from seawall.evidence import attestations, profile
from seawall.evidence.catalogue import Row, rows
from seawall.findings import Finding
from seawall.places import Places


def latest(where: Places) -> list[Finding]:
    """The newest finding of each control on each droplet, whichever run it comes from; an audit's aside."""
    held: dict[object, Finding] = {}
    for report in sorted(where.findings.glob("[0-9]*.jsonl")):  # their names are times
        held |= {finding.id: finding for finding in findings.read(report)}
    return list(held.values())


def standing(found: list[Finding]) -> list[Row]:
    """Every requirement as it stands now."""
    return rows(found, attestations.own(), profile.own(), datetime.now(UTC).date())
