"""A difference: what was declared, what is, and what to do. A plain value, schema version 1, as findings are."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field, field_validator

from seawall.findings import Requirement, Subject, masked
from seawall.problem import DECLARED, DEVIATES, UNABLE

SCHEMA_VERSION = 1

_IDENTITIES = uuid.UUID("0b7c8a52-6a0e-4f0f-9f0a-6a6c1e0d7f31")
"""The namespace of every difference's id: fixed for ever, so that two runs' can be compared."""


class Difference(BaseModel):
    """One thing that differs, or could not be asked (``unknown``, which is never clean).

    ``what`` names what of the subject it is about, without any value: with layer and subject it is the difference's
    identity from run to run. ``who`` is "unknown" unless a record tells. ``fix`` says what `--fix` would do; empty
    where nothing was declared safe. Secrets are masked whatever a layer hands in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    layer: str
    status: Literal["differs", "unknown"] = "differs"
    subject: Subject
    what: str
    expected: str = ""
    seen: str = ""
    first_seen: datetime | None = None
    who: str = "unknown"
    requirements: tuple[Requirement, ...] = ()
    remedy: str = ""
    fix: str = ""

    @field_validator("expected", "seen", "who")
    @classmethod
    def _keep_secrets(cls, text: str) -> str:
        return masked(text)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def id(self) -> uuid.UUID:
        """The same in every run."""
        return uuid.uuid5(
            _IDENTITIES, f"{self.layer}/{self.subject.kind}/{self.subject.name}/{self.what}/{self.status}"
        )

    def sentence(self) -> str:
        """In plain words, on one line."""
        where = f"{self.subject.kind} {self.subject.name}"
        if self.status == "unknown":
            return f"{where}: {self.what}. {self.seen}".strip()
        return f"{where}: {self.what} should be {self.expected or 'nothing'}, and is {self.seen or 'nothing'}"


def unasked(layer: str, subject: Subject, why: str, remedy: str = "") -> Difference:
    """What could not be looked at: unknown, never clean."""
    return Difference(
        layer=layer,
        status="unknown",
        subject=subject,
        what="could not be looked at",
        seen=" ".join(why.split()),
        remedy=remedy,
    )


def exit_code(differences: Iterable[Difference]) -> int:
    """2 where something differs, whatever else could not be asked; 1 where something could not; else 0."""
    statuses = {each.status for each in differences}
    return DEVIATES if "differs" in statuses else UNABLE if "unknown" in statuses else DECLARED
