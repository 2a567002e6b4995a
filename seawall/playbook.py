"""Run a playbook: its tasks become progress, its recap becomes counts, its failures one paragraph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seawall.places import CHECKOUT, Places
from seawall.problem import Problem
from seawall.progress import Phase
from seawall.tools import run

_RECAP = re.compile(
    r"^(?P<host>\S+)\s+:\s+ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)\s+failed=(?P<failed>\d+)"
)


@dataclass(frozen=True)
class Recap:
    """One host's line of the play recap."""

    host: str
    ok: int
    changed: int
    unreachable: int
    failed: int


def recaps(lines: list[str]) -> list[Recap]:
    found = (match for line in lines if (match := _RECAP.match(line)))
    return [
        Recap(match["host"], *(int(match[key]) for key in ("ok", "changed", "unreachable", "failed")))
        for match in found
    ]


@dataclass(frozen=True)
class Played:
    """How a playbook went: each host's recap, and each failing host's task and message."""

    code: int
    recaps: list[Recap]
    failures: list[str]
    log: Path

    @property
    def well(self) -> list[str]:
        """The hosts that went through it to the end; none where Ansible itself gave up."""
        return [
            each.host
            for each in self.recaps
            if not each.failed and not each.unreachable and each.host != "localhost"
        ]

    def why(self, host: str) -> str:
        """What became of a host that did not."""
        own = [said for said in self.failures if said.startswith(f"{host}: ")]
        return f"{' '.join(own or self.failures)} (all it printed: {self.log})"


def attempt(
    name: str, options: list[str], where: Places, environment: Mapping[str, str], phase: Phase
) -> Played:
    """Run ``playbooks/NAME.yml``, each host as far as it goes."""
    log = where.logs / f"{name}.log"

    def follow(line: str) -> None:
        if task := re.match(r"^(?:TASK|RUNNING HANDLER|PLAY) \[(.*?)\]", line):
            phase.now(task[1])

    command = ["ansible-playbook", f"{CHECKOUT}/playbooks/{name}.yml", *options]
    ended = run(command, {**environment, "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}, log, follow)
    return Played(ended.code, recaps(ended.lines), failures(ended.lines) if ended.code else [], log)


def play(
    name: str, options: list[str], where: Places, environment: Mapping[str, str], phase: Phase
) -> list[Recap]:
    """The same; ``Problem`` with the first failure of each host when any failed or was out of reach."""
    played = attempt(name, options, where, environment, phase)
    if played.code:
        what = "Uninstalling" if name == "remove" else "Hardening"
        raise Problem(f"{what} stopped. {' '.join(played.failures)} (all it printed: {played.log})")
    return played.recaps


def failures(lines: list[str]) -> list[str]:
    """Each failing host's task and message, once."""
    task, said = "", []
    for line in lines:
        if found := re.match(r"^(?:TASK|RUNNING HANDLER) \[(.*?)\]", line):
            task = found[1]
        elif found := re.match(r"^(?:fatal|failed): \[([^\]]+)\].*?(UNREACHABLE|FAILED)!.*?=> (.*)$", line):
            message = re.search(r'"msg": "((?:[^"\\]|\\.)*)"', found[3])
            text = message[1].replace("\\n", " ").replace('\\"', '"') if message else found[3][:300]
            said.append(f"{found[1]}: {task}: {text}")
        elif line.startswith(("ERROR!", "[ERROR]")):
            said.append(line)
    return list(dict.fromkeys(said)) or [line for line in lines if line][-3:]
