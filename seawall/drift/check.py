"""The full pass: what the roles would change, by Ansible's check mode. And `--fix`: the roles run, on those hosts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seawall.drift.difference import Difference, unasked
from seawall.drift.run import Look
from seawall.findings import Subject
from seawall.job import harden
from seawall.places import CHECKOUT
from seawall.playbook import play
from seawall.problem import Problem

LAYER = "hosts"


def look(looking: Look) -> Iterable[Difference]:
    """Every task that would change something, as a difference."""
    session = looking.session
    with TemporaryDirectory(prefix="seawall-") as folder:
        told = Path(folder) / "changes.jsonl"
        environment = {
            **session.environment,
            "ANSIBLE_CALLBACK_PLUGINS": str(CHECKOUT / "plugins" / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "seawall_changes",
            "SEAWALL_CHANGES_FILE": str(told),
        }
        limit = ["--limit", ",".join(looking.hosts)] if looking.hosts else []
        try:
            with session.progress.phase("check") as phase:
                play("harden", ["--check", "--diff", *limit], session.where, environment, phase)
        except Problem as problem:
            yield unasked(
                LAYER,
                Subject(kind="layer", name="check mode"),
                str(problem),
                "Put that right and look again; until then nobody knows what the roles would change.",
            )
        lines = told.read_text().splitlines() if told.exists() else []
    yield from differences(map(json.loads, lines))


def differences(changes: Iterable[Mapping[str, Any]]) -> list[Difference]:
    """Pure: one a task and host."""
    found: dict[Any, Difference] = {}
    for change in changes:
        each = Difference(
            layer=LAYER,
            subject=Subject(kind="droplet", name=change["host"]),
            what=f"task {change['task']}",
            expected="nothing to change",
            seen="; ".join(change["why"])[:600] or "the task would change something",
            requirements=("pci-2.2.1",),
            remedy=f"`seawall harden --host {change['host']}` (or `seawall drift --fix`).",
            fix=f"run the roles on {change['host']}",
        )
        found[each.id] = each
    return list(found.values())


def mend(looking: Look, offers: Iterable[Difference]) -> list[str]:
    """Run the roles on the hosts that have something to put right. What could lock people out is commit-confirmed."""
    names = sorted({each.subject.name for each in offers})
    session = looking.session
    with session.progress.phase("harden") as phase:
        return [f"{recap.host}: the roles changed {recap.changed}" for recap in harden(session, phase, names)]
