"""The Debian packages of this machine that the lab needs: which are missing, and how they come to be there."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.world import BackendError

LIST = Path(__file__).with_name("debian-packages.txt")

OWN_KERNEL = Path(__file__).with_name("debian-packages-own-kernel.txt")
"""Without these the lab works, but for droplets with a kernel of their own."""

SERVICES = ("haproxy.service", "apt-cacher-ng.service")
"""Units that these packages would enable and start, though the lab runs the programs itself."""

Say = Callable[[str], None]


def needed(of: Path = LIST) -> list[str]:
    """The packages of a list: by default ``debian-packages.txt``."""
    return [line for text in of.read_text().splitlines() if (line := text.partition("#")[0].strip())]


def missing(of: Path = LIST) -> list[str]:
    """Those of them that are not installed. All, on a machine without dpkg."""
    if not shutil.which("dpkg-query"):
        return needed(of)
    said = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *needed(of)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    installed = {line.split()[0] for line in said.splitlines() if line.endswith(" installed")}
    return [name for name in needed(of) if name not in installed]


def command(names: list[str]) -> list[str]:
    """The command that installs packages, as ``doctor`` shows it and ``install`` runs it."""
    return ["apt-get", "install", "--yes", "--no-install-recommends", *names]


def install(say: Say = lambda line: None, of: Path = LIST) -> None:
    """Install what is missing. Services that came with it are neither started nor enabled; ones that were there
    before are left alone."""
    names = missing(of)
    if not names:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise BackendError(
            f"The lab needs the Debian packages {', '.join(names)}, which only root can install with apt. Run "
            f"`sudo {' '.join(command(names))}`, then this again."
        )
    with _not_started(names):
        if not _run(command(names), say):  # an old index is the usual reason: only then is a new one fetched
            _run(["apt-get", "update"], say)
            _run(command(names), say, final=True)


@contextlib.contextmanager
def _not_started(names: list[str]) -> Iterator[None]:
    """Mask the services of packages to come, so that their installation can't start them."""
    masks = [
        Path("/etc/systemd/system") / unit for unit in SERVICES if unit.removesuffix(".service") in names
    ]
    made = []
    for mask in masks:
        if not mask.is_symlink() and not mask.exists():
            mask.parent.mkdir(parents=True, exist_ok=True)
            mask.symlink_to("/dev/null")
            made.append(mask)
    try:
        yield
    finally:
        for mask in made:
            mask.unlink(missing_ok=True)
            if shutil.which("systemctl"):
                subprocess.run(["systemctl", "disable", mask.name], capture_output=True, check=False)


def _run(words: list[str], say: Say, *, final: bool = False) -> bool:
    last = deque[str](maxlen=8)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with subprocess.Popen(
        words,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout
        for line in process.stdout:
            last.append(line.strip())
            say(line.strip())
    if final and process.returncode:
        raise BackendError(
            f"`{' '.join(words)}` ended with exit code {process.returncode}: {' / '.join(last)}. Put right what it "
            "names, then run this again."
        )
    return process.returncode == 0
