"""What no program can see, said by people: ``attestations.yml``, reviewed like code (attestations.example.yml).

A statement is made by a *role* (who holds it is the organisation's to know), on a day, until a day. One that expired,
or whose artefact is not the file it was made about, counts as missing. Reports of scans and penetration tests made
elsewhere are declared beside them and travel in the bundle.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from seawall.places import CHECKOUT
from seawall.problem import USAGE, Problem

PciId = Annotated[str, Field(pattern=r"^pci-\d{1,2}(\.\d+)+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]

REPORT_KINDS = Literal[
    "external-scan",
    "internal-scan",
    "external-penetration-test",
    "internal-penetration-test",
    "segmentation-test",
]
KIND_SERVES: dict[str, tuple[str, ...]] = {
    "external-scan": ("pci-11.3.2",),
    "internal-scan": ("pci-11.3.1",),
    "external-penetration-test": ("pci-11.4.3",),
    "internal-penetration-test": ("pci-11.4.2",),
    "segmentation-test": ("pci-11.4.5",),
}


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    _source: Path | None = PrivateAttr(default=None)

    @property
    def source(self) -> Path | None:
        """Where its file lies, checked against its hash when it was read; None where it names none."""
        return self._source


class Statement(_Value):
    """``role`` says that ``statement`` holds, from ``made`` until ``expires`` (both included), for ``requirements``."""

    id: Name
    requirements: tuple[PciId, ...] = Field(min_length=1)
    role: str = Field(min_length=3, max_length=80)
    statement: str = Field(min_length=20, max_length=2000)
    made: date
    expires: date
    artefact: Path | None = None
    """A document it is about, relative to the file it stands in; needs ``sha256``."""
    sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Statement:
        if self.expires < self.made:
            raise ValueError(f"expires on {self.expires}, before it was made on {self.made}")
        if (self.artefact is None) != (self.sha256 is None):
            raise ValueError("artefact and sha256 go together: `sha256sum FILE` prints it")
        if re.search(r"[\w.+-]+@[\w-]+\.\w", self.role):
            raise ValueError("role is an office (head of security), not a person's address")
        return self

    def in_force(self, today: date) -> bool:
        return self.made <= today <= self.expires


class ImportedReport(_Value):
    """A scan or penetration test made by somebody else. It counts until ``expires``."""

    id: Name
    kind: REPORT_KINDS
    by: str = Field(min_length=3, max_length=120)
    """Who made it: the firm, or the role inside."""
    made: date
    expires: date
    passed: bool
    """What the report concludes. A failed one is evidence as well, of a requirement not met."""
    path: Path
    sha256: Sha256
    requirements: tuple[PciId, ...] = ()
    """Empty stands for what its kind serves (``KIND_SERVES``)."""

    @model_validator(mode="after")
    def _is_whole(self) -> ImportedReport:
        if self.expires < self.made:
            raise ValueError(f"expires on {self.expires}, before it was made on {self.made}")
        return self

    @property
    def serves(self) -> tuple[str, ...]:
        return self.requirements or KIND_SERVES[self.kind]

    def in_force(self, today: date) -> bool:
        return self.made <= today <= self.expires


class Attestations(BaseModel):
    """A whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    statements: tuple[Statement, ...] = ()
    reports: tuple[ImportedReport, ...] = ()

    @property
    def entries(self) -> tuple[Statement | ImportedReport, ...]:
        return (*self.statements, *self.reports)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Attestations:
        ids = [entry.id for entry in self.entries]
        if twice := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"two entries have the id {', '.join(twice)}")
        return self

    def in_force(self, today: date) -> dict[str, list[Statement]]:
        """Requirement id → the statements that attest it today. What expired is not among them."""
        found: dict[str, list[Statement]] = {}
        for statement in self.statements:
            if statement.in_force(today):
                for requirement in statement.requirements:
                    found.setdefault(requirement, []).append(statement)
        return found

    def lapsed(self, today: date) -> list[Statement | ImportedReport]:
        """What counted once and no longer does: to be shown as missing, with its date."""
        return [entry for entry in self.entries if entry.expires < today]


def attached_name(entry: Statement | ImportedReport) -> str:
    """The file's name in the bundle's ``attached/``: its id, and its suffix where that is a plain one."""
    suffix = entry.source.suffix.lower() if entry.source else ""
    return entry.id + (suffix if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix) else "")


def own() -> Attestations:
    """The checkout's; nothing attested where there is no file."""
    path = CHECKOUT / "attestations.yml"
    return read(path) if path.exists() else Attestations()


def read(path: Path) -> Attestations:
    """The file, and every artefact it names compared with its hash; a ``Problem`` names the first that is wrong."""
    try:
        found = Attestations.model_validate(yaml.safe_load(path.read_text()) or {})
        for statement in found.statements:
            if statement.artefact and statement.sha256:
                statement._source = _same(path.parent / statement.artefact, statement.id, statement.sha256)
        for report in found.reports:
            report._source = _same(path.parent / report.path, report.id, report.sha256)
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise Problem(
            f"The attestations in {path} cannot be used: {_said(error)}. attestations.example.yml shows every field. "
            "Put it right; nobody attests anything until then.",
            code=USAGE,
        ) from None
    return found


def _same(path: Path, id: str, expected: str) -> Path:
    if not path.is_file():
        raise ValueError(f"{id} names {path}, which is no file")
    seen = hashlib.sha256(path.read_bytes()).hexdigest()
    if seen != expected:
        raise ValueError(
            f"{id} is about {path.name} with SHA-256 {expected[:12]}…, and the file has {seen[:12]}…: it changed after "
            "the statement was made. Have it made again for the new file, or bring back the old one"
        )
    return path


def _said(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg'].removeprefix('Value error, ')}"
    return " ".join(str(error).split())
