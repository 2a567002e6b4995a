"""`seawall audit`: the policy pack's rules over the live account, what no stack manages included. Reads only.

Results are findings, as a control's are: the rule is the control, the resource its subject.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import policy.rules  # noqa: F401  (registers the rules)
from policy import live
from policy.cloud import Cloud, Subject
from policy.rule import POLICIES, Policy
from seawall import cloud, findings
from seawall.findings import Finding, Run, Status
from seawall.session import Session
from seawall.verify import Outcome

SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note"}


class Audited(Outcome):
    """What an audit found. Advisory rules are told and decide nothing: one that cries wolf is switched off."""

    @property
    def code(self) -> int:
        return findings.exit_code(f for f in self.findings if not POLICIES[f.control].advisory)


def audit(session: Session) -> Audited:
    """Judge everything the account holds.

    Raises ``Problem`` where the account can't be read: nothing is then known of it.
    """
    began = time.monotonic()
    run = Run.begin()
    with session.progress.phase("audit") as phase:
        phase.now("reading the account")
        seen = Cloud(tuple(read(session.environment, urns(session))), audit=True)
        found = findings.ordered(judged(seen, run))
        # Apart from the verifications: those speak of droplets, and the latest of them is what evidence may take.
        report = session.where.root / "audit" / f"{run.id}.jsonl"
        findings.write(report, found)
        outcome = Audited(
            run.id, found, report, round(time.monotonic() - began, 1), of="rules on {} resources"
        )
        phase.done(outcome.summary())
    return outcome


def urns(session: Session) -> dict[str, str]:
    """The API's id → Pulumi's name, of everything this stack manages; a certificate goes by its name."""
    engine = session.engine()
    if not engine.exists():
        return {}
    state = json.loads(engine.ask("stack", "export")).get("deployment") or {}
    return {str(each["id"]): each["urn"] for each in state.get("resources") or [] if each.get("id")}


def read(environment: Mapping[str, str], known: Mapping[str, str]) -> list[Subject]:
    """All there is in the account."""
    with cloud.client(environment) as api:
        return live.account(
            lambda path, key: cloud.every(api, cloud.Kind(path, key)),
            lambda path, key: cloud.one(api, path)[key],
            known,
        )


def judged(seen: Cloud, run: Run) -> Iterable[Finding]:
    """One finding for each rule and each resource it is about: what is content passes, too."""
    accepted = findings.own_waivers()
    for rule in POLICIES.values():
        complaints: dict[Subject, list[str]] = {}
        for subject, complaint in rule.complaints(seen):
            complaints.setdefault(subject, []).append(complaint)
        for subject in dict.fromkeys([*rule.subjects(seen), *complaints]):
            finding = _finding(rule, subject, complaints.get(subject, []), seen, run)
            yield findings.waive(finding, accepted)


def _finding(rule: Policy, subject: Subject, said: list[str], seen: Cloud, run: Run) -> Finding:
    managed = bool(subject.urn) or subject.kind in ("account", "domain")
    stranger = "" if managed else "No resource of this stack manages it."
    advice = "Advice only." if rule.advisory else ""
    told = " ".join(filter(None, (rule.remedy, stranger, advice)))
    status, reason = (Status.FAIL, told) if said else (Status.PASS, stranger)
    if rule.unseen:
        status, reason = Status.NOT_APPLICABLE, f"Not to be seen here: {rule.unseen}."
    return Finding(
        id=findings.identity(rule.id, subject.kind, subject.name),
        control=rule.id,
        title=rule.title,
        subject=findings.Subject(kind=subject.kind, name=subject.name, urn=subject.urn or None),
        status=status,
        severity=rule.severity,
        expected=rule.title,
        seen="; ".join(said),
        reason=reason,
        requirements=rule.requirements,
        at=seen.at,
        run=run.id,
        by=run.by,
    )


def sarif(found: Iterable[Finding]) -> dict[str, Any]:
    """Failures in SARIF 2.1.0 (OASIS), which code hosts show beside the code."""
    failed = [finding for finding in found if finding.status is Status.FAIL]
    rules = [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.title},
            "help": {"text": rule.remedy},
            "properties": {"tags": list(rule.requirements)},
        }
        for rule in POLICIES.values()
    ]
    results = [
        {
            "ruleId": finding.control,
            "level": LEVELS[finding.severity.value],
            "message": {
                "text": f"{finding.subject.kind} {finding.subject.name}: {finding.seen}. {finding.reason}"
            },
            "locations": [{"logicalLocations": [{"name": finding.subject.name, "kind": "resource"}]}],
            "partialFingerprints": {"seawall/v1": str(finding.id)},
        }
        for finding in failed
    ]
    tool = {"driver": {"name": "Seawall", "version": failed[0].by.version if failed else "0", "rules": rules}}
    return {"$schema": SARIF, "version": "2.1.0", "runs": [{"tool": tool, "results": results}]}


def write_sarif(path: Path, found: Iterable[Finding]) -> None:
    path.write_text(json.dumps(sarif(found), indent=2) + "\n")
