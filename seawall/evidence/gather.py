"""Gather what a bundle is made of: the edge where evidence meets the stack. Everything else here is pure or local."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seawall import __version__, archive, certificates, findings, inventory
from seawall.evidence import attestations, hosts, profile
from seawall.evidence.context import Change, Context, Signer
from seawall.evidence.manifest import Manifest
from seawall.findings import Finding, Run
from seawall.hosts import hosts as standing_hosts
from seawall.job import check_controls
from seawall.places import CHECKOUT
from seawall.problem import Problem
from seawall.progress import Phase
from seawall.session import Session

CHANGES_DAYS = 400
"""How far back the change log goes where there was no bundle before."""


def gather(
    session: Session, at: datetime, before: Manifest | None, signer: Signer, *, verify: bool
) -> Context:
    """Look at the stack, freshly unless ``verify`` is off, and make a context of what was seen."""
    outputs = session.standing()
    found, raw = _findings(session, verify)
    notes: list[str] = []
    with session.progress.phase("facts") as phase:
        facts = _hosts(session, phase)
        phase.done(f"{len(facts)} droplets")
    notes += [
        f"{name} could not be asked for its lists: {f.unreachable}."
        for name, f in facts.items()
        if f.unreachable
    ]
    archives = _archives(session, outputs, notes)
    since = before.time if before else at - timedelta(days=CHANGES_DAYS)
    return Context(
        stack=session.stack.name,
        at=at,
        outputs=outputs,
        findings=tuple(found),
        controls=declared(),
        waivers=tuple(findings.own_waivers()),
        hosts=facts,
        certificates=_certificates(session, notes),
        **_drift(session, tuple(found) if verify else None),
        archives=tuple(archives),
        attestations=attestations.own(),
        profile=profile.own(),
        changes=tuple(sorted([*_git(since), *_pulumi(session, since)], key=lambda change: change.at)),
        previous=before.model_dump(mode="json") if before else None,
        tools=tools(),
        commit=Run.begin("evidence").by.commit,
        signer=signer,
        raw=raw,
        notes=tuple(notes),
    )


def _certificates(session: Session, notes: list[str]) -> tuple[certificates.Held, ...]:
    try:
        return tuple(certificates.of_account(session))
    except Problem as unheard:
        notes.append(f"The load balancer's certificate could not be asked for: {unheard}")
        return ()


def declared() -> tuple[Any, ...]:
    """Every control there is."""
    from tests.controls import catalogue

    return tuple(catalogue.every())


def _findings(session: Session, verify: bool) -> tuple[list[Finding], dict[str, Path]]:
    if verify:
        outcome = check_controls(session, [])
        return outcome.findings, {"verify.log": session.where.logs / "verify.log"}
    # Their names are times: the last is the latest. One of few hosts is no verification of a stack, and shows as such.
    reports = sorted(session.where.findings.glob("[0-9]*.jsonl"))
    if not reports:
        raise Problem("No verification was ever made here; run `seawall verify`, or leave --no-verify out.")
    return findings.read(reports[-1]), {}


def _hosts(session: Session, phase: Phase) -> dict[str, hosts.HostFacts]:
    held = inventory.listed(environment=session.environment)
    return hosts.gather(held.get("_meta", {}).get("hostvars", {}), phase.now)


def _archives(session: Session, outputs: dict[str, Any], notes: list[str]) -> list[archive.Verdict]:
    """Each collector's archive against its chain and the anchors kept here; a note where nobody could look."""
    standing, found = standing_hosts(outputs), []
    with session.progress.phase("archive") as phase:
        for name in archive.collectors(outputs):
            try:
                found.append(archive.judge_host(standing[name], session.where))
            except Problem as problem:
                notes.append(str(problem))
        phase.done(f"{sum(verdict.entries for verdict in found)} closed files, {len(found)} archives")
    return found


def _drift(session: Session, verified: tuple[Finding, ...] | None) -> dict[str, Any]:
    """A fresh look for differences where there was a fresh verification, and the history of all of them."""
    from seawall.drift import command

    report = None
    if verified is not None:
        with session.progress.phase("drift") as phase:
            report = command.look(session, "full", verified=verified).report
            phase.done(f"{len(report.differences)} differences")
    _, kept = command.history(session)
    return {
        "drift": report.document() if report else None,
        "drift_history": tuple(kept["differences"]),
        "drift_runs": tuple(kept["runs"]),
    }


def _git(since: datetime) -> list[Change]:
    """Commits of the checkout. Who: the author's name, never an address."""
    form = "%H%x1f%cI%x1f%an%x1f%s"
    told = subprocess.run(
        ["git", "log", f"--since={since.isoformat()}", f"--format={form}"],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = (line.split("\x1f") for line in told.stdout.splitlines())
    return [
        Change(datetime.fromisoformat(when).astimezone(UTC), "git", commit, who, what)
        for commit, when, who, what in rows
    ]


def _pulumi(session: Session, since: datetime) -> list[Change]:
    """Updates of the stack, by what each did."""
    try:
        told = json.loads(session.engine().ask("stack", "history", "--json", "--show-secrets=false"))
    except (Problem, ValueError):
        return []
    found: list[Change] = []
    for update in told:
        at = datetime.fromisoformat(update["startTime"].replace("Z", "+00:00")).astimezone(UTC)
        if at < since:
            continue
        counts = update.get("resourceChanges") or {}
        did = ", ".join(f"{number} {verb}" for verb, number in sorted(counts.items())) or "nothing"
        environment = update.get("environment") or {}
        found.append(
            Change(
                at=at,
                source="pulumi",
                id=f"{session.stack.name}/{update.get('version', len(found) + 1)}",
                who=environment.get("git.author") or "unknown",
                what=f"{update['kind']}: {update['result']}; {did}",
            )
        )
    return found


def tools() -> dict[str, str]:
    """Versions of what made the bundle."""
    return {
        "seawall": __version__,
        "python": platform.python_version(),
        "openssh": _said(["ssh", "-V"]).partition(",")[0],
        "pulumi": version("pulumi"),
        **{name: version(name) for name in ("ansible-core", "pytest-testinfra", "paramiko", "cryptography")},
    }


def _said(command: list[str]) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return (answer.stdout + answer.stderr).strip()


def secrets(session: Session) -> dict[str, str]:
    """The stack's own secrets, by what each is, to be searched for in the bundle; never printed, never kept."""
    where = session.where
    files = {
        "the API token": where.token,
        "the state's passphrase": where.passphrase,
        "the administrator's private key": where.ssh_key,
        "the site's private key": where.site_certificate / "site.key",
        "the lab's Spaces key": where.spaces_key / "secret",
    }
    found = {what: path.read_text(errors="replace") for what, path in files.items() if path.is_file()}
    for path in (where.root / "evidence").glob("signing_key*"):
        if path.suffix != ".pub":
            found["the signing key"] = path.read_text()
    for name in (
        "DIGITALOCEAN_TOKEN",
        "DIGITALOCEAN_ACCESS_TOKEN",
        "SPACES_SECRET_ACCESS_KEY",
        "AWS_SECRET_ACCESS_KEY",
    ):
        if os.environ.get(name):
            found[f"the value of {name}"] = os.environ[name]
    if session.standing().get("evidence_store"):
        key = session.engine().ask("stack", "output", "evidence_store_key", "--show-secrets", "--json")
        found["the evidence store's key"] = json.loads(key)["secret"]
    configured = json.loads(session.engine().ask("config", "--show-secrets", "--json"))
    found |= {f"the setting {name}": held["value"] for name, held in configured.items() if held.get("secret")}
    return found
