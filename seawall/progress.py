"""Progress a person can follow: which phase, for how long, what is running now.

On a terminal one line moves; elsewhere (CI, a log) a line is printed when something new runs, at most
every few seconds, so that silence never means "hung?".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.status import Status

QUIET_SECONDS = 5.0


@dataclass
class Phase:
    """One phase under way. ``now`` tells what is running, ``done`` what came of it."""

    name: str
    report: Progress
    started: float = field(default_factory=time.monotonic)
    outcome: str = ""

    @property
    def elapsed(self) -> float:
        """Seconds since the phase began."""
        return time.monotonic() - self.started

    def now(self, what: str) -> None:
        self.report._running(self, " ".join(what.split()))

    def done(self, outcome: str) -> None:
        self.outcome = outcome


class Progress:
    """Prints phases to standard error, so that standard output stays a document. Remembers their times."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, quiet=quiet)
        self.times: dict[str, float] = {}
        self._status: Status | None = None
        self._last_line = 0.0
        self._said = ""
        self._lock = threading.Lock()

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Run a phase: a moving line while it lasts, one line with its time when it ends, however it ends."""
        phase = Phase(name, self)
        self._last_line = time.monotonic()
        self._said = ""
        if self.console.is_terminal:
            self._status = self.console.status(name, spinner="dots")
            self._status.start()
        beat = threading.Event()
        clock = threading.Thread(target=self._beat, args=(phase, beat), daemon=True)
        clock.start()
        mark = "[red]✗[/red]"
        try:
            yield phase
            mark = "[green]✓[/green]"
        finally:
            beat.set()
            clock.join()
            if self._status:
                self._status.stop()
                self._status = None
            self.times[name] = round(phase.elapsed, 1)
            self.console.print(
                f"{mark} {name:<11} {phase.elapsed:6.1f} s  {escape(phase.outcome)}".rstrip(), soft_wrap=True
            )

    def note(self, text: str) -> None:
        self.console.print(escape(text), soft_wrap=True)

    def _beat(self, phase: Phase, over: threading.Event) -> None:
        while not over.wait(1.0):
            self._running(phase, self._said)

    def _running(self, phase: Phase, what: str) -> None:
        with self._lock:
            new, self._said = what != self._said, what
            line = f"{phase.name:<11} {phase.elapsed:6.1f} s  {what}"
            if self._status:
                width = max(self.console.width - 4, 20)
                self._status.update(escape(line[:width]))
            elif time.monotonic() - self._last_line >= (QUIET_SECONDS if new else 6 * QUIET_SECONDS):
                self._last_line = time.monotonic()
                self.console.print(f"  {escape(line)}", soft_wrap=True)
