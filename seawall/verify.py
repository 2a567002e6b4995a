"""Run every control on every droplet and say what came of it."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from seawall import findings, inventory
from seawall.findings import Finding, Run, Status
from seawall.places import Places
from seawall.problem import USAGE, Problem
from seawall.tools import run as run_tool

PYTEST_RAN, PYTEST_USAGE_ERROR = (0, 1), 4  # all passed or some failed; bad arguments


@dataclass(frozen=True)
class Outcome:
    """What a verification found. ``report`` is the findings file, ``seconds`` its wall clock time."""

    run: str
    findings: list[Finding]
    report: Path
    seconds: float
    of: str = "controls on {} droplets"

    @property
    def code(self) -> int:
        """2 where a control failed, 1 where one could not look or none was run, 0 otherwise."""
        return findings.exit_code(self.findings)

    def summary(self) -> str:
        """One line: how many controls on how many hosts, and every status that is not a pass."""
        counts = findings.summary(self.findings)
        said = [f"{number} {status}" for status, number in counts["counts"].items() if number]
        return f"{counts['controls']} {self.of.format(counts['subjects'])}: {', '.join(said) or 'none ran'}"

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "run": self.run,
            "seconds": self.seconds,
            "report": str(self.report),
            **findings.summary(self.findings),
            "findings": [json.loads(finding.model_dump_json()) for finding in self.findings],
        }

    def text(self) -> str:
        """For a person: what is wrong, the worst first, each host's count, and where the findings lie."""
        lines = []
        for finding in self.findings:
            if finding.status in (Status.FAIL, Status.ERROR, Status.UNKNOWN, Status.WAIVED):
                lines += [
                    f"{finding.status:<7} {finding.control} on {finding.subject.name} ({finding.severity})"
                ]
                lines += [f"        {finding.title}"]
                lines += [f"        expected  {finding.expected}"] if finding.expected else []
                lines += [f"        seen      {finding.seen}"] if finding.seen else []
                lines += [f"        {finding.reason}"] if finding.reason else []
        for name in sorted({finding.subject.name for finding in self.findings}):
            counts = Counter(finding.status for finding in self.findings if finding.subject.name == name)
            lines.append(
                f"{name}: {', '.join(f'{counts[status]} {status}' for status in Status if counts[status])}"
            )
        return "\n".join([*lines, "", f"{self.summary()} ({self.seconds:.1f} s)", f"findings: {self.report}"])


def report_of(where: Places, run: str) -> Path:
    """Where the findings of a run lie."""
    return where.findings / f"{run}.jsonl"


def past(where: Places, run: str) -> Outcome:
    """What an earlier run found."""
    return Outcome(run, findings.read(report_of(where, run)), report_of(where, run), 0.0)


def run(
    where: Places,
    environment: Mapping[str, str],
    *,
    hosts: Sequence[str] = (),
    only: str = "",
    hosts_file: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run the controls in a pytest of their own, as ``pytest tests/controls`` would by hand.

    ``hosts`` are names (all without any), ``only`` is pytest's ``-k``, ``hosts_file`` an inventory as
    ``ansible-inventory --list`` prints it. A run in which nothing was checked is a ``Problem``, never a pass.
    """
    began = time.monotonic()
    this = Run.begin()
    report = report_of(where, this.id)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/controls",
        "-v",
        "--tb=short",
        "--color=no",
        # Controls compare by `expect`, and need one plugin: what pytest would load and rewrite besides costs more
        # time than asking a host.
        "--assert=plain",
        *("-p", "testinfra.plugin"),
        *("-p", "no:cacheprovider"),
    ]
    command += ["--findings", str(report), *(f"--host={name}" for name in hosts)]
    command += ["-k", only] if only else []
    log = where.logs / "verify.log"
    alone = {**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    say = lambda line: progress(readable(line))  # noqa: E731
    if hosts_file:
        ended = run_tool([*command, f"--hosts-file={hosts_file}"], alone, log, say)
    else:
        # Ansible takes as long to list the hosts as pytest to start: both at once, the one reading from the other.
        with TemporaryFile("w+") as said, inventory.begin(environment=environment, says=said) as listing:
            assert listing.stdout
            pipe = listing.stdout.fileno()
            ended = run_tool([*command, f"--hosts-file=/dev/fd/{pipe}"], alone, log, say, reads=[pipe])
            listing.communicate()  # what nobody read, should pytest have ended before
            if listing.returncode:
                said.seek(0)
                raise inventory.unreadable(said.read())
    if ended.code == PYTEST_USAGE_ERROR:
        wrong = [line.removeprefix("ERROR: ") for line in ended.lines if line.startswith("ERROR: ")]
        raise Problem(
            " ".join(wrong) or f"pytest did not take its arguments; all it said is in {log}.", code=USAGE
        )
    if ended.code not in PYTEST_RAN or not report.exists():
        raise Problem(
            f"The controls did not run to their end (pytest ended with {ended.code}), so nothing is known of the "
            f"droplets. All it said is in {log}. Last: {' '.join(ended.lines[-3:])}"
        )
    found = findings.read(report)
    counted = findings.summary(found)
    if len(found) != counted["controls"] * counted["subjects"]:
        raise Problem(
            f"Some control did not look at some droplet, so {report} is not the whole truth. See {log}."
        )
    return Outcome(this.id, found, report, round(time.monotonic() - began, 1))


_LINE = re.compile(
    r"^tests/controls/test_(?P<file>\w+)\.py::test_(?P<test>\w+)\[(?P<host>[^\]]+)\] (?P<word>\w+)"
)


def readable(line: str) -> str:
    """A line of `pytest -v` as progress: ``sshd: root login on app-1``."""
    found = _LINE.match(line)
    return f"{found['file']}: {found['test'].replace('_', ' ')} on {found['host']}" if found else ""
