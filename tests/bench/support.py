"""What every benchmark says: a row, and whether it kept its limit."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure. ``limit`` is in its unit; ``ratio`` is a limit in multiples of the floor (seconds only)."""

    what: str
    value: float
    unit: str = "s"
    limit: float | None = None
    ratio: float | None = None

    def line(self, floor: float) -> str:
        times = self.value / floor
        kept = (self.limit is None or self.value <= self.limit) and (
            self.ratio is None or times <= self.ratio
        )
        limits = [f"{self.limit:g} {self.unit}"] if self.limit is not None else []
        limits += [f"{self.ratio:g} times the floor"] if self.ratio is not None else []
        value = f"{self.value:.2f}" if self.value < 1 else f"{self.value:.1f}"
        cells = (
            self.what,
            f"{value} {self.unit}",
            f"{times:.1f}" if self.unit == "s" else "",
            " and ".join(limits) + ("" if kept else " (missed)"),
        )
        return f"| {' | '.join(cells)} |"


def timed(
    run: Callable[[], subprocess.CompletedProcess[str]],
) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Seconds and outcome of a command that must succeed."""
    start = time.monotonic()
    ended = run()
    if ended.returncode:
        sys.exit(f"the benchmark stops: {ended.args}: {ended.stderr[-2000:]}")
    return time.monotonic() - start, ended
