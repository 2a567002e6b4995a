"""`seawall explain ID`: a requirement, a control or a finding, with what was last seen of it and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from seawall.controls import Control
from seawall.evidence.catalogue import Row, Standing
from seawall.findings import Finding, Status, ordered
from seawall.problem import USAGE, Problem


def document(
    id: str, rows: Sequence[Row], controls: Sequence[Control], findings: Sequence[Finding]
) -> dict[str, Any]:
    """What is known of ``id``: ``pci-8.2.8`` (or ``8.2.8``), a control's id, or a finding's (its first digits do).

    Raises ``Problem`` for what there is not, with what comes near it.
    """
    wanted = f"pci-{id}" if id[:1].isdigit() and "." in id else id
    if row := next((each for each in rows if each.requirement.id == wanted), None):
        held = row.requirement
        return {
            "id": held.id,
            "what": "requirement",
            "says": held.says,
            "standing": row.standing.value,
            "why": row.why,
            "shown": held.shown,
            "who": held.who,
            "checked_by": [
                {"control": each.id, "title": each.title} for each in controls if held.id in each.requirements
            ],
            "seen": _seen(row.findings),
            "remedy": _owed(row),
        }
    if control := next((each for each in controls if each.id == wanted), None):
        mine = [each for each in findings if each.control == wanted]
        return {
            "id": control.id,
            "what": "control",
            "says": control.title,
            "severity": control.severity.value,
            "requirements": list(control.requirements),
            "on": control.on,
            "seen": _seen(mine),
            "remedy": _remedy(mine),
        }
    near = [each for each in findings if len(id) >= 6 and str(each.id).startswith(id.lower())]
    if len({each.id for each in near}) == 1:
        found = near[-1]
        return {
            "id": str(found.id),
            "what": "finding",
            "says": found.title,
            "control": found.control,
            "requirements": list(found.requirements),
            "seen": _seen([found]),
            "remedy": _remedy([found]),
        }
    known = [each.requirement.id for each in rows] + [each.id for each in controls]
    close = difflib.get_close_matches(wanted, known, 5, 0.5)
    raise Problem(
        f"There is no requirement, control or finding {id}. "
        + (f"Near it: {', '.join(close)}. " if close else "")
        + "docs/controls.md lists controls; a finding's id stands in the findings file.",
        code=USAGE,
    )


def _owed(row: Row) -> str:
    if row.standing not in (Standing.FAIL, Standing.MISSING):
        return "Nothing."
    return row.requirement.remedy or "Put right what the controls name, then run `seawall verify`."


def _seen(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [
        {
            "control": each.control,
            "on": each.subject.name,
            "status": each.status.value,
            "expected": each.expected,
            "seen": each.seen,
            "reason": each.reason,
            "at": each.at.isoformat(timespec="seconds"),
            "id": str(each.id),
        }
        for each in ordered(findings)
    ]


def _remedy(findings: Sequence[Finding]) -> str:
    if not findings:
        return "Never looked at here: run `seawall verify`."
    failed = sorted({each.subject.name for each in findings if each.status is Status.FAIL})
    if not failed:
        return "Nothing to put right."
    hosts = " ".join(f"--host {name}" for name in failed)
    return f"`seawall harden --check {hosts}` tells what would change; run it without --check, then verify again."


def text(told: dict[str, Any]) -> str:
    """For a person: what it asks, how it is checked, what was seen, what to do."""
    lines = [f"{told['id']} ({told['what']})", f"  {told['says']}", ""]
    if "standing" in told:
        who = {"you": "you", "digitalocean": "DigitalOcean", "shared": "you and DigitalOcean"}[told["who"]]
        lines += [f"Stands as   {told['standing']}. {told['why']}", f"Answers     {who}", ""]
    if told.get("severity"):
        lines += [f"Severity    {told['severity']}"]
    if told.get("requirements"):
        lines += [f"Serves      {', '.join(told['requirements'])}", ""]
    if "checked_by" in told:
        checks = [f"  {each['control']}: {each['title']}" for each in told["checked_by"]]
        lines += ["Checked by", *(checks or ["  no control: a person has to attest it"]), ""]
    lines.append("Last seen" if told["seen"] else "Last seen   never")
    for each in told["seen"][:40]:
        lines.append(f"  {each['status']:<14} {each['control']} on {each['on']} ({each['at']})")
        if each["status"] not in ("pass", "not-applicable"):
            lines += [f"      expected  {each['expected']}", f"      seen      {each['seen']}"]
        if each["reason"]:
            lines.append(f"      {each['reason']}")
    if len(told["seen"]) > 40:
        lines.append(f"  and {len(told['seen']) - 40} more: --json prints all")
    return "\n".join([*lines, "", f"To do       {told['remedy']}"])
