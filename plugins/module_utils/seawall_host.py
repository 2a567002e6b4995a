"""What Seawall's modules know about a host: its files, its daemons, and how to try a change before making it.

Reading and deciding are apart from changing: `changes` and `reasons_to_load` look, `install` and `load` act.
Runs on the host under its own Python (>= 3.10), standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import grp
import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass

# Modes come from declarations; an administrator's own mask (027) must not close a folder that a daemon reads.
os.umask(0o022)

RUN = "/run/seawall"
CHANGED = "/var/lib/seawall/changed"
COMMIT_CONFIRM = "/usr/local/lib/seawall/commit-confirm"


class HostError(Exception):
    """A change could not be made. The message says what, why, and what stands now."""


@dataclass(frozen=True)
class File:
    """One file as it should be. ``content`` None means: it should not exist."""

    path: str
    content: bytes | None
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"


def run(argv: list[str], *, stdin: str | None = None, timeout: float = 120) -> subprocess.CompletedProcess:
    """Run a command in the C locale and return it, never raising for how it ends (124: not within ``timeout`` s)."""
    env = {
        **os.environ,
        "LC_ALL": "C",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    try:
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, env=env
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"nothing within {timeout:.0f} s; it was ended")


def must(argv: list[str], what: str, **kwargs) -> str:
    """Run a command that has to succeed; its standard output, or a HostError naming ``what``."""
    done = run(argv, **kwargs)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}")[-1500:]
        raise HostError(f"{what}: {' '.join(argv)} said: {said}")
    return done.stdout


def in_container() -> bool:
    """Whether this host shares its kernel with another one (an LXC or nspawn container, say)."""
    return run(["systemd-detect-virt", "--container", "--quiet"]).returncode == 0


def declared(specs: list[dict] | None) -> list[File]:
    """Files from a module's options: ``path``, ``content``, and optionally ``mode``, ``owner``, ``group``."""
    return [
        File(
            spec["path"],
            spec["content"].encode(),
            int(str(spec.get("mode") or "0644"), 8),
            spec.get("owner") or "root",
            spec.get("group") or "root",
        )
        for spec in specs or []
    ]


def absent(patterns: list[str] | None, keep: set[str]) -> list[File]:
    """The files that match ``patterns`` (globs) and should not exist; ``keep`` are spared."""
    found = {path for pattern in patterns or [] for path in glob.glob(pattern) if path not in keep}
    return [File(path, None) for path in sorted(found)]


def read(path: str) -> bytes | None:
    """A file's bytes; None where it does not exist."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def _owner_ids(file: File) -> tuple[int, int]:
    """Numeric owner; an account that is yet to be made (check mode on an untouched host) counts as -1."""
    try:
        return pwd.getpwnam(file.owner).pw_uid, grp.getgrnam(file.group).gr_gid
    except KeyError:
        return -1, -1


def as_declared(file: File) -> bool:
    """Whether the file on disk has the declared content, mode and owner."""
    try:
        stat = os.lstat(file.path)
    except (FileNotFoundError, NotADirectoryError):
        return file.content is None
    if file.content is None:
        return False
    regular = (stat.st_mode & 0o170000) == 0o100000
    same_face = (
        regular and stat.st_mode & 0o7777 == file.mode and (stat.st_uid, stat.st_gid) == _owner_ids(file)
    )
    return same_face and read(file.path) == file.content


def changes(files: list[File]) -> list[File]:
    """Those of ``files`` that are not on disk as declared."""
    return [file for file in files if not as_declared(file)]


def diff(files: list[File]) -> list[dict]:
    """Before and after for ``--diff``, in Ansible's shape."""
    return [
        {
            "before_header": file.path,
            "after_header": file.path,
            "before": (read(file.path) or b"").decode(errors="replace"),
            "after": (file.content or b"").decode(errors="replace"),
        }
        for file in files
    ]


def fsync_directory(path: str) -> None:
    """Make renames and removals in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def note_change() -> None:
    """Leave word, before a change, that this host's files are Seawall's doing: `seawall_integrity` reads it."""
    os.makedirs(os.path.dirname(CHANGED), mode=0o700, exist_ok=True)
    _place([File(CHANGED, f"{time.time()}\n".encode())], "")


def install(files: list[File], root: str = "") -> None:
    """Write or remove files, each by one rename, durable before it returns. ``root`` is a candidate's prefix.

    All are written beside their places before the first takes its own: on a full disk none changes.
    """
    if files and not root:
        note_change()
    _place(files, root)


def _place(files: list[File], root: str) -> None:
    ready: dict[str, str] = {}
    try:
        for file in files:
            if file.content is not None:
                ready[file.path] = _beside(file, root + file.path)
        for file in files:
            path = root + file.path
            if file.content is not None:
                os.rename(ready[file.path], path)
                del ready[file.path]
            else:
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    continue
            fsync_directory(os.path.dirname(path))
    except OSError as error:
        raise HostError(f"{file.path} could not be written ({error.strerror}), so it is as it was.") from None
    finally:
        for temporary in ready.values():
            os.unlink(temporary)


def _beside(file: File, path: str) -> str:
    """The file as declared under a temporary name in its folder, durable."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".seawall-")
    try:
        with os.fdopen(fd, "wb") as handle:
            handle.write(file.content)
            os.fchown(fd, *_owner_ids(file))
            os.fchmod(fd, file.mode)
            handle.flush()
            os.fsync(fd)
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def current(files: list[File]) -> list[File]:
    """The same paths as they are now, so that `install` of the result undoes `install` of ``files``."""
    now = []
    for file in files:
        content = read(file.path)
        if content is None:
            now.append(File(file.path, None))
            continue
        stat = os.stat(file.path)
        owner, group = pwd.getpwuid(stat.st_uid).pw_name, grp.getgrgid(stat.st_gid).gr_name
        now.append(File(file.path, content, stat.st_mode & 0o7777, owner, group))
    return now


INSTALLED = "/var/lib/seawall/installed.json"
ORIGINALS = "/var/lib/seawall/originals"


@contextlib.contextmanager
def _book():
    """What Seawall put on this host, role by role; what the block does to it is kept."""
    os.makedirs(os.path.dirname(INSTALLED), mode=0o755, exist_ok=True)
    with open(f"{INSTALLED}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = read(INSTALLED) or b"{}"
        book = json.loads(before)
        yield book
        after = json.dumps(book, indent=1, sort_keys=True).encode()
        if after != before:
            install([File(INSTALLED, after, 0o600)])


def remember(
    role: str,
    files: list[File],
    units: list[str] | tuple = (),
    *,
    confirm: bool = False,
    edited: bool = False,
    **steps: list[list[str]],
) -> None:
    """Note what a role is about to put here and keep what is there now, once, so that `seawall_removed` can undo it.

    ``steps``: commands ``before`` and ``after`` the files are put back, and to ``undo`` that; ``confirm`` where it
    could lock people out; ``edited`` where the files are the distribution's own, which never go.
    """
    if not role:
        return
    with _book() as book:
        held = book.setdefault(role, {"files": [], "units": {}})
        held.update(confirm=confirm, edited=edited, **steps)
        for file in files:
            if file.path in held["files"]:
                continue
            now = current([file])[0]
            # A host hardened before this book was kept: what is there is ours, and what was is not known.
            if (
                now.content is not None
                and now.content != file.content
                and b"Written by Seawall" not in now.content
            ):
                os.makedirs(ORIGINALS, mode=0o700, exist_ok=True)
                install([File(ORIGINALS + file.path, now.content, now.mode, now.owner, now.group)])
            held["files"].append(file.path)
        for name in units:
            if name not in held["units"]:
                shown = show(name)
                held["units"][name] = [shown.get("ActiveState", ""), shown.get("UnitFileState", "")]


def book() -> dict[str, dict]:
    """Role → what it put here."""
    return json.loads(read(INSTALLED) or b"{}")


def unrecorded(role: str, files: list[File]) -> bool:
    """Whether a role's files are here without being in the book, as on a host hardened before it was kept."""
    held = book().get(role, {}).get("files", [])
    return bool(role) and any(file.path not in held for file in files)


def forget(role: str) -> None:
    """A role put nothing here any longer."""
    with _book() as book:
        book.pop(role, None)


def originals(paths: list[str], edited: bool = False) -> list[File]:
    """The files as they were before Seawall; one that was not there goes, unless it is a package's (then it stays)."""
    files = []
    for path in paths:
        kept = current([File(ORIGINALS + path, None)])[0]
        if kept.content is not None:
            files.append(File(path, kept.content, kept.mode, kept.owner, kept.group))
        elif not edited and run(["dpkg-query", "-S", path]).returncode:
            files.append(File(path, None))
    return files


# A namespace of its own in which /etc (or parts of it) is a copy with the candidate files laid in, /run is
# empty and the only link is a loopback: `sshd -t`, `nginx -t` or a whole nginx judge the complete effective
# configuration there, and neither the real files nor the real ports can be touched.
_ENTER = """
set -e
scratch=$1; shift
while [ "$1" != -- ]; do mount --bind "$scratch$1" "$1"; shift; done
shift
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/sshd /run/lock
ip link set lo up
exec "$@"
"""


class Candidate:
    """A copy of ``trees`` with ``files`` laid in, in which commands can be tried. Use as a context manager."""

    def __init__(self, files: list[File], trees: tuple[str, ...] = ("/etc",)):
        self.files, self.trees = files, trees

    def __enter__(self) -> Candidate:
        os.makedirs(RUN, mode=0o700, exist_ok=True)
        self.scratch = tempfile.mkdtemp(dir=RUN, prefix="candidate-")
        for tree in self.trees:
            os.makedirs(os.path.dirname(self.scratch + tree), exist_ok=True)
            subprocess.run(["cp", "-a", tree, self.scratch + tree], check=True, capture_output=True)
        inside = [f for f in self.files if any(f.path.startswith(tree + "/") for tree in self.trees)]
        install(inside, root=self.scratch)
        return self

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    def run(self, argv: list[str], stdin: str | None = None) -> subprocess.CompletedProcess:
        """Run a command in there."""
        enter = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", _ENTER, "sh"]
        return run([*enter, self.scratch, *self.trees, "--", *argv], stdin=stdin)


def refusals(files: list[File], checks: list[list[str]]) -> list[str]:
    """What the ``checks`` have against ``files``. A check whose program is not installed yet has nothing to say."""
    checks = [argv for argv in checks if shutil.which(argv[0], path="/usr/sbin:/usr/bin:/sbin:/bin")]
    if not checks:
        return []
    with Candidate(files) as candidate:
        done = [(argv, candidate.run(argv)) for argv in checks]
    return [
        f"{' '.join(argv)} refused it: {(d.stderr.strip() or d.stdout.strip())[-1500:]}"
        for argv, d in done
        if d.returncode
    ]


def astray(looks: list[list[str]]) -> list[str]:
    """What the commands ``looks`` say is not as declared; one that is not there yet finds nothing as declared."""
    why = []
    for argv in looks:
        if not shutil.which(argv[0], path="/usr/sbin:/usr/bin:/sbin:/bin"):
            why.append(f"{argv[0]} is not there yet")
        elif (done := run(argv)).returncode:
            why += (done.stdout.strip() or done.stderr.strip() or f"{argv[0]} says no").splitlines()
    return why


@dataclass(frozen=True)
class Unit:
    """A systemd unit that should run. It ``reads`` files (globs); ``on_change`` is restart or reload."""

    name: str
    reads: tuple[str, ...] = ()
    on_change: str = "restart"


_SHOWN = (
    "LoadState,ActiveState,UnitFileState,NeedDaemonReload,"
    "ExecMainStartTimestampMonotonic,StateChangeTimestampMonotonic"
)


def show(name: str) -> dict[str, str]:
    """systemd's view of one unit."""
    lines = run(["systemctl", "show", name, "-p", _SHOWN]).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def newest_change(patterns: tuple[str, ...]) -> tuple[float, str]:
    """When the newest of the files a daemon reads came to be as it is (ctime, which cannot be set back), and which."""
    newest = (0.0, "")
    for pattern in patterns:
        for path in glob.glob(pattern, recursive=True):
            newest = max(newest, (os.stat(path).st_ctime, path))
    return newest


def loaded_at(unit: Unit, shown: dict[str, str]) -> float:
    """When the running daemon last read its configuration, in seconds since 1970."""
    # A reload leaves the start time alone, but passes through "reloading" and so changes the unit's state. What
    # systemd knows of the reload command itself does not outlive a daemon-reload.
    which = (
        "StateChangeTimestampMonotonic" if unit.on_change == "reload" else "ExecMainStartTimestampMonotonic"
    )
    # A timer has no process that started.
    started = int(shown.get(which) or shown.get("StateChangeTimestampMonotonic") or 0)
    return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + started / 1e6


def reasons_to_load(unit: Unit) -> list[str]:
    """Why the daemon has to be (re)started: the truth is what runs, not what lies on disk."""
    shown = show(unit.name)
    if shown.get("LoadState") != "loaded":
        return [f"{unit.name} is not there yet"]
    why = []
    if shown["ActiveState"] != "active":
        why.append(f"{unit.name} is {shown['ActiveState']}")
    if shown["UnitFileState"] not in (
        "enabled",
        "static",
        "alias",
        "indirect",
        "generated",
        "enabled-runtime",
    ):
        why.append(f"{unit.name} is {shown['UnitFileState']}")
    if shown["NeedDaemonReload"] == "yes":
        why.append(f"{unit.name}'s unit file is newer than systemd's copy")
    changed, path = newest_change(unit.reads)
    if not why and changed > loaded_at(unit, shown):
        why.append(f"{unit.name} runs with an older configuration than {path}")
    return why


def load(units: list[Unit]) -> None:
    """Enable and (re)start or reload the units; returns once each is active."""
    must(["systemctl", "daemon-reload"], "systemd could not read its unit files")
    for unit in units:
        shown = show(unit.name)
        if shown.get("UnitFileState") in ("disabled", "masked"):
            run(["systemctl", "unmask", unit.name])
            must(["systemctl", "enable", unit.name], f"{unit.name} could not be enabled")
        verb = "reload" if unit.on_change == "reload" and shown.get("ActiveState") == "active" else "restart"
        done = run(["systemctl", verb, unit.name])
        if done.returncode or show(unit.name).get("ActiveState") != "active":
            log = run(
                ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", "15", "-u", unit.name]
            ).stdout.strip()
            raise HostError(f"{unit.name} does not {verb}: {done.stderr.strip()} Its log: {log[-1500:]}")


def wait_until_settled(seconds: float = 75) -> None:
    """Wait while another run's change awaits its confirmation: what it leaves is what this run has to judge."""
    if not os.path.exists(COMMIT_CONFIRM):
        return
    deadline = time.monotonic() + seconds
    while (status := json.loads(must([COMMIT_CONFIRM, "status"], "commit-confirm")))["armed"]:
        if time.monotonic() > deadline:
            raise HostError(
                f"Another change ({status['armed']['what']}) has been awaiting its confirmation for more than "
                f"{seconds:.0f} s. See `journalctl -u seawall-revert` on the host, then run again."
            )
        time.sleep(0.5)


def arm(what: str, paths: list[str], undo: list[list[str]]) -> str:
    """Arm the host with the present state of ``paths``; returns the id a new connection has to confirm."""
    note_change()
    document = json.dumps({"what": what, "paths": paths, "undo": undo})
    return must(
        [COMMIT_CONFIRM, "arm"], f"{what} could not be armed, so nothing was changed", stdin=document
    ).strip()


def revert(reason: str) -> None:
    """Put the armed state back at once."""
    run([COMMIT_CONFIRM, "revert", "--reason", reason])
