"""Host keys the controller trusts: one known_hosts file of its own, names instead of addresses."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator


def checkout() -> str:
    """The checkout's root: two folders above this file."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def seawall_dir() -> str:
    """Where the kit keeps its state: $SEAWALL_DIR, or .seawall in the checkout."""
    return os.environ.get("SEAWALL_DIR") or os.path.join(checkout(), ".seawall")


def pinned(text: str, alias: str, keys: list[str]) -> str:
    """``text`` (a known_hosts file) in which exactly ``keys`` ("type base64 …") are pinned for ``alias``."""
    others = [line for line in text.splitlines() if line.strip() and line.split()[0] != alias]
    return "".join(line + "\n" for line in [*others, *(f"{alias} {' '.join(k.split()[:2])}" for k in keys)])


def keys_of(text: str, alias: str) -> list[str]:
    """The keys pinned for ``alias``, as "type base64"."""
    lines = [line.split() for line in text.splitlines()]
    return [" ".join(words[1:3]) for words in lines if len(words) >= 3 and words[0] == alias]


def update(path: str, change: Callable[[str], str]) -> bool:
    """Replace the file by ``change`` of its text, one writer at a time; whether that changed anything."""
    with locked(path):
        text = current(path)
        new = change(text)
        if new == text:
            return False
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as out:
            out.write(new)
            out.flush()
            os.fsync(fd)
        os.rename(path + ".new", path)
        return True


def current(path: str) -> str:
    """The file's text; empty where there is none."""
    try:
        with open(path) as handle:
            return handle.read()
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock beside ``path``: the hosts of a play are worked on by as many processes."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fd = os.open(path + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
