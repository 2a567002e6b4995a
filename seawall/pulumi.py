"""Drive Pulumi's command line: the stack made ready, brought up, picked up after a kill, taken down."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.said import FAILED_CONTROLS, REASON
from seawall import cloud
from seawall.environment import Stack
from seawall.places import CHECKOUT, Places, write_private
from seawall.problem import DEVIATES, UNABLE, USAGE, Problem
from seawall.progress import Phase
from seawall.tools import run

AMBIENT = "warning: using pulumi-resource-"
"""The engine's word, on every run, on a provider from PATH: `seawall doctor` says which it is and why."""

SETTINGS_MARK = "Settings of stack"
"""How infra/ begins a paragraph about settings it refuses; what exits 64."""


@dataclass(frozen=True)
class Outcome:
    """What an update did: counts by verb (``created``, ``updated``, ``unchanged`` …)."""

    counts: dict[str, int]

    @property
    def changed(self) -> int:
        return sum(number for verb, number in self.counts.items() if verb != "unchanged")

    def __str__(self) -> str:
        return ", ".join(f"{number} {verb}" for verb, number in self.counts.items()) or "nothing to do"


class Engine:
    """Pulumi on one stack of this checkout."""

    def __init__(self, stack: Stack, where: Places, environment: Mapping[str, str]) -> None:
        self.stack, self.where, self.environment = stack, where, environment
        self.resources: list[dict] = []
        """The state's, as ``recover`` read them."""

    def ask(self, *arguments: str, stdin: str = "") -> str:
        """Standard output of a short command."""
        answer = subprocess.run(
            ["pulumi", *arguments, "--stack", self.stack.name, "--non-interactive", "--color", "never"],
            cwd=CHECKOUT,
            env=dict(self.environment),
            input=stdin,
            capture_output=True,
            text=True,
        )
        if answer.returncode:
            raise Problem(
                f"`pulumi {' '.join(arguments)}` failed for stack {self.stack.name}: {answer.stderr.strip()}"
            )
        return answer.stdout

    def exists(self) -> bool:
        """Whether the backend has the stack. A backend that doesn't answer is a ``Problem``, not a no."""
        answer = subprocess.run(
            ["pulumi", "stack", "ls", "--json", "--non-interactive"],
            cwd=CHECKOUT,
            env=dict(self.environment),
            capture_output=True,
            text=True,
        )
        if answer.returncode:
            raise Problem(f"Pulumi's state could not be read: {answer.stderr.strip()}")
        names = {entry["name"].rpartition("/")[2] for entry in json.loads(answer.stdout)}
        return self.stack.name in names

    def ensure(self) -> None:
        """Create the lab's stack if there is none; of any other stack its operator decides where the state lies."""
        if self.exists():
            return
        if not self.stack.is_lab:
            raise Problem(
                f"There is no stack {self.stack.name} in the Pulumi backend you are logged in to. Create it with "
                f"`pulumi stack init {self.stack.name}`, copy Pulumi.prod.example.yaml to its settings file "
                "(README, 'With a DigitalOcean account').",
                code=USAGE,
            )
        forget_salt(self.stack.settings)
        self.ask("stack", "init", "--no-select")

    def outputs(self) -> dict:
        """The stack's outputs, none of them secret."""
        return json.loads(self.ask("stack", "output", "--json"))

    def recover(self, phase: Phase) -> list[str]:
        """Pick up what a killed run left: its lock, and creations whose end Pulumi never saw. Says what it did."""
        said = self._release_dead_locks()
        state = json.loads(self.ask("stack", "export"))
        self.resources = (state.get("deployment") or {}).get("resources") or []
        pending = (state.get("deployment") or {}).get("pending_operations") or []
        if not pending:
            return said
        phase.now(f"{len(pending)} operations of an interrupted run")
        said += cloud.unclaimed(pending, self.resources, self.environment)
        found = cloud.find_created(pending, self.resources, self.environment)
        # `pulumi refresh --import-pending-creates` only drops them, as of 3.253; so the state itself is completed.
        state["deployment"] = cloud.adopted(state["deployment"], found)
        self.ask("stack", "import", stdin=json.dumps(state))
        self._refresh(phase)
        said.append(
            f"picked up {len(pending)} interrupted operations ({len(found)} found in the cloud and adopted)"
        )
        return said

    def revive(self, phase: Phase) -> list[str]:
        """Start droplets that are off and have those made anew that are gone: Pulumi alone would call both unchanged.
        Says what it did. After ``recover``, which has read the state."""
        gone, off = cloud.astray(self.resources, self.environment)
        said = []
        if off:
            phase.now(f"starting {', '.join(off)}")
            cloud.power_on(off, self.environment)
            said.append(f"started what was off: {', '.join(off)}")
        if gone:
            phase.now(f"gone from the account: {', '.join(gone)}")
            self._refresh(phase)
            said.append(f"made anew what was gone from the account: {', '.join(gone)}")
        return said

    def _refresh(self, phase: Phase) -> None:
        """Read into the state what stands in the cloud."""
        command = ["pulumi", "refresh", "--yes", "--skip-preview", "--stack", self.stack.name]
        ended = run(command, self.environment, self.where.logs / "recover.log", phase.now)
        if ended.code:
            raise Problem(diagnosis(ended.lines, "refresh", self.where.logs / "recover.log"))

    def _release_dead_locks(self) -> list[str]:
        """File backends lock by a file that names a process. A lock whose process is gone is released.

        Other backends (Spaces, Pulumi Cloud) tell nothing we could check: there, `pulumi cancel` is the operator's.
        """
        if not self.environment.get("PULUMI_BACKEND_URL", "").startswith("file://"):
            return []
        folder = self.where.state / ".pulumi" / "locks" / "organization" / "seawall" / self.stack.name
        said = []
        for path in sorted(folder.glob("*.json")):
            holder = json.loads(path.read_text())
            if holder.get("hostname") == os.uname().nodename and not _is_pulumi(int(holder["pid"])):
                path.unlink(missing_ok=True)
                said.append(f"released the lock of a run that no longer exists (process {holder['pid']})")
            else:
                raise Problem(
                    f"Stack {self.stack.name} is being changed by process {holder.get('pid')} on "
                    f"{holder.get('hostname')} since {holder.get('timestamp')}. Wait for it to end; if you know it is "
                    f"gone, `pulumi cancel --stack {self.stack.name}` releases its lock."
                )
        return said

    def up(self, phase: Phase) -> Outcome:
        """`pulumi up`: preview first, so that what settings or policies refuse is refused before anything changes."""
        pack = ["--policy-pack", "policy"]
        if self.stack.config.get("seawall:policies") == "advisory":
            pack += ["--policy-pack-config", "policy/advisory.json"]
        return self._change("up", ["--suppress-outputs", *pack], phase)

    def destroy(self, phase: Phase) -> Outcome:
        """With the preview, which refuses what is protected before anything goes: without it the load balancer, which
        nothing needs any more, would be gone by the time the first protected droplet is met."""
        return self._change("destroy", [], phase)

    def _change(self, verb: str, options: Iterable[str], phase: Phase) -> Outcome:
        log = self.where.logs / f"pulumi-{verb}.log"
        command = [
            "pulumi",
            verb,
            "--yes",
            "--non-interactive",
            "--color",
            "never",
            "--stack",
            self.stack.name,
        ]

        def follow(line: str) -> None:
            if AMBIENT not in line and not line.startswith("@") and (told := readable(line)):
                phase.now(told)

        ended = run([*command, *options], self.environment, log, follow)
        if ended.code:
            message = diagnosis(ended.lines, verb, log)
            refused = SETTINGS_MARK in message or violations(ended.lines)
            deviates = DEVIATES if FAILED_CONTROLS in message else UNABLE
            raise Problem(message, code=USAGE if refused else deviates)
        return Outcome(counts(ended.lines))


def forget_salt(settings: Path) -> None:
    """Drop the salt of a lab's state that is gone: with another passphrase, Pulumi would refuse to begin anew.

    Settings with a secret of their own (``secure:``) keep it, since without it nobody could read them.
    """
    text = settings.read_text()
    if "secure:" not in text:
        kept = [line for line in text.splitlines(keepends=True) if not line.startswith("encryptionsalt:")]
        write_private(settings, "".join(kept).encode(), mode=0o644)


def _is_pulumi(pid: int) -> bool:
    try:
        return b"pulumi" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def readable(line: str) -> str:
    """A line of Pulumi's display without its ornaments: ``droplets/app-1 creating``."""
    found = re.match(r"^\s*[-+~@. ]*\s*(?P<type>[\w:./-]+:\w+)\s+(?P<name>\S+)\s+(?P<rest>.*)$", line)
    if not found:
        return line.strip(" .@")
    return f"{found['type'].rsplit(':', 1)[-1]} {found['name']} {found['rest']}"


_COUNT = re.compile(
    r"^\s+[-+~]{0,2}\s*(?P<number>\d+) (?P<verb>created|updated|replaced|deleted|unchanged|imported)\b"
)


def counts(lines: Iterable[str]) -> dict[str, int]:
    """The ``Resources:`` summary at the end of an update, by verb."""
    return {found["verb"]: int(found["number"]) for line in lines if (found := _COUNT.match(line))}


_VIOLATION = re.compile(r"^\s+- \[(?P<level>mandatory|advisory)\]\s+(?P<rule>[\w-]+)")


def violations(lines: Iterable[str]) -> list[str]:
    """Each mandatory rule of the policy pack that was broken, once, with what broke it."""
    found: dict[str, None] = {}
    lines = list(lines)
    for index, line in enumerate(lines):
        mark = _VIOLATION.match(line)
        if mark and mark["level"] == "mandatory":
            # Beneath it stand the rule's own title and what is wrong.
            found[f"[{mark['rule']}] {' '.join(lines[index + 2 : index + 3]).strip()}"] = None
    return list(found)


def diagnosis(lines: list[str], verb: str, log: Path) -> str:
    """What Pulumi says went wrong, without its progress lines and repetitions."""
    # The last ones: those of the preview stand before them.
    start = max((index for index, line in enumerate(lines) if line.startswith("Diagnostics:")), default=None)
    if broken := violations(lines):
        said = [
            f"{len(broken)} rule{'s' * (len(broken) > 1)} of the policy pack forbid{'s' * (len(broken) == 1)} it, so "
            f"nothing was changed: {' '.join(broken)} An exception that somebody answers for is a waiver (waivers.yml)."
        ]
    elif start is None:
        said = [line for line in lines if line.startswith("error:")] or lines[-5:]
    else:
        said = []
        for line in lines[start + 1 :]:
            if line.startswith(("Resources:", "Outputs:", "Duration:")):
                break
            text = line.strip()
            noise = text.endswith("):") or text == "error: update failed" or AMBIENT in text or REASON in text
            if text and not noise and text not in said:
                said.append(text)
        if any("not authorized to perform" in text and "scope" not in text for text in said):
            said.append(
                "The token lacks a scope: README, 'With a DigitalOcean account', lists all it needs. What was made "
                "stays, and the next run goes on from there."
            )
    return f"`pulumi {verb}` stopped. {' '.join(said)} (all it printed: {log})"
