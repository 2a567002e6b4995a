"""What this machine has, what will be used and why, what is missing and the command that brings it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass

from lab import packages
from lab.engine import choose
from lab.host import cache

GIB = 1024**3
LAB_MEMORY, LAB_DISK = 4 * GIB, 10 * GIB


@dataclass(frozen=True)
class Check:
    """One line: ``fine`` is None for what merely informs. ``needed_for`` says what doesn't work without it."""

    name: str
    seen: str
    fine: bool | None = None
    needed_for: str = ""
    remedy: str = ""


def examine() -> list[Check]:
    """Look, change nothing."""
    return [*_python(), *_pulumi(), *_lab()]


def _python() -> list[Check]:
    version = platform.python_version()
    fine = sys.version_info >= (3, 11)
    tools = ("ansible-core", "pulumi", "pulumi-digitalocean", "pytest-testinfra", "paramiko")
    return [
        Check("python", version, fine, "everything", "" if fine else "install Python 3.11 or newer"),
        *(Check(tool, importlib.metadata.version(tool)) for tool in tools),
        _command("ssh", "logging in, hardening", "apt-get install openssh-client"),
    ]


def _command(name: str, needed_for: str, remedy: str) -> Check:
    found = shutil.which(name)
    return Check(name, found or "missing", bool(found), needed_for, "" if found else remedy)


def _pulumi() -> list[Check]:
    toolchain = choose.toolchain()
    return [
        Check(
            name, f"{choice.origin} {choice.version}: {choice.why}", choice.ready, "pulumi up", choice.remedy
        )
        for name, choice in (
            ("engine", toolchain.engine),
            ("language host", toolchain.language_host),
            ("provider", toolchain.provider),
        )
    ]


def _lab() -> list[Check]:
    if platform.system() != "Linux":
        return [
            Check(
                "lab",
                f"{platform.system()} has no systemd-nspawn and no network namespaces",
                False,
                "the local DigitalOcean (a real account, hardening and verifying all work from here)",
                "run the lab in a Debian 12 virtual machine",
            )
        ]
    root = os.geteuid() == 0
    missing, virtual = packages.missing(), packages.missing(packages.OWN_KERNEL)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    folder = cache()
    while not folder.exists():
        folder = folder.parent
    disk = shutil.disk_usage(folder).free
    return [
        Check(
            "root",
            "yes" if root else "no",
            root,
            "the lab: it makes namespaces, mounts and machines (a real account needs no root)",
            "" if root else "run the lab as root, on a machine you may take apart",
        ),
        Check(
            "packages",
            f"missing: {' '.join(missing)}" if missing else "all there",
            not missing,
            "the lab",
            f"apt-get install --no-install-recommends {' '.join(missing)}" if missing else "",
        ),
        Check(
            "own kernel",
            "QEMU is there" if not virtual else f"missing: {' '.join(virtual)}",
            True if not virtual else None,  # the lab does without
            "droplets with a kernel of their own (the sizes c-… and g-…)",
            f"apt-get install --no-install-recommends {' '.join(virtual)}" if virtual else "",
        ),
        Check("memory", f"{memory / GIB:.1f} GiB", memory >= LAB_MEMORY, "the lab (three droplets: 4 GiB)"),
        Check(
            "disk",
            f"{disk / GIB:.0f} GiB free",
            disk >= LAB_DISK,
            "the lab (engine, image, droplets: 10 GiB)",
        ),
    ]


def document(checks: list[Check]) -> dict:
    return {"checks": [asdict(check) for check in checks]}


def text(checks: list[Check]) -> str:
    """A line a check; what is wrong says what it is needed for and what to do."""
    marks = {True: "✓", False: "✗", None: "·"}
    lines = []
    for check in checks:
        lines.append(f"{marks[check.fine]} {check.name:<20} {check.seen}")
        if check.fine is False or check.remedy:
            lines.append(f"    needed for {check.needed_for}")
            if check.remedy:
                lines.append(f"    → {check.remedy}")
    return "\n".join(lines)
