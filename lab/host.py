"""Ask this machine for something: run its tools, name what failed, hold its locks."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_UN, flock
from pathlib import Path

from lab.world import BackendError

POLL = 0.02
"""Seconds between two looks at a condition that is waited for."""


def cache() -> Path:
    """The user's cache: engine, images, packages, each by content key. Safe to delete."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seawall"


def run(*command: str | Path, stdin: str | None = None, why: str, timeout: float = 60.0) -> str:
    """Run a tool and return what it printed. ``why`` finishes the sentence "This machine could not …"."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise BackendError(
            f"This machine could not {why}: `{words[0]}` is not installed. `seawall doctor` names the "
            "Debian packages the lab needs and the command that installs them."
        ) from None
    except subprocess.TimeoutExpired:
        raise BackendError(
            f"This machine could not {why}: `{words[0]}` had not ended after {timeout:.0f} s."
        ) from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise BackendError(f"This machine could not {why}: `{words[0]}` said: {said[-1500:]}")
    return done.stdout


def succeeds(*command: str | Path) -> bool:
    """Whether a tool ends well. For clearing away what may not be there."""
    return subprocess.run([str(word) for word in command], capture_output=True, check=False).returncode == 0


def write_whole(path: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Write a file whole or not at all, with ``mode`` from its first byte on."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    draft.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a machine-wide lock. The kernel lets go of it when its holder dies."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        flock(descriptor, LOCK_UN)
        os.close(descriptor)


def started(pid: int) -> str | None:
    """When a process started, in clock ticks since boot: with its pid, its identity. None if there is none.

    A zombie counts as gone: it runs nothing and holds nothing, once its last thread has ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, threads, since = fields[0], int(fields[17]), fields[19]
    return None if state == "Z" and threads <= 1 else since


def remember(path: Path, pid: int) -> None:
    """Note a process of ours, so that a later daemon knows it from a stranger that was given its pid."""
    write_whole(path, f"{pid} {started(pid)}\n")


def remembered(path: Path) -> int | None:
    """The pid noted in ``path``, if that same process still runs."""
    try:
        pid, since = path.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if started(int(pid)) == since else None


def patiently(done: Callable[[], bool], deadline: float) -> bool:
    """Wait until ``done`` holds; False if it does not within ``deadline`` seconds."""
    until = time.monotonic() + deadline
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(POLL)
    return True
