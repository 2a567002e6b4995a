"""Run somebody else's program: its lines become progress and a log, its failure one paragraph."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seawall.places import CHECKOUT


@dataclass(frozen=True)
class Ended:
    """How a program ended and every line it printed (both streams, in order)."""

    code: int
    lines: list[str]


def run(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    log: Path,
    on_line: Callable[[str], None] = lambda line: None,
    *,
    reads: Iterable[int] = (),
) -> Ended:
    """Run to the end in the checkout, handing on each line as it comes and keeping all in ``log`` (mode 0600).

    ``reads`` are open descriptors that the program gets too.

    An interrupt reaches the program too (same terminal); it is waited for, so that it can tidy up.
    """
    lines: list[str] = []
    with open(log, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=CHECKOUT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(reads),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
        )
        assert process.stdout
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                line = line.rstrip()
                lines.append(line)
                if line:
                    on_line(line)
        finally:
            code = process.wait()
    return Ended(code, lines)
