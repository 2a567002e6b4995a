"""What a hardening does to hosts and asks of them: the roles, the controls, the quick look for drift.

Where the controller's own things lie (known hosts, its ssh key, logs, findings) comes from the environment, as
``seawall env`` sets it; who the hosts are comes from the resource's inputs, since the stack's outputs don't exist yet.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hardening import Inputs, Job, Tell
from variables import whole

from infra.said import FAILED_CONTROLS
from seawall import connection, hosts, verify
from seawall.drift import baseline
from seawall.drift.gather import gather
from seawall.drift.hosts import judged
from seawall.environment import Stack
from seawall.findings import Finding, Status
from seawall.job import harden_each
from seawall.places import CHECKOUT, places
from seawall.playbook import Recap
from seawall.problem import Problem
from seawall.progress import Phase, Progress
from seawall.session import Session

LEAVE_SECONDS = 60
"""After so long whatever is still connected is idle."""

QUIET = """while [ -n "$(ss --no-header --tcp --numeric state established 'sport = :443')" ]; do sleep 0.2; done"""
"""Ends when nobody is connected to the web server any more."""


class Failed(Exception):
    """Why a droplet is not hardened: one paragraph."""


class Telling(Progress):
    """Progress as lines of the engine's log, beside each droplet at work."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(quiet=True)
        self.tell = tell

    def note(self, text: str) -> None:
        self.tell(text.strip())

    def _running(self, phase: Phase, what: str) -> None:
        if what != self._said:
            self._said = what
            self.tell(f"{phase.name}: {what}")


def harden(jobs: list[Job], tell: Tell) -> Mapping[Job, Mapping[str, Any] | Exception]:
    """Run the roles on all of them at once, then the controls on those that got through."""
    by_name = {job.name: job for job in jobs}

    def tell_all(text: str) -> None:
        for job in jobs:
            tell(job.urn, text, passing=True)

    with session_of(jobs[0].stack, union(job.inputs["network"] for job in jobs), tell_all) as session:
        with session.progress.phase("harden") as phase:
            played = harden_each(session, phase, sorted(by_name), moving(jobs, session.outputs.parent))
        well = [name for name in played.well if name in by_name]
        answers: dict[Job, Mapping[str, Any] | Exception] = {
            job: Failed(
                f"{name} is not hardened{so(job)}. {played.why(name)} Put that right, then {AGAIN}. {way(job)}"
            )
            for name, job in by_name.items()
            if name not in well
        }
        if well:
            with session.progress.phase("verify") as phase:
                outcome = verify.run(session.where, session.environment, hosts=well, progress=phase.now)
            recaps = {recap.host: recap for recap in played.recaps}
            answers |= {by_name[name]: judgement(by_name[name], recaps[name], outcome) for name in well}
    return answers


def moving(jobs: Iterable[Job], folder: Path) -> list[str]:
    """Ansible's options where sshd is to move, and on some droplets has not: those are reached where it still is."""
    still = {}
    for job in jobs:
        host = hosts.hosts(whole(job.inputs["network"]))[job.name]
        if job.port not in (None, host.port) and not _answers(host.address, host.port):
            still[job.name] = {"ansible_port": job.port}
    if not still:
        return []
    (folder / "moving.yml").write_text(json.dumps({"all": {"hosts": still}}))
    return ["-i", str(CHECKOUT / "inventory/seawall.yml"), "-i", str(folder / "moving.yml")]


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), connection.CONNECT_SECONDS):
            return True
    except OSError:
        return False


AGAIN = "run `pulumi up` (or `seawall up`) again"
BAD = (Status.FAIL, Status.ERROR, Status.UNKNOWN)


def so(job: Job) -> str:
    """What follows from a failure: one that served goes on, one that didn't does not begin."""
    return " as declared now, and serves as it did before" if job.update else " and gets no traffic"


def way(job: Job) -> str:
    """How to log in meanwhile: `seawall ssh` goes by the stack's outputs, and an update that fails has none."""
    host = hosts.hosts(whole(job.inputs["network"]))[job.name]
    return f"The way in: {shlex.join(hosts.ssh_command(host, places(), []))}"


def judgement(job: Job, recap: Recap, outcome: verify.Outcome) -> Mapping[str, Any] | Exception:
    """Whether a host's controls let it in: what the resource keeps of it, or why not."""
    own = [finding for finding in outcome.findings if finding.subject.name == job.name]
    if bad := [finding for finding in own if finding.status in BAD]:
        said = "; ".join(map(_sentence, bad[:3])) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else "")
        mark = FAILED_CONTROLS if any(finding.status is Status.FAIL for finding in bad) else "was not judged"
        return Failed(
            f"{job.name} {mark}{so(job)}: {said}. `seawall explain {bad[0].control}` tells what to do; then {AGAIN}. "
            f"Findings: {outcome.report}. {way(job)}"
        )
    passed = sum(finding.status is Status.PASS for finding in own)
    return {"verification": {"run": outcome.run, "passed": passed, "ok": recap.ok, "changed": recap.changed}}


def _sentence(finding: Finding) -> str:
    if finding.status is not Status.FAIL:
        return f"control {finding.control} could not be judged: {finding.reason}"
    return f"control {finding.control} failed: expected {finding.expected}, seen {finding.seen}"


def drift(stack: str, inputs: Inputs) -> list[str]:
    """What of the host is not as the last hardening left it; why it could not be asked is told as such."""
    name = inputs["name"]
    network = whole(inputs["network"])
    with session_of(stack, network) as session:
        route = baseline.routes(session, network, [name])[name]
        try:
            left = baseline.read(session.where, stack, name)
            found = judged(name, left, route, gather(route))
        except (connection.Unreachable, Problem) as why:
            return [str(why)]
    return [
        f"{each.what}: expected {each.expected or 'none'}, seen {each.seen or 'none'}"
        if each.expected or each.seen
        else each.what
        for each in found
    ]


def leave(stack: str, inputs: Inputs) -> None:
    """Wait until nobody's request is under way on a droplet that no longer gets new ones, at most as long as a
    connection may be idle; then forget what hardening left of it. One that doesn't answer has nothing to finish."""
    name = inputs["name"]
    host = hosts.hosts(whole(inputs["network"]))[name]
    where = places()
    if "web" in inputs["network"]["droplets"][name]["serves"]:
        command = hosts.ssh_command(host, where, [f"timeout {LEAVE_SECONDS} sh -c {shlex.quote(QUIET)}"])
        patience = [
            "-o",
            f"ConnectTimeout={connection.CONNECT_SECONDS}",
            "-o",
            "BatchMode=yes",
            "-o",
            "ServerAliveInterval=5",
        ]
        subprocess.run([command[0], *patience, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True)
    with suppress(Problem):
        kept = baseline.read(where, stack, name)
        if kept and kept.droplet == host.alias:
            baseline.forget(where, stack, name)


def union(networks: Iterable[Inputs]) -> dict[str, Any]:
    """Parts of one stack's outputs put together."""
    parts = [whole(network) for network in networks]
    droplets = {name: droplet for part in parts for name, droplet in part["droplets"].items()}
    return {**parts[0], "droplets": droplets}


@contextmanager
def session_of(stack: str, network: Inputs, tell: Callable[[str], None] = lambda text: None):
    """A session on these hosts, whatever the stack's own outputs say."""
    with TemporaryDirectory(prefix="seawall-") as folder:
        file = Path(folder) / "outputs.json"
        file.write_text(json.dumps(network))
        yield Session(Stack(stack), places(), None, Telling(tell), asked=True, outputs_file=file)
