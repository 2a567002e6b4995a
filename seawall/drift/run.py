"""One look: the layers asked side by side, what they found put together. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from threading import RLock
from time import monotonic
from typing import Any, Literal

from seawall.drift.difference import SCHEMA_VERSION, Difference, exit_code, unasked
from seawall.findings import Finding, Run, Subject
from seawall.problem import USAGE, Problem
from seawall.session import Session

Mode = Literal["full", "quick"]


@dataclass
class Look:
    """What the layers look at. What two of them need is read once."""

    session: Session
    mode: Mode = "full"
    hosts: tuple[str, ...] = ()
    """Only these; none means all."""
    verified: tuple[Finding, ...] | None = None
    """What every control said a moment ago, where somebody has just asked: they are not asked again."""
    _reading: Any = field(default_factory=RLock, repr=False)

    @cached_property
    def deployment(self) -> Mapping[str, Any]:
        """Pulumi's state, secrets encrypted as it keeps them."""
        state = json.loads(self.session.engine().ask("stack", "export"))
        return state.get("deployment") or {}

    def once(self, name: str, read: Callable[[], Any]) -> Any:
        """``read()``, or what it gave before, whichever layer asked."""
        with self._reading:
            if name not in self.__dict__:
                self.__dict__[name] = read()
            return self.__dict__[name]


Layer = Callable[[Look], Iterable[Difference]]


def layers() -> dict[str, Layer]:
    """The layers there are, in the order in which they are told."""
    from seawall.drift import cloud, controls, hosts, strangers

    return {"cloud": cloud.look, "strangers": strangers.look, "hosts": hosts.look, "controls": controls.look}


def fixes() -> dict[str, Callable[[Look, Iterable[Difference]], list[str]]]:
    """What puts right what a layer's differences offer (their ``fix``): it says what it did."""
    from seawall.drift import check, cloud_fix

    return {"cloud": cloud_fix.mend, "hosts": check.mend}


@dataclass(frozen=True)
class Report:
    """What one look found. ``layers`` and ``hosts`` say where it looked: what it did not ask about is unchanged."""

    run: Run
    stack: str
    mode: Mode
    began: datetime
    ended: datetime
    layers: tuple[str, ...]
    hosts: tuple[str, ...]
    differences: tuple[Difference, ...]
    seconds: Mapping[str, float]

    @property
    def code(self) -> int:
        return exit_code(self.differences)

    def document(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "run": self.run.id,
            "by": self.run.by.model_dump(),
            "stack": self.stack,
            "mode": self.mode,
            "began": self.began.isoformat(),
            "ended": self.ended.isoformat(),
            "layers": list(self.layers),
            "hosts": list(self.hosts),
            "clean": not self.differences,
            "differences": [each.model_dump(mode="json") for each in self.differences],
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }


def look(
    session: Session,
    mode: Mode = "full",
    only: Iterable[str] = (),
    hosts: Iterable[str] = (),
    run: Run | None = None,
    looking: Look | None = None,
) -> Report:
    """Ask the layers (all, or ``only`` these) and say what they found."""
    there = layers()
    # Controls take seconds and ask much: a quick look runs them only where they are asked for.
    usual = [name for name in there if mode == "full" or name != "controls"]
    asked = tuple(dict.fromkeys(only)) or tuple(usual)
    if strange := [name for name in asked if name not in there]:
        raise Problem(f"There is no layer {strange[0]}. There are {', '.join(there)}.", code=USAGE)
    began, run, hosts = datetime.now(UTC), run or Run.begin(), tuple(hosts)
    looking = looking or Look(session, mode, hosts)
    found: list[Difference] = []
    seconds: dict[str, float] = {}
    with ThreadPoolExecutor(len(asked)) as pool:

        def timed(name: str) -> list[Difference]:
            start = monotonic()
            try:
                return list(there[name](looking))
            except Problem as problem:
                return [
                    unasked(
                        name,
                        Subject(kind="layer", name=name),
                        str(problem),
                        "Put that right and look again; until then nothing is known of this layer.",
                    )
                ]
            finally:
                seconds[name] = monotonic() - start

        for answer in [pool.submit(timed, name) for name in asked]:
            found += answer.result()
    return Report(
        run, session.stack.name, mode, began, datetime.now(UTC), asked, tuple(hosts), tuple(found), seconds
    )
