"""The requirements of PCI DSS v4.0.1 in our own words, and what each one's status is today.

Pure but for reading the file beside this one. A control serves a requirement by naming its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from seawall.evidence.attestations import Attestations, ImportedReport, Statement
from seawall.evidence.profile import Profile
from seawall.findings import Finding, Status

FILE = Path(__file__).with_name("pci-dss-4.0.1.yml")


class Requirement(BaseModel):
    """``shown`` and ``who`` are explained in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    number: str = Field(alias="id", pattern=r"^\d{1,2}(\.\d+)+$")
    shown: Literal["automated", "attested", "inherited"]
    who: Literal["you", "digitalocean", "shared"]
    says: str = Field(min_length=15)
    remedy: str = ""

    @property
    def id(self) -> str:
        return f"pci-{self.number}"

    @property
    def family(self) -> str:
        return self.number.partition(".")[0]


class Catalogue(BaseModel):
    """The file, whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    families: dict[str, str]
    requirements: tuple[Requirement, ...]

    def find(self, id: str) -> Requirement | None:
        return next((each for each in self.requirements if each.id == id), None)


@cache
def catalogue() -> Catalogue:
    """Every requirement, in the standard's order."""
    return Catalogue.model_validate(yaml.safe_load(FILE.read_text()))


class Standing(StrEnum):
    """What a requirement's row says, the worst first."""

    FAIL = "fail"
    MISSING = "missing"
    WAIVED = "waived"
    ATTESTED = "attested by a person"
    INHERITED = "inherited from DigitalOcean"
    PASS = "automated pass"  # noqa: S105 (not a password)
    NOT_OWED = "does not apply"


@dataclass(frozen=True)
class Row:
    """A requirement as it stands: ``why`` in a sentence, and what it rests on."""

    requirement: Requirement
    standing: Standing
    why: str
    findings: tuple[Finding, ...]
    statements: tuple[Statement | ImportedReport, ...]

    @property
    def controls(self) -> list[str]:
        return sorted({finding.control for finding in self.findings})


def rows(
    findings: Iterable[Finding], attested: Attestations, profile: Profile | None, today: date
) -> list[Row]:
    """One row a requirement."""
    findings = list(findings)
    return [
        row(
            requirement,
            [finding for finding in findings if requirement.id in finding.requirements],
            [statement for statement in attested.statements if requirement.id in statement.requirements]
            + [report for report in attested.reports if requirement.id in report.serves],
            profile,
            today,
        )
        for requirement in catalogue().requirements
    ]


def row(
    requirement: Requirement,
    findings: Sequence[Finding],
    said: Sequence[Statement | ImportedReport],
    profile: Profile | None,
    today: date,
) -> Row:
    """What a requirement's controls and statements amount to. *Not applicable* is never a pass, silence neither."""
    standing, why = _judge(requirement, findings, said, profile, today)
    return Row(requirement, standing, why, tuple(findings), tuple(said))


def _judge(
    requirement: Requirement,
    findings: Sequence[Finding],
    said: Sequence[Statement | ImportedReport],
    profile: Profile | None,
    today: date,
) -> tuple[Standing, str]:
    owed = profile.applies(requirement.id) if profile else None
    if owed and not owed.applies:
        return Standing.NOT_OWED, owed.reason
    of = {status: [finding for finding in findings if finding.status is status] for status in Status}
    if failed := of[Status.FAIL]:
        return Standing.FAIL, f"{_count(failed)} failed: {_names(failed)}."
    in_force = [each for each in said if each.in_force(today)]
    if bad := [each for each in in_force if isinstance(each, ImportedReport) and not each.passed]:
        return Standing.FAIL, f"The report {bad[0].id} of {bad[0].made} did not pass."
    if blind := of[Status.ERROR] + of[Status.UNKNOWN]:
        return Standing.MISSING, f"{_count(blind)} could not look: {_names(blind)}."
    if requirement.shown == "inherited":
        return Standing.INHERITED, "DigitalOcean answers for it; ask for their attestation of compliance."
    if requirement.shown == "automated":
        if waived := of[Status.WAIVED]:
            return Standing.WAIVED, f"{_count(waived)} failed and was accepted: {_names(waived)}."
        if passed := of[Status.PASS]:
            return Standing.PASS, f"{_count(passed)} passed on {_hosts(passed)}."
    if in_force:
        told = "; ".join(
            f"{each.by} ({each.kind}), {each.made} to {each.expires}"
            if isinstance(each, ImportedReport)
            else f"{each.role}, {each.made} to {each.expires}"
            for each in in_force
        )
        return Standing.ATTESTED, f"Attested by {told}."
    if said:
        return Standing.MISSING, f"What was attested expired on {max(each.expires for each in said)}."
    if requirement.shown == "attested":
        seen = (
            f" {_count(of[Status.PASS])} passed, which is material and no answer." if of[Status.PASS] else ""
        )
        return Standing.MISSING, f"A person has to attest it.{seen}"
    if findings:
        return Standing.MISSING, "Every control for it was not applicable here, which is no pass."
    return Standing.MISSING, "No control covers it, and nobody attested it."


def _count(findings: Sequence[Finding]) -> str:
    number = len({finding.control for finding in findings})
    return f"{number} control{'s' * (number != 1)}"


def _names(findings: Sequence[Finding]) -> str:
    names = list(dict.fromkeys(f"{finding.control} on {finding.subject.name}" for finding in findings))
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _hosts(findings: Sequence[Finding]) -> str:
    names = sorted({finding.subject.name for finding in findings})
    return ", ".join(names) if len(names) <= 6 else f"{len(names)} droplets"


def family(rows: Iterable[Row]) -> Standing:
    """What a family's rows amount to: the worst of what is owed."""
    owed = [each.standing for each in rows if each.standing is not Standing.NOT_OWED]
    return min(owed, key=list(Standing).index, default=Standing.NOT_OWED)
