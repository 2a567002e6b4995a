"""Where things lie. Secrets are born with their mode; nothing is corrected afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from threading import get_native_id

from seawall.problem import Problem

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Places:
    """The checkout's own folder, ``.seawall/`` (mode 0700), elsewhere if ``SEAWALL_DIR`` says so."""

    root: Path

    @property
    def state(self) -> Path:
        """Pulumi's file backend."""
        return self.root / "state"

    @property
    def passphrase(self) -> Path:
        """What encrypts the secrets in Pulumi's state."""
        return self.root / "passphrase"

    @property
    def token(self) -> Path:
        """The lab's API token."""
        return self.root / "token"

    @property
    def spaces_key(self) -> Path:
        """The lab's Spaces key, ``access`` and ``secret``, a file each."""
        return self.root / "spaces"

    @property
    def ssh_key(self) -> Path:
        """The lab administrator's private key; beside it the public one."""
        return self.root / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.root / "known_hosts"

    @property
    def site_certificate(self) -> Path:
        """Folder of the lab's site certificate: site.pem, chain.pem, site.key, ca.pem."""
        return self.root / "tls"

    @property
    def findings(self) -> Path:
        return self.root / "findings"

    @property
    def questions(self) -> Path:
        """What the controls asked each host last time, so that it can be asked all at once."""
        return self.root / "questions.json"

    @property
    def logs(self) -> Path:
        """What the tools printed, whole, one file a phase."""
        return self.root / "logs"


def places() -> Places:
    """The places of this run, created if need be."""
    root = Path(os.environ.get("SEAWALL_DIR") or CHECKOUT / ".seawall").resolve()
    found = Places(root)
    for folder in (root, found.state, found.findings, found.logs, found.ssh_key.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found


def write_private(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file whole or not at all, with ``mode`` from its first byte on."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{get_native_id()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def only_one(where: Places, doing: str) -> Iterator[None]:
    """Hold the checkout's lock: ``up``, ``harden`` and ``down`` never overlap. A killed holder lets go of it."""
    with open(where.root / "lock", "a+", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except OSError:
            file.seek(0)
            raise Problem(
                f"Another seawall is at work in this checkout ({file.read().strip() or 'just starting'}), and two "
                "would undo each other's changes. Wait for it to end, or end it, then run this again."
            ) from None
        file.truncate(0)
        file.write(f"`seawall {doing}`, process {os.getpid()}")
        file.flush()
        yield
