"""``requirements.csv``: every requirement with its status, why, and what that rests on."""

from __future__ import annotations

from pathlib import Path

from seawall.evidence import table
from seawall.evidence.context import Context


def write(context: Context, folder: Path) -> None:
    standing = context.rows
    listed = table.table(
        "requirements",
        "Requirements",
        "",
        "requirement | in our words | status | why | controls | who answers for it",
        (
            (
                each.requirement.number,
                each.requirement.says,
                each.standing.value,
                each.why,
                each.controls,
                each.requirement.who,
            )
            for each in standing
        ),
    )
    (folder / "requirements.csv").write_text(listed.csv(), newline="")
