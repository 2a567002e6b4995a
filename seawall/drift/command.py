"""`seawall drift`: look, keep, tell. The command line itself is in ``seawall.cli``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from seawall.drift import formats, page, run
from seawall.drift.difference import Difference
from seawall.drift.history import History
from seawall.drift.history import as_text as history_text
from seawall.drift.history import document as history_document
from seawall.drift.run import Mode, Report
from seawall.drift.shared import settings_of
from seawall.drift.tell import tell
from seawall.findings import Finding, Run, Subject
from seawall.places import Places, only_one
from seawall.problem import DECLARED, UNABLE
from seawall.session import Session


@dataclass(frozen=True)
class Outcome:
    """A report as it was kept, and what could not be told."""

    report: Report
    untold: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """Drift counts first; that somebody could not be told is never a clean end."""
        return self.report.code or (UNABLE if self.untold else DECLARED)


def look(
    session: Session,
    mode: Mode,
    layers: Iterable[str] = (),
    hosts: Iterable[str] = (),
    *,
    fixing: bool = False,
    telling: bool = False,
    verified: tuple[Finding, ...] | None = None,
    junit: Path | None = None,
    prometheus: Path | None = None,
) -> Outcome:
    """One look, kept in the history and written where asked. Looks never overlap, nor anything that changes hosts.

    ``fixing`` puts right what the differences offer, and looks again: the report is of what is left. ``verified`` are
    the findings of every control, where they have just been asked: the controls' layer goes by them.
    """
    hosts = tuple(hosts)
    history, settings = History.of(session.where), settings_of(session.stack)
    with only_one(session.where, "drift"):
        begun = Run.begin()
        history.begin(begun.id, session.stack.name, mode)
        looking = run.Look(session, mode, hosts, verified)
        report = run.look(session, mode, layers, hosts, begun, looking)
        fixed: list[str] = []
        if fixing and any(each.fix for each in report.differences):
            history.record(report)  # what was there is kept, though it is gone in a moment
            for layer, mend in run.fixes().items():
                if offers := [each for each in report.differences if each.layer == layer and each.fix]:
                    fixed += mend(looking, offers)
            report = run.look(session, mode, layers, hosts, begun)
        report = replace(report, differences=tuple(history.record(report)))
        if junit:
            formats.write(junit, formats.junit(report), mode=0o600)
        if prometheus:
            formats.write(prometheus, formats.prometheus(report), mode=0o644)
        untold = tell(history, session.stack.name, settings) if telling else []
    return Outcome(report, tuple(untold), tuple(fixed))


def history(session: Session, html: Path | None = None) -> tuple[str, dict]:
    """The history as text and as a document; with ``html``, as a page as well."""
    kept, stack = History.of(session.where), session.stack.name
    spells, runs = kept.spells(stack), kept.runs(stack)
    if html:
        formats.write(html, page.page(stack, spells, runs), mode=0o600)
    return history_text(spells, runs), history_document(stack, spells, runs)


def watchdog(session: Session, max_age: timedelta, now: datetime | None = None) -> tuple[int, str]:
    """Whether anybody still looks: an exit code and a sentence.

    Run by a timer of its own, since a watch that stopped cannot say so itself. That it stopped, and that it goes
    again, is told like a difference: once, and then now and then.
    """
    kept, stack, now = History.of(session.where), session.stack.name, now or datetime.now(UTC)
    stopped = _stopped(kept, session.where, stack, max_age, now)
    kept.state(stack, _watch(stopped), bool(stopped), now)
    untold = tell(kept, stack, settings_of(session.stack), now)
    said = (
        stopped
        or f"The watch over {stack} goes: last look {next(r.ended for r in kept.runs(stack) if r.ended)}."
    )
    return (UNABLE if stopped or untold else DECLARED), " ".join([said, *untold])


def _watch(why: str) -> Difference:
    return Difference(
        layer="watch",
        status="unknown",
        subject=Subject(kind="watch", name="seawall drift"),
        what="stopped",
        expected="a look that ended, within the time allowed",
        seen=why,
        requirements=("pci-10.7.2",),
        remedy="On the controller: `systemctl status seawall-drift.timer seawall-drift.service`, "
        "`journalctl -u seawall-drift`.",
    )


def _stopped(kept: History, where: Places, stack: str, max_age: timedelta, now: datetime) -> str:
    """Why the watch counts as stopped; empty while it goes."""
    runs = kept.runs(stack)
    ended = [each for each in runs if each.ended]
    if not ended:
        return f"Nobody ever looked at {stack} to the end."
    if now - datetime.fromisoformat(str(ended[0].ended)) > max_age:
        hours = max_age.total_seconds() / 3600
        return (
            f"Nobody looked at {stack} for more than {hours:.4g} hours: the last look ended {ended[0].ended}."
        )
    if not runs[0].ended and not _at_work(where):
        return f"The look begun {runs[0].began} died before its end."
    return ""


def _at_work(where: Places) -> bool:
    """Whether a seawall holds the checkout's lock now."""
    try:
        with open(where.root / "lock") as file:
            flock(file, LOCK_EX | LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
