"""Exceptions to rules: the same reviewed data as for controls, `waivers.yml`, by the rule's id."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

from seawall.findings import Waiver, read_waivers


def read(checkout: Path) -> list[Waiver]:
    """The checkout's waivers; none where there is no file."""
    path = checkout / "waivers.yml"
    return read_waivers(path) if path.exists() else []


def reason(waivers: Iterable[Waiver], rule: str, subject: str, today: date) -> str:
    """Why a violation is accepted today; empty where it isn't. A lapsed waiver accepts nothing."""
    for waiver in waivers:
        if waiver.covers(rule, subject) and waiver.start <= today <= waiver.expiry:
            return f"{waiver.reason} (waived by {waiver.approver} until {waiver.expiry})"
    return ""
