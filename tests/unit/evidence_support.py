"""A bundle's material made by hand, and bundles made of it, without any stack."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from seawall.controls import Control
from seawall.evidence import bundle
from seawall.evidence.context import Context
from seawall.evidence.parts import findings as findings_part
from seawall.evidence.parts import imported as imported_part
from seawall.evidence.signing import Keyring
from seawall.findings import By, Finding, Severity, Status, Subject

PARTS = (findings_part.write, imported_part.write)
CONTROL = Control(
    "sshd-root-login", "Root cannot log in over SSH", Severity.HIGH, ("pci-2.2.2",), "all", "any"
)


def finding(name: str = "app-1", status: str = "pass", **held) -> Finding:
    values = {
        "control": CONTROL.id,
        "title": CONTROL.title,
        "subject": Subject(kind="droplet", name=name),
        "status": Status(status),
        "severity": Severity.HIGH,
        "expected": "PermitRootLogin: no",
        "seen": "PermitRootLogin: no",
        "requirements": ("pci-2.2.2",),
        "at": datetime(2026, 11, 24, 9, 0, tzinfo=UTC),
        "run": "20261124T090000Z-0000",
        "by": By(version="0.1.0", commit="0" * 40),
    }
    return Finding(**(values | held))


def context(at: datetime, before=None, signer=None, **held) -> Context:
    values = {
        "stack": "lab",
        "at": at,
        "outputs": {"droplets": {"app-1": {"tier": "app"}}},
        "findings": (finding(),),
        "controls": (CONTROL,),
        "previous": before.model_dump(mode="json") if before else None,
        "tools": {"seawall": "0.1.0"},
        "commit": "0" * 40,
    }
    return Context(**(values | ({"signer": signer} if signer else {}) | held))


def keyring(folder: Path) -> Keyring:
    """One with a key that was made here."""
    found = Keyring(folder / "keys")
    if not found.folder.exists():
        found.folder.mkdir(mode=0o700)
        found.make()
    return found


def make(folder: Path, *, parts=PARTS, secrets=None, stack="lab", **held) -> Path:
    """The next bundle in ``folder/bundles``."""
    gather = lambda at, before, signer: context(at, before, signer, stack=stack, **held)  # noqa: E731
    return bundle.make(folder / "bundles", keyring(folder), gather, secrets or {}, stack, parts=parts)
