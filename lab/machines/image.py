"""Droplet images: a Debian root built once by mmdebstrap, kept in the user's cache under its content's key.

An image is a folder of ``images/``: ``packages.txt``, ``masked.txt`` and ``files/`` (copied over the root).
Its droplets mount the unpacked root read-only, each under an upper layer of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path

from lab import host
from lab.host import locked
from lab.machines import sources
from lab.world import BackendError

FOLDER = Path(__file__).parent / "images"
CODENAMES = {"debian-12-x64": "bookworm"}
"""DigitalOcean's image slugs that the lab can boot, and the release behind each."""

BUILT_BY = "2"
"""Changed when the steps below change what an image holds, so that caches don't hand out the old one."""

Say = Callable[[str], None]


def slugs() -> list[str]:
    """The images a droplet can have here."""
    return list(CODENAMES)


def cache() -> Path:
    return host.cache() / "images"


def root(slug: str, say: Say = lambda line: None) -> Path:
    """The image's unpacked root, built first if the cache has none (about a minute). Safe to call from two
    processes at once: the second waits and finds it built."""
    if slug not in CODENAMES:
        raise BackendError(f"The lab has no image {slug!r}. It boots {', '.join(CODENAMES)}.")
    place = cache() / key(slug)
    if (place / "root").is_dir():
        return place / "root"
    with locked(cache() / f".{slug}.lock"):
        if not (place / "root").is_dir():
            _build(slug, place, say)
    return place / "root"


def key(slug: str) -> str:
    """What decides an image's content, in 16 hex digits: release, archives, packages, masks, files."""
    digest = hashlib.sha256()
    for part in (BUILT_BY, slug, *sources.lines(CODENAMES[slug])):
        digest.update(part.encode() + b"\0")
    folder = FOLDER / slug
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{slug}-{digest.hexdigest()[:16]}"


def listed(path: Path) -> list[str]:
    """A list file's entries, without comments."""
    return [line for text in path.read_text().splitlines() if (line := text.partition("#")[0].strip())]


def _build(slug: str, place: Path, say: Say) -> None:
    folder = FOLDER / slug
    codename = CODENAMES[slug]
    draft = place.with_name(f".{place.name}.building")
    _discard(draft)
    (draft / "root").mkdir(parents=True)
    (draft / "root").chmod(0o755)
    say(f"building the image {slug} ({codename}), about a minute, once")
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(listed(folder / 'packages.txt'))}",
        '--aptopt=Apt::Install-Recommends "false"',
        f'--customize-hook=cp -r --no-preserve=ownership "{folder / "files"}/." "$1"',
        '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/hostname "$1"/var/lib/dbus/machine-id',
        # A systemd that finds no machine-id at all takes the boot for a first one and resets every unit.
        '--customize-hook=: > "$1"/etc/machine-id',
        '--customize-hook=chroot "$1" systemctl enable systemd-networkd.service',
        f'--customize-hook=chroot "$1" systemctl mask {" ".join(listed(folder / "masked.txt"))}',
        codename,
        str(draft / "root"),
        *sources.lines(codename),
    ]
    last = deque[str](maxlen=12)
    try:
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as process:
            assert process.stderr
            for line in process.stderr:
                last.append(line.rstrip())
                if re.match(r"I: |done$", line) or "Setting up" in line:
                    say(f"image {slug}: {line.strip()}")
    except FileNotFoundError:
        raise BackendError("The lab builds images with mmdebstrap, which is not installed.") from None
    if process.returncode:
        _discard(draft)
        raise BackendError(
            f"The image {slug} could not be built from {', '.join(sources.archives())}: mmdebstrap ended with "
            f"exit code {process.returncode}. Its last words: {' / '.join(last)}. If the package source did not "
            "answer, try again when it does; nothing half-built was kept."
        )
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)
    say(f"image {slug}: built")


def _discard(draft: Path) -> None:
    """Remove what a killed build left, mounts that mmdebstrap had made inside first."""
    with contextlib.suppress(FileNotFoundError):
        for mount in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if mount.split()[1].startswith(str(draft)):
                subprocess.run(["umount", "--lazy", mount.split()[1]], check=False)
        shutil.rmtree(draft)
