"""Everything a part of the bundle may need, already gathered: parts read this and write files, and do no other I/O.

Made by ``gather``; tests make one by hand. Times are UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from seawall.archive import Verdict
from seawall.certificates import Held
from seawall.controls import Control
from seawall.evidence.attestations import Attestations
from seawall.evidence.catalogue import Row, rows
from seawall.evidence.hosts import HostFacts
from seawall.evidence.profile import Profile
from seawall.findings import Finding, Status, Waiver


@dataclass(frozen=True)
class Change:
    """Something that was changed, for the change log (6.5.1): ``source`` is ``git`` or ``pulumi``; ``what`` one line.

    ``who`` is as the source tells it, "unknown" where it doesn't.
    """

    at: datetime
    source: str
    id: str
    who: str
    what: str


@dataclass(frozen=True)
class Signer:
    """Who will sign the bundle. ``command`` is the exact line an auditor types, in the bundle's folder."""

    identity: str
    fingerprint: str
    command: str


@dataclass(frozen=True)
class Context:
    """One bundle's material. Empty tuples and None mean *nothing of it there*, never *not looked*."""

    stack: str
    at: datetime
    """The moment the bundle speaks of: its name, and "today" for everything that expires."""
    outputs: Mapping[str, Any]
    """``pulumi stack output``: droplets, tiers, flows (as declared, with reason, owner, reviewBy), administrators …"""
    findings: tuple[Finding, ...]
    """The verification this bundle is about, waivers applied."""
    controls: tuple[Control, ...]
    """Every control there is, so that a part can tell one that didn't run."""
    waivers: tuple[Waiver, ...] = ()
    hosts: Mapping[str, HostFacts] = field(default_factory=dict)
    """By droplet. One that couldn't be asked is here as well, with ``unreachable`` saying why."""
    certificates: tuple[Held, ...] = ()
    """The account's: what the load balancer serves. The hosts' are among their facts."""
    drift: Mapping[str, Any] | None = None
    """The latest drift report, the document `seawall drift --json` prints; None where nobody looked."""
    drift_history: tuple[Mapping[str, Any], ...] = ()
    """Every difference ever seen, newest first: ``came``, ``last_seen``, ``went`` (None while it lasts) and its own
    fields, as `seawall drift history --json` prints them."""
    drift_runs: tuple[Mapping[str, Any], ...] = ()
    """When was looked, newest first: ``run``, ``began``, ``ended``, ``differs``, ``unknown`` …"""
    archives: tuple[Verdict, ...] = ()
    """What became of each collector's chain of hashes, judged against the anchors kept here."""
    attestations: Attestations = field(default_factory=Attestations)
    """``.statements`` and ``.reports``; ask ``in_force(context.at.date())`` which count today."""
    profile: Profile | None = None
    """Merchant level, questionnaire and what applies; None where evidence.yml doesn't say: then say so, page one."""
    changes: tuple[Change, ...] = ()
    previous: Mapping[str, Any] | None = None
    """The MANIFEST of the bundle before this one, None for the first; ``previous["at"]`` is its time."""
    tools: Mapping[str, str] = field(default_factory=dict)
    """Versions by name: seawall, python, pulumi, ansible-core, openssh …"""
    commit: str = "unknown"
    signer: Signer = field(default_factory=lambda: Signer("", "", ""))
    raw: Mapping[str, Path] = field(default_factory=dict)
    """What tools printed, whole (``verify.log``): file name → where it lies now."""
    notes: tuple[str, ...] = ()
    """What could not be gathered and why, a sentence each; any makes the bundle incomplete."""

    @cached_property
    def rows(self) -> list[Row]:
        """Every requirement as it stands; several parts ask."""
        return rows(self.findings, self.attestations, self.profile, self.at.date())

    @property
    def lacking(self) -> list[str]:
        """Why this bundle is incomplete, a sentence each; empty if every control ran on every droplet."""
        return [*self.notes, *unrun(self.findings, self.controls, self.outputs.get("droplets") or {})]


def unrun(
    findings: tuple[Finding, ...], controls: tuple[Control, ...], droplets: Mapping[str, Any]
) -> list[str]:
    """Each control that did not run on a droplet: it has no finding, or one that says that nobody could look."""
    seen = {(finding.control, finding.subject.name): finding for finding in findings}
    found = []
    for name in sorted(droplets):
        missing = [control.id for control in controls if (control.id, name) not in seen]
        if missing:
            some = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
            found.append(f"{len(missing)} of {len(controls)} controls did not run on {name}: {some}.")
    for finding in findings:
        if finding.status in (Status.ERROR, Status.UNKNOWN):
            found.append(
                f"{finding.control} did not run on {finding.subject.name}: {finding.reason or finding.status}."
            )
    return found
