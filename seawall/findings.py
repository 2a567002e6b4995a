"""Findings: what a control expected of a subject and what it saw. Everything later is made of them.

A finding is a plain value of schema version 1. Fields may be added to it; none is renamed or removed.
"""

from __future__ import annotations

import fnmatch
import json
import re
import secrets
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from seawall import __version__
from seawall.places import CHECKOUT, write_private
from seawall.problem import DECLARED, DEVIATES, UNABLE, USAGE, Problem

SCHEMA_VERSION = 1

_IDENTITIES = uuid.UUID("8c1d0d3e-51d6-4bb2-9d0a-0f3f3a6c9e57")
"""The namespace of every finding's id: fixed for ever, or today's finding would not be yesterday's."""

ControlId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)+$")]
Requirement = Annotated[str, Field(pattern=r"^(pci|cis-deb12)-\d+(\.\d+)+$")]


class Status(StrEnum):
    """What became of a control on a subject, the worst first."""

    FAIL = "fail"
    ERROR = "error"  # the control itself broke: nothing is known
    UNKNOWN = "unknown"  # the subject could not be asked
    WAIVED = "waived"
    PASS = "pass"  # noqa: S105 (not a password)
    NOT_APPLICABLE = "not-applicable"


class Severity(StrEnum):
    """How much a failure matters, the worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Subject(_Value):
    """What was looked at: a droplet or a cloud resource. ``urn`` is Pulumi's name of it, where it has one."""

    kind: str
    name: str
    urn: str | None = None


class By(_Value):
    """Which Seawall looked: its version and the commit of its checkout ("unknown" outside a checkout)."""

    version: str
    commit: str


@dataclass(frozen=True)
class Run:
    """One look at the hosts: findings of one run are comparable to each other and name it."""

    id: str
    by: By

    @classmethod
    def begin(cls, id: str = "") -> Run:
        """A run that begins now; its id sorts by time, unless one is given."""
        try:
            git = subprocess.run(
                ["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False
            )
            commit = git.stdout.strip()
        except OSError:  # a controller needs no git
            commit = ""
        return cls(
            id=id or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
            by=By(version=__version__, commit=commit or "unknown"),
        )


class Finding(_Value):
    """One control on one subject. ``expected`` and ``seen`` are sentences or values as text, secrets masked."""

    schema_version: Literal[1] = 1
    id: uuid.UUID
    control: ControlId
    title: str
    subject: Subject
    status: Status
    severity: Severity
    expected: str = ""
    seen: str = ""
    reason: str = ""
    requirements: tuple[Requirement, ...] = ()
    at: datetime
    run: str
    by: By

    @model_validator(mode="before")
    @classmethod
    def _with_id(cls, data: dict) -> dict:
        subject = Subject.model_validate(data.get("subject"))
        return {"id": identity(str(data.get("control")), subject.kind, subject.name), **data}

    @model_validator(mode="after")
    def _own_id(self) -> Finding:
        if self.id != identity(self.control, self.subject.kind, self.subject.name):
            raise ValueError(f"id is not that of {self.control} on {self.subject.kind} {self.subject.name}")
        return self

    @field_validator("expected", "seen", "reason")
    @classmethod
    def _keep_secrets(cls, text: str) -> str:
        return masked(text)


def identity(control: str, kind: str, name: str) -> uuid.UUID:
    """The id of a control on a subject: the same in every run, so that two runs can be compared."""
    return uuid.uuid5(_IDENTITIES, f"{control}/{kind}/{name}")


_SECRETS = [
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\$(?:y|gy|7|2[abxy]|1|5|6|argon2\w*)\$[./A-Za-z0-9$=,+]+"),  # crypt(3) hashes
    re.compile(r"\bdo[opr]_v1_[0-9a-f]{16,}"),  # DigitalOcean's tokens
    re.compile(r"(?i)(?<=bearer )[\w.~+/-]{12,}=*"),
    re.compile(r"(?i)(?<=password[=:])\s*\S+|(?<=secret[=:])\s*\S+|(?<=token[=:])\s*\S+"),
]


def masked(text: str) -> str:
    """``text`` without private keys, password hashes and tokens. A file of findings may be mailed."""
    for pattern in _SECRETS:
        text = pattern.sub("[masked]", text)
    return text


# --- A file of findings: one JSON object a line --------------------------------------------------------


def write(path: Path, findings: Iterable[Finding]) -> None:
    """Write the file whole or not at all, mode 0600."""
    write_private(path, "".join(f"{finding.model_dump_json()}\n" for finding in findings).encode())


def read(path: Path) -> list[Finding]:
    """The findings of a file. A line that is none is a ``Problem`` naming it."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            found.append(Finding.model_validate_json(line))
        except ValidationError as refusal:
            raise Problem(
                f"{path}, line {number}, is not a finding of schema version {SCHEMA_VERSION}: "
                f"{_first(refusal)}. The file was cut or altered; run `seawall verify` for a new one."
            ) from None
    return found


def _first(refusal: ValidationError) -> str:
    error = refusal.errors()[0]
    return f"{'.'.join(map(str, error['loc'])) or 'it'}: {error['msg']}"


def merged(one: Finding, other: Finding) -> Finding:
    """Two findings of one control on one subject as one: the worse of them, or both sides where they agree."""
    if one.status is not other.status:
        return min(one, other, key=lambda f: list(Status).index(f.status))
    both = {
        name: "; ".join(dict.fromkeys(filter(None, (getattr(one, name), getattr(other, name)))))
        for name in ("expected", "seen", "reason")
    }
    return other.model_copy(update=both)


# --- What they amount to ------------------------------------------------------------------------------


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first: by status, then severity, then control and subject."""
    statuses, severities = list(Status), list(Severity)
    return sorted(
        findings,
        key=lambda f: (statuses.index(f.status), severities.index(f.severity), f.control, f.subject.name),
    )


def worst(findings: Iterable[Finding]) -> Status | None:
    """The worst status among them; None where there are none, which is never a pass."""
    return min((f.status for f in findings), key=list(Status).index, default=None)


def summary(findings: Iterable[Finding]) -> dict:
    """Counts by status, the worst one, and how many controls and subjects there were."""
    findings = list(findings)
    counts = Counter(f.status for f in findings)
    return {
        "worst": worst(findings),
        "counts": {status.value: counts[status] for status in Status},
        "controls": len({f.control for f in findings}),
        "subjects": len({(f.subject.kind, f.subject.name) for f in findings}),
    }


def exit_code(findings: Iterable[Finding]) -> int:
    """2 where a control failed; 1 where one could not look, or none was run; 0 otherwise."""
    match worst(findings):
        case Status.FAIL:
            return DEVIATES
        case Status.ERROR | Status.UNKNOWN | None:
            return UNABLE
        case _:
            return DECLARED


# --- Waivers: exceptions as reviewed data ---------------------------------------------------------------


class Waiver(_Value):
    """A failure that somebody answers for, for a time.

    Days are whole and UTC: it counts from ``start`` to ``expiry``, both included. ``subjects`` are names
    or patterns (``app-*``).
    """

    control: ControlId
    subjects: tuple[str, ...] = Field(min_length=1)
    approver: str = Field(min_length=3)
    reason: str = Field(min_length=20)
    start: date
    expiry: date

    @model_validator(mode="after")
    def _a_time(self) -> Waiver:
        if self.expiry < self.start:
            raise ValueError(f"expires on {self.expiry}, before it starts on {self.start}")
        return self

    def in_force(self, today: date) -> bool:
        return self.start <= today <= self.expiry

    def covers(self, control: str, subject: str) -> bool:
        return control == self.control and any(fnmatch.fnmatchcase(subject, name) for name in self.subjects)

    def sentence(self) -> str:
        return f"{self.reason} (waived by {self.approver} until {self.expiry})"


def own_waivers() -> list[Waiver]:
    """The checkout's waivers; none where there is no file."""
    path = CHECKOUT / "waivers.yml"
    return read_waivers(path) if path.exists() else []


def accepted(waivers: Iterable[Waiver], control: str, subject: str, today: date) -> str:
    """Why a failure is accepted today; empty where it isn't. A lapsed waiver accepts nothing."""
    counting = (each for each in waivers if each.covers(control, subject) and each.in_force(today))
    return next((each.sentence() for each in counting), "")


def read_waivers(path: Path) -> list[Waiver]:
    """The waivers of a YAML file (``waivers: [{control, subjects, approver, reason, start, expiry}]``)."""
    try:
        document = yaml.safe_load(path.read_text()) or {}
        entries = document.get("waivers") if isinstance(document, dict) else None
        if not isinstance(entries, list) or len(document) != 1:
            raise ValueError("it holds one list, `waivers`, and nothing else")
        return [Waiver.model_validate(entry) for entry in entries]
    except (OSError, yaml.YAMLError, ValueError) as error:
        said = _first(error) if isinstance(error, ValidationError) else str(error)
        raise Problem(
            f"The waivers in {path} cannot be used: {' '.join(said.split())}. Each needs control, subjects, approver, "
            "reason (a sentence), start and expiry (days). Put it right; no waiver counts until then.",
            code=USAGE,
        ) from None


def waive(finding: Finding, waivers: Iterable[Waiver]) -> Finding:
    """The finding as its waiver leaves it. Only a failure can be waived, and only by a waiver in force."""
    if finding.status is not Status.FAIL:
        return finding
    today = finding.at.astimezone(UTC).date()
    lapsed = None
    for waiver in waivers:
        if not waiver.covers(finding.control, finding.subject.name):
            continue
        if waiver.in_force(today):
            return finding.model_copy(update={"status": Status.WAIVED, "reason": waiver.sentence()})
        lapsed = waiver
    if lapsed is None:
        return finding
    when = f"lapsed on {lapsed.expiry}" if lapsed.expiry < today else f"counts only from {lapsed.start}"
    reason = f"{finding.reason} The waiver by {lapsed.approver} {when}.".strip()
    return finding.model_copy(update={"reason": reason})


def as_json(findings: Iterable[Finding]) -> str:
    """What `--json` prints: the findings file's lines, exactly."""
    return "\n".join(json.dumps(json.loads(f.model_dump_json())) for f in findings)
