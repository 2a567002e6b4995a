"""``findings.jsonl``, the verification as it was, and ``raw/``, what the tools printed."""

from __future__ import annotations

import shutil
from pathlib import Path

from seawall.evidence.context import Context


def write(context: Context, folder: Path) -> None:
    lines = (f"{finding.model_dump_json()}\n" for finding in context.findings)
    (folder / "findings.jsonl").write_text("".join(lines))
    if context.raw:
        (folder / "raw").mkdir()
    for name, path in sorted(context.raw.items()):
        shutil.copyfile(path, folder / "raw" / name)
