"""Where Debian packages come from: this machine's own apt configuration, or Debian's where it names none."""

from __future__ import annotations

import subprocess
from functools import cache
from urllib.parse import urlsplit

DEBIAN = {"": "http://deb.debian.org/debian", "-security": "http://deb.debian.org/debian-security"}
"""Debian's own addresses, for a host that is no Debian and so names no source of Debian's packages."""


def lines(codename: str) -> list[str]:
    """One-line apt sources for a Debian release: the release, its updates, its security."""
    main, security = _archives()
    return [
        f"deb {main} {codename} main",
        f"deb {main} {codename}-updates main",
        f"deb {security} {codename}-security main",
    ]


def archives() -> tuple[str, ...]:
    """Base addresses of the archives that ``lines`` names, without their last slash."""
    return _archives()


def hosts() -> set[str]:
    return {urlsplit(address).hostname or "" for address in _archives()}


@cache
def _archives() -> tuple[str, str]:
    wanted = "$(REPO_URI)\t$(RELEASE)\t$(ORIGIN)\t$(COMPONENT)"
    try:
        said = subprocess.run(
            ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    except FileNotFoundError:
        said = ""
    found = dict(DEBIAN)
    for line in reversed(said.splitlines()):
        address, release, origin, component = line.split("\t")
        if origin == "Debian" and component == "main":
            found["-security" if release.endswith("-security") else ""] = address.rstrip("/")
    return found[""], found["-security"]
