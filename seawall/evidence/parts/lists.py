"""``lists/``: what auditors ask to see, a CSV file each (see ``seawall.evidence.lists``)."""

from __future__ import annotations

from pathlib import Path

from seawall.evidence.context import Context
from seawall.evidence.lists import LISTS


def write(context: Context, folder: Path) -> None:
    (folder / "lists").mkdir()
    for make in LISTS:
        table = make(context)
        (folder / table.file).write_text(table.csv(), newline="")
