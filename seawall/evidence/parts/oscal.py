"""``assessment-results.json`` and ``catalog.json``: results, and the catalogue they speak of, in OSCAL 1.1.3 (NIST).

The catalogue holds ids and our own words, never the standard's sentences. Ids are derived, so that the same material
gives the same document.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seawall.evidence.catalogue import Row, Standing, catalogue
from seawall.evidence.context import Context
from seawall.findings import Finding

VERSION = "1.1.3"
_IDS = uuid.UUID("2d3f0d0a-5f0c-4f5b-9d53-6c2f2a0f4b77")
NAMESPACE = "https://seawall.example/oscal"
MET = {Standing.PASS, Standing.ATTESTED, Standing.INHERITED}


def write(context: Context, folder: Path) -> None:
    for name, made in (("catalog.json", catalog(context)), ("assessment-results.json", results(context))):
        (folder / name).write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")


def _id(context: Context, *names: str) -> str:
    return str(uuid.uuid5(_IDS, "/".join((context.stack, context.at.isoformat(), *names))))


def _metadata(context: Context, title: str) -> dict[str, Any]:
    return {
        "title": title,
        "last-modified": context.at.isoformat(),
        "version": f"{context.at:%Y%m%dT%H%M%SZ}",
        "oscal-version": VERSION,
    }


def catalog(context: Context) -> dict[str, Any]:
    """The requirements as OSCAL controls, one group a family."""
    held = catalogue()
    groups = [
        {
            "id": f"pci-{number}",
            "title": title,
            "controls": [
                {"id": each.id, "title": each.says} for each in held.requirements if each.family == number
            ],
        }
        for number, title in held.families.items()
    ]
    title = "PCI DSS v4.0.1: requirement ids, in Seawall's own words"
    return {
        "catalog": {"uuid": _id(context, "catalog"), "metadata": _metadata(context, title), "groups": groups}
    }


def results(context: Context) -> dict[str, Any]:
    """An observation for each finding, and for each requirement a finding that relates to its observations."""
    standing = context.rows
    plan = _id(context, "plan")
    owed = [each for each in standing if each.standing is not Standing.NOT_OWED]
    result: dict[str, Any] = {
        "uuid": _id(context, "result"),
        "title": f"Verification of stack {context.stack}",
        "description": " ".join(context.lacking) or "Every control ran on every droplet.",
        "start": min((each.at for each in context.findings), default=context.at).isoformat(),
        "end": context.at.isoformat(),
        "local-definitions": {"inventory-items": _inventory(context)},
        "reviewed-controls": {
            "control-selections": [
                {"include-controls": [{"control-id": each.requirement.id} for each in owed]}
                if owed
                else {"include-all": {}}
            ]
        },
        "observations": [_observation(context, each) for each in context.findings],
        "findings": [_finding(context, each) for each in owed],
    }
    result = {key: value for key, value in result.items() if value}
    if not result.get("local-definitions", {}).get("inventory-items"):
        result.pop("local-definitions", None)
    document = {
        "uuid": _id(context, "results"),
        "metadata": _metadata(context, f"Assessment results of {context.stack}"),
        "import-ap": {"href": f"#{plan}"},
        "results": [result],
        "back-matter": {
            "resources": [
                {
                    "uuid": plan,
                    "title": "The plan: every control of Seawall on every droplet",
                    "rlinks": [{"href": "catalog.json"}],
                }
            ]
        },
    }
    return {"assessment-results": document}


def _inventory(context: Context) -> list[dict[str, Any]]:
    return [
        {"uuid": _id(context, "droplet", name), "description": f"droplet {name}, tier {held['tier']}"}
        for name, held in sorted((context.outputs.get("droplets") or {}).items())
    ]


def _observation(context: Context, finding: Finding) -> dict[str, Any]:
    told = {"control": finding.control, "status": finding.status.value, "severity": finding.severity.value}
    subject = finding.subject
    seen = " ".join(filter(None, (f"Expected {finding.expected}.", f"Seen {finding.seen}.", finding.reason)))
    return {
        "uuid": str(finding.id),
        "title": finding.title,
        "description": seen,
        "methods": ["TEST"],
        "types": ["finding"],
        "collected": finding.at.isoformat(),
        "props": [{"name": name, "value": value, "ns": NAMESPACE} for name, value in told.items()],
        "subjects": [
            {
                "subject-uuid": _id(context, subject.kind, subject.name),
                "type": "inventory-item",
                "title": subject.name,
            }
        ],
        "relevant-evidence": [{"href": "findings.jsonl", "description": f"finding {finding.id}"}],
    }


def _finding(context: Context, row: Row) -> dict[str, Any]:
    made: dict[str, Any] = {
        "uuid": _id(context, "requirement", row.requirement.id),
        "title": f"{row.requirement.number}: {row.standing.value}",
        "description": row.why,
        "target": {
            "type": "objective-id",
            "target-id": row.requirement.id,
            "status": {"state": "satisfied" if row.standing in MET else "not-satisfied"},
        },
    }
    if row.findings:
        made["related-observations"] = [{"observation-uuid": id} for id in _unique(row.findings)]
    return made


def _unique(findings: Iterable[Finding]) -> list[str]:
    return list(dict.fromkeys(str(finding.id) for finding in findings))
