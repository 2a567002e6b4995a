"""Droplet images: a Debian root built once by mmdebstrap, kept in the user's cache under its content's key.

An image is a release with the layers of ``images/``: ``packages.txt``, ``masked.txt``, ``unmasked.txt`` and ``files/``
(copied over the root). Containers have the layer ``droplet`` and mount the unpacked root read-only, each under an
upper layer of its own. Machines with their own kernel have ``own-kernel`` beside it, and start from a copy of a disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import host
from lab.host import locked, run
from lab.machines import sources
from lab.world import BackendError

FOLDER = Path(__file__).parent / "images"
CODENAMES = {"debian-12-x64": "bookworm", "debian-13-x64": "trixie"}
"""DigitalOcean's image slugs that the lab can boot, and the release behind each."""

CONTAINER, OWN_KERNEL = ("droplet",), ("droplet", "own-kernel")
"""The layers of the two kinds of machine."""

BUILT_BY = "3"
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
    return _built(slug, CONTAINER, say) / "root"


@dataclass(frozen=True)
class Bootable:
    """What a machine with its own kernel starts from: a disk to copy and enlarge, and what boots it."""

    disk: Path
    kernel: Path
    initrd: Path


def bootable(slug: str, say: Say = lambda line: None) -> Bootable:
    """The image as a disk with kernel, built first if the cache has none (about two minutes)."""
    place = _built(slug, OWN_KERNEL, say)
    return Bootable(place / "disk.ext4", place / "root/vmlinuz", place / "root/initrd.img")


def key(slug: str, layers: tuple[str, ...] = CONTAINER) -> str:
    """What decides an image's content, in 16 hex digits: release, archives, packages, masks, files."""
    digest = hashlib.sha256()
    for part in (BUILT_BY, slug, *sources.lines(CODENAMES[slug])):
        digest.update(part.encode() + b"\0")
    for layer in layers:
        for path in sorted((FOLDER / layer).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(FOLDER)).encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{slug}-{layers[-1]}-{digest.hexdigest()[:16]}"


def listed(path: Path) -> list[str]:
    """A list file's entries, without comments."""
    return [line for text in path.read_text().splitlines() if (line := text.partition("#")[0].strip())]


def _built(slug: str, layers: tuple[str, ...], say: Say) -> Path:
    if slug not in CODENAMES:
        raise BackendError(f"The lab has no image {slug!r}. It boots {', '.join(CODENAMES)}.")
    place = cache() / key(slug, layers)
    if not place.is_dir():
        with locked(cache() / f".{slug}-{layers[-1]}.lock"):
            if not place.is_dir():
                _build(slug, layers, place, say)
    return place


def _build(slug: str, layers: tuple[str, ...], place: Path, say: Say) -> None:
    codename = CODENAMES[slug]
    draft = place.with_name(f".{place.name}.building")
    _discard(draft)
    (draft / "root").mkdir(parents=True)
    (draft / "root").chmod(0o755)
    say(f"building the image {slug} ({codename}, {layers[-1]}), about a minute, once")
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(_entries(layers, 'packages.txt'))}",
        '--aptopt=Apt::Install-Recommends "false"',
        # Before the packages that read them, and once more over what packages wrote.
        *(
            f'--{hook}-hook=cp -r --no-preserve=ownership "{FOLDER / layer / "files"}/." "$1"'
            for hook, layer in (
                *(("essential", layer) for layer in layers[1:]),
                *(("customize", each) for each in layers),
            )
        ),
        '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/hostname "$1"/var/lib/dbus/machine-id',
        # A systemd that finds no machine-id at all takes the boot for a first one and resets every unit.
        '--customize-hook=: > "$1"/etc/machine-id',
        '--customize-hook=chroot "$1" systemctl enable systemd-networkd.service',
        f'--customize-hook=chroot "$1" systemctl mask {" ".join(_masked(layers))}',
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
    if layers == OWN_KERNEL:
        _make_disk(draft)
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)
    say(f"image {slug}: built")


def _make_disk(draft: Path) -> None:
    """The root as a filesystem of a gibibyte or two, to be enlarged for each droplet."""
    disk = draft / "disk.ext4"
    used = int(run("du", "--summarize", "--bytes", draft / "root", why="measure an image").split()[0])
    with disk.open("wb") as blank:
        blank.truncate(-(-2 * used // 1024**3) * 1024**3)
    options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    run(
        "mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=64", "-E", options, "-d", draft / "root", disk,
        why="make an image's disk", timeout=600,
    )  # fmt: skip


def _entries(layers: tuple[str, ...], name: str) -> list[str]:
    return [
        entry
        for layer in layers
        if (FOLDER / layer / name).exists()
        for entry in listed(FOLDER / layer / name)
    ]


def _masked(layers: tuple[str, ...]) -> list[str]:
    unmasked = _entries(layers, "unmasked.txt")
    return [unit for unit in _entries(layers, "masked.txt") if unit not in unmasked]


def _discard(draft: Path) -> None:
    """Remove what a killed build left, mounts that mmdebstrap had made inside first."""
    with contextlib.suppress(FileNotFoundError):
        for mount in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if mount.split()[1].startswith(str(draft)):
                subprocess.run(["umount", "--lazy", mount.split()[1]], check=False)
        shutil.rmtree(draft)
