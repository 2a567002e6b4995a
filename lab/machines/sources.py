"""Where Debian packages come from: this machine's own apt configuration. No archive's address stands in the code."""

from __future__ import annotations

import subprocess
from functools import cache
from urllib.parse import urlsplit

from lab.world import BackendError

PATHS = ("debian", "debian-security")
"""Where archives that mirror Debian's keep it, by convention."""


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
    found: dict[str, str] = {}
    for line in reversed(said.splitlines()):
        address, release, origin, component = line.split("\t")
        # Before the first `apt-get update` apt knows no origin; then the archive's usual path tells.
        if component == "main" and (origin == "Debian" or urlsplit(address).path.strip("/") in PATHS):
            found["-security" if release.endswith("-security") else ""] = address.rstrip("/")
    if len(found) < 2:
        raise BackendError(
            "The lab installs Debian packages from where this machine's apt gets them, and its sources name no Debian "
            "archive with a security archive. Add Debian's to /etc/apt/sources.list.d and run `apt-get update`."
        )
    return found[""], found["-security"]
