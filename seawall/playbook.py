"""Run a playbook: its tasks become progress, its recap becomes counts, its failures one paragraph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

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


def play(
    name: str, options: list[str], where: Places, environment: Mapping[str, str], phase: Phase
) -> list[Recap]:
    """Run ``playbooks/NAME.yml``.

    Raises ``Problem`` with the first failure of each host when any failed or was out of reach.
    """
    log = where.logs / f"{name}.log"

    def follow(line: str) -> None:
        if task := re.match(r"^(?:TASK|RUNNING HANDLER|PLAY) \[(.*?)\]", line):
            phase.now(task[1])

    command = ["ansible-playbook", f"{CHECKOUT}/playbooks/{name}.yml", *options]
    ended = run(command, {**environment, "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}, log, follow)
    found = recaps(ended.lines)
    if ended.code:
        what = "Uninstalling" if name == "remove" else "Hardening"
        raise Problem(f"{what} stopped. {' '.join(failures(ended.lines))} (all it printed: {log})")
    return found


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
