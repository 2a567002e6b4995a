"""Controls: findings that turned since the last `seawall up` verified them."""

from __future__ import annotations

from collections.abc import Iterable

from seawall.drift import baseline
from seawall.drift.difference import Difference, unasked
from seawall.drift.run import Look
from seawall.findings import Finding, Status
from seawall.job import check_controls

LAYER = "controls"
UNKNOWN = (Status.ERROR, Status.UNKNOWN)


def look(looking: Look) -> list[Difference]:
    """Run every control and tell those that hold no more."""
    session = looking.session
    session.standing()
    return turned(
        baseline.reference(session.where, session.stack.name) or (),
        looking.verified or check_controls(session, list(looking.hosts)).findings,
    )


def turned(before: Iterable[Finding], now: Iterable[Finding]) -> list[Difference]:
    """Pure: controls that fail and did not before (or were not there), and those that could not be asked."""
    known = {each.id: each.status for each in before}
    found = []
    for each in now:
        if each.status in UNKNOWN:
            found.append(
                unasked(LAYER, each.subject, f"{each.control}: {each.reason}").model_copy(
                    update={"what": f"control {each.control}", "requirements": each.requirements}
                )
            )
        elif each.status is Status.FAIL and known.get(each.id) is not Status.FAIL:
            found.append(
                Difference(
                    layer=LAYER,
                    subject=each.subject,
                    what=f"control {each.control}",
                    expected=each.expected or each.title,
                    seen=each.seen or each.reason,
                    requirements=each.requirements,
                    remedy=f"{each.title}: `seawall harden --host {each.subject.name}`, "
                    f"then `seawall verify --host {each.subject.name}`.",
                )
            )
    return found
