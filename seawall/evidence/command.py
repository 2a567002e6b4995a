"""`seawall evidence`: make, verify, list, keep. The command line itself is in ``seawall.cli``."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from seawall.evidence import bundle, check, gather, store
from seawall.evidence import manifest as manifests
from seawall.evidence.check import Trust, Verdict
from seawall.evidence.manifest import SIGNATURE, Manifest
from seawall.evidence.signing import Key, Keyring
from seawall.evidence.store import FolderStore, Store, link_name, open_store, sequences
from seawall.places import Places, places
from seawall.problem import DECLARED, DEVIATES, UNABLE, USAGE, Problem
from seawall.session import Session


def default_output(where: Places) -> Path:
    return where.root / "evidence" / "bundles"


@dataclass(frozen=True)
class Made:
    """A bundle, and where it is."""

    path: Path
    manifest: Manifest
    sent: int
    store: str

    @property
    def code(self) -> int:
        """2 where a control failed, 1 where the bundle is incomplete, 0 otherwise."""
        if self.manifest.counts.get("fail"):
            return DEVIATES
        return UNABLE if self.manifest.lacking else DECLARED

    def document(self) -> dict[str, Any]:
        held = self.manifest
        return {
            "bundle": str(self.path),
            "stack": held.stack,
            "at": held.at,
            "sequence": held.sequence,
            "previous": held.previous.name if held.previous else None,
            "complete": not held.lacking,
            "lacking": held.lacking,
            "counts": held.counts,
            "files": len(held.files),
            "store": self.store or None,
            "uploaded": self.sent,
        }

    def text(self) -> str:
        held = self.manifest
        said = (
            ", ".join(f"{number} {status}" for status, number in sorted(held.counts.items())) or "no findings"
        )
        lines = [
            f"{self.path}",
            f"  {len(held.files)} files, place {held.sequence} of its chain; findings: {said}",
        ]
        if self.store:
            lines.append(f"  kept in {self.store} ({self.sent} files uploaded)")
        if held.lacking:
            lines.append(f"  INCOMPLETE: {held.lacking[0]}" + " …" * (len(held.lacking) > 1))
        return "\n".join(lines)


def make(session: Session, output: Path | None, kept: str, *, verify: bool) -> Made:
    """Make a bundle and, where a store is named, bring it there; what an earlier upload left open goes first."""
    folder = (output or default_output(session.where)).expanduser().resolve()
    keyring = Keyring.of(session.where)
    keyring.required()
    target = opened(session, kept) if kept else None
    name = session.stack.name
    if target:
        with bundle.only_one(folder):
            bundle.adopt(folder, keyring, name)
            store.push(folder, target, name)
            store.pull_chain(folder, target, name)
    path = bundle.make(
        folder, keyring, partial(gather.gather, session, verify=verify), gather.secrets(session), name
    )
    held = manifests.parse((path / manifests.MANIFEST).read_bytes())
    sent = 0
    if target:
        with session.progress.phase("upload") as phase, bundle.only_one(folder):
            sent = store.push(folder, target, name, phase.now)
            phase.done(f"{sent} files to {target.where}")
    return Made(path, held, sent, target.where if target else "")


OWN = "stack"
"""How ``--store`` names the stack's own bucket (``seawall:evidenceStore``)."""


def opened(session: Session, kept: str) -> Store:
    """The store of that name; the stack's own with the key that was made for it, which only its state holds."""
    if kept != OWN:
        return open_store(kept, session.environment)
    held, stack = session.standing().get("evidence_store"), session.stack.name
    if not held:
        raise Problem(
            f"Stack {stack} declares no bucket for evidence, and --store names no other place. Set "
            "seawall:evidenceStore (Pulumi.prod.example.yaml) and run `seawall up`, or name a store.",
            code=USAGE,
        )
    key = json.loads(
        session.engine().ask("stack", "output", "evidence_store_key", "--show-secrets", "--json")
    )
    environment = {
        "SPACES_ENDPOINT_URL": f"https://{held['region']}.digitaloceanspaces.com",
        **session.environment,
        "SPACES_ACCESS_KEY_ID": key["access"],
        "SPACES_SECRET_ACCESS_KEY": key["secret"],
    }
    return open_store(f"s3://{held['bucket']}/evidence", environment)


def push(session: Session, output: Path | None, kept: str) -> tuple[int, str]:
    """Bring what the store lacks there, also of an upload that was interrupted; how many files went up, and where."""
    folder = (output or default_output(session.where)).expanduser().resolve()
    target = opened(session, kept or OWN)
    with bundle.only_one(folder):
        bundle.adopt(folder, Keyring.of(session.where), session.stack.name)
        return store.push(folder, target, session.stack.name), target.where


def verify(named: str, key: str, allowed: Path | None, kept: str) -> Verdict:
    """A bundle's folder, or the name of one in the store. A chain beside a bundle is looked at unasked."""
    trust = Trust.of(key, allowed, Keyring.of(places()).allowed)
    target = open_store(kept, os.environ) if kept else None
    path = Path(named)
    if target and not path.is_dir():
        with tempfile.TemporaryDirectory(prefix="seawall-evidence-") as folder:
            return check.check(store.copy_into(Path(folder), target, named), trust, target)
    beside = path.absolute().parent
    if target is None and (beside / "chain").is_dir():
        target = FolderStore(beside)
    return check.check(path, trust, target)


@dataclass(frozen=True)
class Row:
    """One bundle of the list."""

    stack: str
    name: str
    at: str
    sequence: int
    status: str
    files: int
    bytes: int
    where: str


@dataclass(frozen=True)
class Listed:
    """What a store holds. ``faults`` are those of the chains, ``removable`` what --prune would take away."""

    where: str
    rows: list[Row]
    faults: list[str]
    warnings: list[str]
    removable: list[str]
    removed: list[str]

    @property
    def code(self) -> int:
        return DEVIATES if self.faults else DECLARED

    def document(self) -> dict[str, Any]:
        return {
            "store": self.where,
            "bundles": [vars(row) for row in self.rows],
            "chain_ok": not self.faults,
            "faults": self.faults,
            "warnings": self.warnings,
            "removable": self.removable,
            "removed": self.removed,
        }

    def text(self) -> str:
        lines = [
            f"{row.at}  {row.name:<40} {row.sequence:>4}  {row.status:<10} {row.bytes / 2**20:7.1f} MiB  {row.where}"
            for row in self.rows
        ] or [f"{self.where} holds no bundle yet."]
        lines += [f"chain: {fault}" for fault in self.faults] or ["chain: whole"] * bool(self.rows)
        lines += [f"note: {warning}" for warning in self.warnings]
        lines += [f"removed: {name}" for name in self.removed]
        lines += [f"older than thirteen months, --prune removes it: {name}" for name in self.removable]
        return "\n".join(lines)


def listed(
    where: Places, output: Path | None, kept: str | Store, *, prune: bool, now: datetime | None = None
) -> Listed:
    """Every bundle of the store (the output folder, unless one is named), and whether their chains hold."""
    target = open_store(kept, os.environ) if kept and isinstance(kept, str) else kept
    target = target or FolderStore((output or default_output(where)).resolve())
    trust = Trust.of(default=Keyring.of(where).allowed) if store.stacks(target) else None
    now = now or datetime.now(UTC)
    rows: list[Row] = []
    faults: list[str] = []
    removed: list[str] = []
    removable: list[str] = []
    for stack in store.stacks(target):
        assert trust
        faults += check.chain_faults(target, stack, trust, now=now)
        faults += _remembered(where, target, stack)
        if prune and faults:
            raise Problem(f"Nothing is removed while the chain is not whole: {faults[0]}", code=DEVIATES)
        removed += store.prune(target, stack, now) if prune else []
        removable += [held.name for held in store.aged(target, stack, now)]
        for sequence in sequences(target, stack):
            rows.append(_row(target, stack, sequence, now))
    return Listed(target.where, rows, faults, target.warnings(), removable, removed)


def _row(target: Store, stack: str, sequence: int, now: datetime) -> Row:
    held = manifests.parse(target.get(link_name(stack, sequence)))
    whole = {f"{held.name}/{each.path}" for each in held.files} | {f"{held.name}/{SIGNATURE}"}
    there = set(target.keys(held.name))
    if not there and now - held.time > store.KEEP:
        status = "expired"
    elif not whole <= there:
        status = "not whole" if there else "missing"
    else:
        status = "incomplete" if held.lacking else "complete"
    size = sum(each.size for each in held.files)
    return Row(
        stack, held.name, held.at, sequence, status, len(held.files), size, f"{target.where}/{held.name}"
    )


def _remembered(where: Places, target: Store, stack: str) -> list[str]:
    """A chain cut at its end looks whole: so this machine remembers the last place it made itself."""
    mine = sequences(FolderStore(default_output(where)), stack)
    known = sequences(target, stack)
    if mine and known and mine[-1] > known[-1]:
        return [
            f"The chain of {stack} in {target.where} ends at place {known[-1]}, and this machine knows place "
            f"{mine[-1]}: its end was cut off, or was not uploaded (`seawall evidence push`)."
        ]
    return []


def key_document(key: Key, keyring: Keyring) -> dict[str, Any]:
    """What `seawall evidence key show --json` prints; nothing secret."""
    return {
        "fingerprint": key.fingerprint,
        "public": key.public,
        "path": str(key.path),
        "kept": "a file of this machine (0600)" if key.made_here else "an agent or a hardware token",
        "allowed_signers": str(keyring.allowed),
    }
