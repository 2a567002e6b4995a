"""Which engine, language host and provider are used, and why.

``look`` finds what there is, ``decide`` chooses without looking: the official ones where present or reachable,
the built ones only otherwise.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from lab import host
from lab.engine import ENGINE_VERSION, PROVIDER_VERSION

BIN = Path(__file__).resolve().parent / "bin"
"""Our language host and provider, and, once built, a link to the engine."""
DOWNLOADS = ("get.pulumi.com", 443)
PROBE_SECONDS = 2.0
PROBE_KEPT = 24 * 3600
"""Seconds for which a probe's answer holds; a machine's network rarely opens or closes."""

Origin = Literal["official", "built"]


@dataclass(frozen=True)
class Choice:
    """One tool: where (None: not here yet), which version, whose, and why this one.

    ``ready`` says whether it can be used as it is; ``remedy`` what to do where it cannot, or for a better one.
    """

    path: Path | None
    version: str
    origin: Origin
    why: str
    ready: bool
    remedy: str = ""


@dataclass(frozen=True)
class Facts:
    """What there is. Paths are None where there is nothing; ``reachable`` is None where nobody had to ask."""

    engine: Path | None = None
    engine_version: str = ""
    language_host: Path | None = None
    provider: Path | None = None
    built_engine: Path | None = None
    reachable: bool | None = None


@dataclass(frozen=True)
class Toolchain:
    """The three tools. ``str()`` says in one line what is used and why."""

    engine: Choice
    language_host: Choice
    provider: Choice

    @property
    def path(self) -> list[Path]:
        """Folders to put before PATH, in this order."""
        folders = [self.engine.path.parent] if self.engine.path else []
        if "built" in (self.engine.origin, self.language_host.origin, self.provider.origin):
            folders.append(BIN)
        return list(dict.fromkeys(folders))

    @property
    def closed(self) -> bool:
        """Whether the engine should not try to download plugins."""
        return self.provider.origin == "built"

    @property
    def variables(self) -> dict[str, str]:
        """Environment beyond PATH: an official provider beside our host must not be hidden by ours on PATH."""
        found = {"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"} if self.closed else {}
        if self.provider.origin == "official" and self.language_host.origin == "built":
            found["PULUMI_IGNORE_AMBIENT_PLUGINS"] = "true"
        return found

    def __str__(self) -> str:
        engine = f"{self.engine.origin} Pulumi {self.engine.version} ({self.engine.why})"
        return f"{engine}, {self.provider.origin} DigitalOcean provider {self.provider.version} ({self.provider.why})"


def decide(facts: Facts) -> Toolchain:
    """The order in which a user would pick."""
    engine = _engine(facts)
    if engine.origin == "official":
        why = "comes with the engine"
        host = facts.language_host if engine.ready else None
        language_host = Choice(host, engine.version, "official", why, engine.ready, engine.remedy)
    else:
        why = "Pulumi's own comes only with the official engine"
        language_host = Choice(BIN / "pulumi-language-python", ENGINE_VERSION, "built", why, True)
    return Toolchain(engine, language_host, _provider(facts))


def _engine(facts: Facts) -> Choice:
    if facts.engine and facts.language_host and _at_least(facts.engine_version, ENGINE_VERSION):
        return Choice(facts.engine, facts.engine_version, "official", "installed", True)
    if facts.built_engine:
        why = "built here earlier"
        if facts.engine and not facts.language_host:
            why += f"; {facts.engine} has no language host beside it"
        elif facts.engine:
            why += f"; {facts.engine} is {facts.engine_version or 'of no known version'}, older than {ENGINE_VERSION}"
        return Choice(facts.built_engine, ENGINE_VERSION, "built", why, True)
    if facts.reachable:
        why = "Pulumi's downloads are reachable"
        return Choice(None, ENGINE_VERSION, "official", why, False, "`make up` fetches it")
    why = "not installed, and Pulumi's downloads are not reachable"
    return Choice(
        None, ENGINE_VERSION, "built", why, False, "`make up` builds it (about seven minutes, once)"
    )


def _provider(facts: Facts) -> Choice:
    if facts.provider:
        return Choice(facts.provider, PROVIDER_VERSION, "official", "installed", True)
    if facts.reachable:
        why = "Pulumi fetches it at its first use"
        return Choice(None, PROVIDER_VERSION, "official", why, True)
    remedy = f"where Pulumi's downloads are reachable: pulumi plugin install resource digitalocean v{PROVIDER_VERSION}"
    why = "the official one is not installed and not reachable"
    return Choice(BIN / "pulumi-resource-digitalocean", PROVIDER_VERSION, "built", why, True, remedy)


def _at_least(version: str, wanted: str) -> bool:
    try:
        numbers = [tuple(int(part) for part in text.split("-")[0].split(".")) for text in (version, wanted)]
    except ValueError:
        return False
    return numbers[0] >= numbers[1]


# Looking


@cache
def toolchain() -> Toolchain:
    """What this machine uses. Looked for once a process."""
    return decide(look())


def look() -> Facts:
    """What there is on this machine, its downloads asked for only where that could change the choice."""
    engine = next((found for found in _engines() if (found.parent / "pulumi-language-python").exists()), None)
    engine = engine or next(_engines(), None)
    host = engine.parent / "pulumi-language-python" if engine else None
    built = cached_engine() if cached_engine().exists() else None
    if built and is_link_of(linked_engine(), built):
        built = linked_engine()
    provider = _official_provider()
    needless = provider or (built and not engine)
    return Facts(
        engine=engine,
        engine_version=version_of(engine) if engine else "",
        language_host=host if host and host.exists() else None,
        provider=provider,
        built_engine=built,
        reachable=None if needless else _reachable(),
    )


def cached_engine() -> Path:
    """Where the built engine lies, for every checkout of this user."""
    return _cache() / ENGINE_VERSION / "pulumi"


def linked_engine() -> Path:
    """Where this checkout's commands find it."""
    return BIN / "pulumi"


def is_link_of(linked: Path, cached: Path) -> bool:
    """Whether ``linked`` is the cached engine, by link or, from another filesystem, by copy."""
    try:
        ours, theirs = linked.stat(), cached.stat()
    except OSError:
        return False
    return os.path.samestat(ours, theirs) or (ours.st_size, ours.st_mtime) == (
        theirs.st_size,
        theirs.st_mtime,
    )


def version_of(engine: Path) -> str:
    """The version an engine says it is; empty where it says none."""
    try:
        told = subprocess.run(
            [engine, "version"],
            capture_output=True,
            text=True,
            timeout=20,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.match(r"v?(\d+\.\d+\.\d+\S*)", told.strip())
    return found[1] if found else ""


def _cache() -> Path:
    return host.cache() / "engine"


def _pulumi_home() -> Path:
    return Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")


def _engines() -> Iterator[Path]:
    """Engines on PATH and where the SDK's installer puts them, ours left out."""
    folders = [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    folders += [_pulumi_home() / "bin", _pulumi_home() / "versions" / ENGINE_VERSION / "bin"]
    ours = {BIN.resolve(), cached_engine().parent.resolve()}
    for folder in folders:
        found = shutil.which("pulumi", path=str(folder))
        if found and Path(found).resolve().parent not in ours:
            yield Path(found).resolve()


def _official_provider() -> Path | None:
    name = "pulumi-resource-digitalocean"
    found = _pulumi_home() / "plugins" / f"resource-digitalocean-v{PROVIDER_VERSION}" / name
    return found if os.access(found, os.X_OK) else None


def _reachable() -> bool:
    """Whether Pulumi's downloads answer. The answer is kept for a day."""
    note = _cache() / "downloads-reachable"
    try:
        if time.time() - note.stat().st_mtime < PROBE_KEPT:
            return note.read_text() == "yes"
    except OSError:
        pass
    answer = _answers()
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text("yes" if answer else "no")
    return answer


def _answers() -> bool:
    try:
        with socket.create_connection(DOWNLOADS, timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False
