"""``attached/``: artefacts of attestations and imported scan and penetration-test reports (11.3, 11.4), as they are.

``attached/index.json`` says of each file who made it, when, for which requirement, and its SHA-256.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from seawall.evidence.attestations import attached_name
from seawall.evidence.context import Context


def write(context: Context, folder: Path) -> None:
    held = context.attestations.entries
    if not held:
        return
    attached = folder / "attached"
    attached.mkdir()
    index = []
    for entry in held:
        said = entry.model_dump(mode="json", exclude={"artefact", "path", "source"})
        if entry.source:
            said["file"] = attached_name(entry)
            shutil.copyfile(entry.source, attached / said["file"])
        index.append(said)
    (attached / "index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
