"""The package cache in front of apt: apt-cacher-ng from Debian, one for all labs of this user.

Two of them on one cache would spoil each other's files, so instances share one process: whoever needs it
first starts it, whoever leaves last ends it. It runs as its package's own user, listens on a Unix socket only,
and fetches from nothing but the archives that this machine's images name.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path

from lab import host
from lab.host import locked, patiently, remember, remembered, write_whole
from lab.machines import sources
from lab.world import BackendError

USER = "apt-cacher-ng"
START_SECONDS = 15.0

GREETING = "GET / HTTP/1.0\r\nX-Original-Source: {client}\r\n\r\n"
"""What apt-cacher-ng wants to read first on its Unix socket, as its own in.acng says it: who is asking."""

SETTINGS = """\
# Written by the lab at each start.
CacheDir: /var/cache/apt-cacher-ng
LogDir: /var/cache/apt-cacher-ng/_log
VerboseLog: 0
SocketPath: /var/cache/apt-cacher-ng/socket
BindAddress: 127.0.0.1
ForeGround: 1
ReportPage:
ForceManaged: 1
ExThreshold: 30
{proxy}{archives}"""


def folder() -> Path:
    return host.cache() / "packages"


def _own() -> Path:
    """Settings, pid and locks, apart from the cache, which belongs to the mirror's user."""
    return host.cache() / "mirror"


def use() -> None:
    """Declare that this process needs the mirror. The kernel takes it back when the process ends, however it does."""
    _own().mkdir(mode=0o700, parents=True, exist_ok=True)
    flock(os.open(_own() / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), LOCK_SH)


def ensure() -> Path:
    """The mirror's Unix socket; started first if it does not run."""
    _own().mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(_own() / "lock"):
        if not running():
            _start()
        return folder() / "socket"


def release() -> None:
    """End the mirror if no lab's daemon needs it any more."""
    if not _own().exists():
        return
    with locked(_own() / "lock"):
        descriptor = os.open(_own() / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except OSError:
            return
        finally:
            os.close(descriptor)
        if pid := remembered(_own() / "pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            patiently(lambda: remembered(_own() / "pid") is None, START_SECONDS)


def running() -> int | None:
    return remembered(_own() / "pid")


def in_use() -> bool:
    """Whether a lab's daemon needs the mirror now."""
    if not (_own() / "users").exists():
        return False
    descriptor = os.open(_own() / "users", os.O_RDWR | os.O_CLOEXEC)
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


def settings(archives: tuple[str, ...], proxy: str | None) -> str:
    """apt-cacher-ng's configuration. ``ForceManaged`` refuses whatever no ``Remap`` line names."""
    remaps = "".join(f"Remap-{number}: {each} ; {each}\n" for number, each in enumerate(archives))
    return SETTINGS.format(proxy=f"Proxy: {proxy}\n" if proxy else "", archives=remaps)


def _start() -> None:
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        raise BackendError(
            "The lab's package mirror is apt-cacher-ng, which is not installed (there is no user of that name)."
        ) from None
    conf = _own() / "conf"
    conf.mkdir(mode=0o755, exist_ok=True)
    write_whole(conf / "acng.conf", settings(sources.archives(), _proxy()))
    if not folder().exists():
        folder().mkdir(mode=0o700)
    os.chown(folder(), user.pw_uid, user.pw_gid)
    # The cache lies in a home the mirror's user may not enter: a private mount shows it in the package's own place.
    script = (
        'mount --bind "$1" /var/cache/apt-cacher-ng && mount --bind "$2" /etc/apt-cacher-ng && '
        f"exec setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs apt-cacher-ng -c /etc/apt-cacher-ng"
    )
    with open(_own() / "log", "wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "sh", str(folder()), str(conf)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    remember(_own() / "pid", process.pid)
    if (
        not patiently(lambda: process.poll() is not None or _answers(), START_SECONDS)
        or process.poll() is not None
    ):
        said = (_own() / "log").read_text(errors="replace")[-800:].strip()
        raise BackendError(
            f"The lab's package mirror (apt-cacher-ng) did not start: {said or 'it said nothing'}."
        )


def _proxy() -> str | None:
    """The proxy this machine's own apt uses, if it does."""
    said = subprocess.run(
        ["apt-config", "dump", "--format=%v%n", "Acquire::http::Proxy"],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in said.stdout.splitlines() if line and line != "DIRECT"]
    return lines[0] if lines else None


def _answers() -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(folder() / "socket"))
        except OSError:
            return False
        return True
