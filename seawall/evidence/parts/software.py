"""``software/<droplet>.cdx.json``: every package of a droplet, in CycloneDX 1.6 (12.3.4)."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from urllib.parse import quote

from seawall.evidence.context import Context
from seawall.evidence.hosts import HostFacts, Package

_SERIALS = uuid.UUID("5b7a6a0e-9f4e-4d0b-8a55-0a9a1f6a7c11")


def write(context: Context, folder: Path) -> None:
    asked = [facts for _, facts in sorted(context.hosts.items()) if facts.packages]
    if asked:
        (folder / "software").mkdir()
    for facts in asked:
        text = json.dumps(document(facts, context), indent=1, sort_keys=True)
        (folder / "software" / f"{facts.name}.cdx.json").write_text(text + "\n")


def document(facts: HostFacts, context: Context) -> dict:
    """One droplet's bill of materials: same context, same serial number."""
    distribution, _, release = facts.os_id.partition("-")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SERIALS, f'{context.stack}/{facts.name}/{context.at.isoformat()}')}",
        "version": 1,
        "metadata": {
            "timestamp": context.at.isoformat(),
            "tools": {
                "components": [
                    {"type": "application", "name": "seawall", "version": context.tools.get("seawall", "0")}
                ]
            },
            "component": {
                "type": "operating-system",
                "name": distribution,
                "version": release,
                "bom-ref": facts.name,
            },
        },
        "components": [_component(each, distribution, facts.os_id) for each in facts.packages],
    }


def _component(package: Package, distribution: str, release: str) -> dict:
    # https://github.com/package-url/purl-spec: deb, with the distribution's name as namespace.
    url = (
        f"pkg:deb/{distribution}/{quote(package.name, safe='')}@{quote(package.version, safe='')}"
        f"?arch={package.architecture}&distro={release}"
    )
    return {"type": "library", "name": package.name, "version": package.version, "purl": url, "bom-ref": url}
