"""``MANIFEST.json``: every file of a bundle with its SHA-256, and the bundle before it. Canonical: one text a value.

Keys sorted, no spaces, ASCII, files in the order of their paths, one newline at the end. So a file of the same meaning
written another way is another file, and refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

MANIFEST, SIGNATURE = "MANIFEST.json", "MANIFEST.json.sig"
BESIDE = (MANIFEST, SIGNATURE)
"""What a manifest cannot list: itself and what signs it."""

FORM = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){0,5}$"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Entry(_Value):
    """A file: ``path`` below the bundle with ``/``, ``size`` in bytes."""

    path: Annotated[str, Field(pattern=FORM)]
    size: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Previous(_Value):
    """The bundle before, by the SHA-256 of its manifest, which holds that of the one before it, and so on."""

    name: str
    sha256: Sha256


class Manifest(_Value):
    """Schema version 1. ``sequence`` counts the stack's bundles from 1; ``lacking`` says why it is incomplete."""

    schema_version: Literal[1] = 1
    stack: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    at: str
    sequence: Annotated[int, Field(ge=1)]
    previous: Previous | None
    commit: str
    tools: dict[str, str]
    counts: dict[str, int]
    """Findings by status."""
    lacking: list[str]
    files: list[Entry]

    @field_validator("at")
    @classmethod
    def _is_a_moment(cls, text: str) -> str:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
        return text

    @field_validator("files")
    @classmethod
    def _is_ordered(cls, files: list[Entry]) -> list[Entry]:
        paths = [entry.path for entry in files]
        if paths != sorted(set(paths)):
            raise ValueError("the files are not in order, or one is there twice")
        if set(paths) & set(BESIDE):
            raise ValueError("it lists itself")
        return files

    @property
    def time(self) -> datetime:
        return datetime.strptime(self.at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)

    @property
    def name(self) -> str:
        """The bundle's folder."""
        return bundle_name(self.stack, self.time)

    def canonical(self) -> bytes:
        held = self.model_dump(mode="json")
        return (json.dumps(held, sort_keys=True, separators=(",", ":"), ensure_ascii=True) + "\n").encode()


def bundle_name(stack: str, at: datetime) -> str:
    return f"{stack}-{at:%Y%m%dT%H%M%SZ}"


def parse(content: bytes) -> Manifest:
    """The manifest, or a ``ValueError`` that says why these bytes are none."""
    try:
        found = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}") from None
    if found.canonical() != content:
        raise ValueError("it is not in canonical form: something was added or reordered")
    return found


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(path: Path, name: str) -> Entry:
    with path.open("rb") as file:
        return Entry(
            path=name, size=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest()
        )


def walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below ``folder`` with its path, folders that hold nothing included and no link followed."""
    yield from _walk(str(folder), "")


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda held: held.name)
    for held in entries:
        name = prefix + held.name
        below = list(_walk(held.path, f"{name}/")) if held.is_dir(follow_symlinks=False) else []
        yield from below or [(name, held)]


def entries(folder: Path) -> list[Entry]:
    """The files to list, in order. A name or a kind of file the manifest can't hold is a ``ValueError``."""
    found = []
    for name, held in walk(folder):
        if not held.is_file(follow_symlinks=False) or not re.fullmatch(FORM, name):
            raise ValueError(f"{name!r} can't be in a bundle: plain files only, named by A-Z a-z 0-9 . _ -")
        if name not in BESIDE:
            found.append(entry(Path(held.path), name))
    return sorted(found, key=lambda entry: entry.path)
