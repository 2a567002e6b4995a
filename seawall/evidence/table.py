"""A list an auditor asks for: a title, what it answers, and rows. It becomes a CSV file and a table of the report."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Table:
    """``name`` is the file's, without its ending; ``requirements`` are numbers; ``note`` says what it cannot know."""

    name: str
    title: str
    requirements: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()
    note: str = ""

    @property
    def file(self) -> str:
        return f"lists/{self.name}.csv"

    def csv(self) -> str:
        """RFC 4180, with cells no spreadsheet takes for a formula."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow(self.header)
        writer.writerows([_harmless(cell) for cell in row] for row in self.rows)
        return out.getvalue()


def table(
    name: str,
    title: str,
    requirements: str,
    header: str,
    rows: Iterable[Sequence[Any]],
    note: str = "",
) -> Table:
    """A ``Table``: requirement numbers apart by spaces, columns by ``|``; cells as text, times to the minute in UTC."""
    columns = tuple(column.strip() for column in header.split("|"))
    return Table(
        name,
        title,
        tuple(requirements.split()),
        columns,
        tuple(tuple(map(_text, row)) for row in rows),
        note,
    )


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}Z"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return " ".join(str(value).split())


def _harmless(cell: str) -> str:
    """A cell that begins like a formula is told apart by an apostrophe (OWASP, CSV injection)."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell
