"""The main job, phase by phase: packages, engine, image, lab, pulumi, harden, verify; and its way back."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.instance import own_name
from seawall import prepare, verify
from seawall.playbook import Played, Recap, attempt
from seawall.problem import Problem
from seawall.progress import Phase, Progress
from seawall.scoping import Scoping
from seawall.session import Session
from seawall.verify import Outcome


@dataclass
class Result:
    """What `seawall up` found and did."""

    stack: str
    outputs: dict[str, Any]
    resources: dict[str, int]
    hosts: list[Recap]
    verified: Outcome
    seconds: dict[str, float]
    curl: str
    notes: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        return self.verified.code

    @property
    def changed(self) -> bool:
        return any(count for verb, count in self.resources.items() if verb != "unchanged") or any(
            recap.changed for recap in self.hosts
        )

    def document(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "changed": self.changed,
            "url": self.outputs["url"],
            "resources": self.resources,
            "hosts": {recap.host: {"ok": recap.ok, "changed": recap.changed} for recap in self.hosts},
            "verified": self.verified.document(),
            "seconds": self.seconds,
            "notes": self.notes,
        }

    def text(self) -> str:
        """The summary: the site, the way in, what was verified, where the time went, where the report lies."""
        droplets = self.outputs["droplets"]
        width = max(map(len, droplets))
        lines = [
            "",
            f"{self.stack} stands"
            + ("." if self.changed else "; every host was asked and nothing had to change."),
            "",
            f"  site      {self.outputs['url']}",
            f"            {self.curl}",
            "  log in    "
            + "\n            ".join(
                f"{called()} ssh {name:<{width}}   {_address(droplet):<15} {droplet['tier']}"
                for name, droplet in droplets.items()
            ),
            f"  scope     {Scoping.of(self.outputs).summary()}",
            f"  verified  {self.verified.summary()}",
            f"  report    {self.verified.report}",
            "  time      "
            + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
            + f"; in all {sum(self.seconds.values()):.0f} s",
        ]
        return "\n".join([*lines, *(f"  note      {note}" for note in self.notes)])


def _address(droplet: Mapping[str, Any]) -> str:
    return droplet["public_ip"] or droplet["private_ip"]


def called() -> str:
    """How this program is called from where the reader is: by name, or by its path where PATH doesn't have it."""
    return "seawall" if shutil.which("seawall") else os.path.relpath(sys.argv[0])


def bring_up(session: Session) -> Result:
    """Everything, in order. Each phase is idempotent, so that the next run picks up wherever one stopped."""
    from seawall.drift import baseline

    progress, began = session.progress, time.time()
    if session.stack.is_lab:
        set_up(progress)
        _start_lab(session)
    engine = session.engine()
    notes = []
    with progress.phase("pulumi") as phase:
        engine.ensure()
        notes += engine.recover(phase)
        notes += engine.revive(phase)
        outcome = engine.up(phase)
        phase.done(str(outcome))
        outputs = session.standing()
    with progress.phase("harden") as phase:
        # Pulumi hardened what is new or was to change; whatever it left alone is asked as well.
        done = hardened_since(began, session, outputs)
        left = [name for name in outputs["droplets"] if name not in done]
        asked = harden(session, phase, left if done else ()) if left else []
        recaps = [*done.values(), *asked]
        phase.done(", ".join(f"{recap.host} {recap.changed} changed of {recap.ok}" for recap in recaps))
        missing = set(outputs["droplets"]) - {recap.host for recap in recaps}
        if missing:
            raise Problem(
                f"Hardening never asked {', '.join(sorted(missing))}: the inventory does not list what Pulumi made."
            )
    verified = check_controls(session, [], "" if left else one_run(outputs))
    baseline.write_reference(session.where, session.stack.name, verified.findings)
    return Result(
        stack=session.stack.name,
        outputs=outputs,
        resources=outcome.counts,
        hosts=recaps,
        verified=verified,
        seconds=progress.times,
        curl=_curl(session, outputs),
        notes=notes,
    )


def harden(session: Session, phase: Phase, names: Sequence[str] = ()) -> list[Recap]:
    """Run the roles on all hosts, or these; ``Problem`` if one of them was not hardened to the end."""
    played = harden_each(session, phase, names)
    if played.code:
        raise Problem(f"Hardening stopped. {' '.join(played.failures)} (all it printed: {played.log})")
    return [recap for recap in played.recaps if recap.host != "localhost"]


def harden_each(
    session: Session, phase: Phase, names: Sequence[str] = (), options: Sequence[str] = ()
) -> Played:
    """Run the roles on all hosts, or these, each as far as it goes; then keep what they left, by which drift is
    judged. ``options`` go to Ansible."""
    from seawall.drift import baseline

    earlier = baseline.before(session, names)
    limit = ["--limit", ",".join(names)] if names else []
    played = attempt("harden", [*options, *limit], session.where, session.environment, phase)
    phase.now("keeping what it left")
    for unheard in baseline.renew(session, played.well, earlier) if played.well else ():
        # The hosts are hardened all the same; a look for drift then says "unknown" of this one, never "clean".
        session.progress.note(f"  What hardening left is not kept, so drift will not know it: {unheard}")
    return played


def hardened_since(began: float, session: Session, outputs: Mapping[str, Any]) -> dict[str, Recap]:
    """The droplets that Pulumi hardened after ``began``: those whose findings, kept here, are newer."""
    found = {}
    for name, let_in in (outputs.get("verified") or {}).items():
        report = verify.report_of(session.where, let_in["run"])
        if report.exists() and report.stat().st_mtime >= began:
            found[name] = Recap(name, let_in["ok"], let_in["changed"], unreachable=0, failed=0)
    return found


def one_run(outputs: Mapping[str, Any]) -> str:
    """The run of the controls that let in every droplet; empty if it took several."""
    runs = {let_in["run"] for let_in in outputs["verified"].values()}
    return runs.pop() if len(runs) == 1 else ""


def _curl(session: Session, outputs: dict[str, Any]) -> str:
    if not session.stack.is_lab:
        return f"curl {outputs['url']}"
    authority = session.where.site_certificate / "ca.pem"
    return f"curl --cacert {authority} --resolve {outputs['domain']}:443:{outputs['loadbalancer_ip']} {outputs['url']}"


def check_controls(session: Session, hosts: list[str], known: str = "") -> Outcome:
    """Run the controls on these hosts (all without any), or take what the run ``known`` has just found."""
    with session.progress.phase("verify") as phase:
        outcome = (
            verify.past(session.where, known)
            if known
            else verify.run(session.where, session.environment, hosts=hosts, progress=phase.now)
        )
        phase.done(outcome.summary())
    return outcome


def set_up(progress: Progress) -> None:
    """Bring what the lab needs onto this machine: Debian packages, engine, droplet image. Kept in the user's cache."""
    from lab import packages
    from lab.engine import build, choose
    from lab.machines import image

    with progress.phase("packages") as phase:
        missing = packages.missing()
        packages.install(phase.now)
        phase.done(f"installed {', '.join(missing)}" if missing else "nothing to install")
    with progress.phase("engine") as phase:
        build.ensure_engine(phase.now)
        phase.done(str(choose.toolchain()))
    with progress.phase("image") as phase:
        phase.done(image.root("debian-12-x64", phase.now).parent.name)


def _start_lab(session: Session) -> None:
    from lab import control

    with session.progress.phase("lab") as phase:
        prepare.secrets_and_login(session.where)
        session.lab = control.start(own_name(), session.where.token)
        prepare.settings(session.stack, session.lab)
        prepare.site_certificate(session.where, session.stack.config["seawall:domain"])
        phase.done(f"instance {session.lab['instance']}, API at {session.lab['api']}")


def take_down(session: Session) -> None:
    """Destroy through Pulumi; then, of the lab, remove and prove removed every trace on this machine."""
    from seawall.drift import baseline

    progress = session.progress
    if session.lab or not session.stack.is_lab:
        try:
            with progress.phase("destroy") as phase:
                _destroy(session, phase)
        except Problem as problem:
            if not session.stack.is_lab:
                raise
            progress.note(f"  {problem} The lab goes all the same, with everything in it.")
    # What hardening left of droplets that are gone: a lab gives the same ids to the next ones.
    shutil.rmtree(baseline.folder(session.where, session.stack.name), ignore_errors=True)
    if session.stack.is_lab:
        from lab import control

        with progress.phase("lab") as phase:
            if left := control.purge(own_name()):
                raise Problem(
                    f"The lab is down, but this is left of it: {', '.join(left)}. Run `make down` again."
                )
            shutil.rmtree(session.where.state, ignore_errors=True)
            session.outputs.unlink(missing_ok=True)
            session.where.known_hosts.unlink(missing_ok=True)
            phase.done("no process, mount, namespace, route, firewall rule or file of it is left")


def _destroy(session: Session, phase: Phase) -> None:
    engine = session.engine()
    if not engine.exists():
        phase.done("no such stack")
        return
    engine.recover(phase)
    phase.done(str(engine.destroy(phase)))
