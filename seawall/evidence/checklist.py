"""`seawall checklist`: what is asked first about a payment system, and the usual violations, as they stand now."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from seawall.evidence.catalogue import Row, Standing

FILE = Path(__file__).with_suffix(".yml")
MARKS = {Standing.FAIL: "✗", Standing.MISSING: "?", Standing.WAIVED: "~", Standing.NOT_OWED: "-"}
"""Everything else is shown: ✓."""


def document(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Each question with its standing, which is the worst of the requirements it goes by."""
    standing = {row.requirement.number: row for row in rows}
    found = []
    for kind, themes in yaml.safe_load(FILE.read_text()).items():
        for theme, items in themes.items():
            for item in items:
                mine = [standing[str(number)] for number in item["by"]]
                worst = min(mine, key=lambda row: list(Standing).index(row.standing))
                found.append(
                    {
                        "kind": kind,
                        "theme": theme,
                        "asks": item["asks"],
                        "requirements": [row.requirement.id for row in mine],
                        "standing": worst.standing.value,
                        "why": f"{worst.requirement.number}: {worst.why}",
                    }
                )
    return found


def text(items: Iterable[dict[str, Any]]) -> str:
    """For a person: a mark, the question, and what decided it. A violation's ✓ means that it is not there."""
    lines, theme = [], ""
    for item in items:
        if item["theme"] != theme:
            theme = item["theme"]
            lines += ["", theme]
        mark = MARKS.get(Standing(item["standing"]), "✓")
        absent = "not found" if item["kind"] == "violations" and mark == "✓" else item["standing"]
        lines.append(f"  {mark} {item['asks']}: {absent}")
        lines.append(f"      {item['why']}")
    return "\n".join([*lines[1:], "", "✓ shown   ✗ fails   ? nothing shows it   ~ waived   - does not apply"])
