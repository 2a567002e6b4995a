"""What the last hardening left of each host, kept on the controller, where the host cannot rewrite it.

``baseline/STACK/HOST.json`` (0600) holds what the host's gathering script told at the end of a hardening run;
``HOST.logs.json`` beside it how far its logs had been seen, moved on by every look. ``findings.jsonl`` are the controls
as the last `seawall up` verified them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seawall import findings, hosts
from seawall.connection import Route, Unreachable
from seawall.drift.gather import Facts, gather, version
from seawall.findings import Finding
from seawall.places import Places, write_private
from seawall.problem import Problem
from seawall.session import Session

SCHEMA_VERSION = 1
AT_ONCE = 16
READER = "seawall-drift"
"""The account of a watch (roles/accounts, ``accounts_reader``), bound on every host to the gathering script."""


@dataclass(frozen=True)
class Baseline:
    """One host as it was left. ``droplet`` is the alias of its host key: a droplet made anew has another."""

    host: str
    droplet: str
    taken: str
    facts: Facts
    by: str = ""
    """Which script gathered it: what another one told can't be compared."""

    def document(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **vars(self)}


def folder(where: Places, stack: str) -> Path:
    return where.root / "baseline" / stack


def read(where: Places, stack: str, host: str) -> Baseline | None:
    """The host's baseline; None where it was never hardened from here."""
    path = folder(where, stack) / f"{host}.json"
    try:
        kept = json.loads(path.read_text())
        if kept.pop("schema_version") != SCHEMA_VERSION:
            raise ValueError("it is of another version")
        return Baseline(**kept)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Problem(
            f"The baseline of {host} in {path} cannot be used: {error}. `seawall harden --host {host}` after removing "
            "the file takes a new one, of the host as it then is: look at it first."
        ) from None


def write(where: Places, stack: str, kept: Baseline) -> None:
    write_private(folder(where, stack) / f"{kept.host}.json", json.dumps(kept.document()).encode())


def forget(where: Places, stack: str, host: str) -> None:
    """The host is gone, or about to be."""
    for path in folder(where, stack).glob(f"{host}.*json"):
        path.unlink(missing_ok=True)


def seen_logs(where: Places, stack: str, host: str) -> dict[str, Any]:
    try:
        return json.loads((folder(where, stack) / f"{host}.logs.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}


def write_logs(where: Places, stack: str, host: str, logs: Mapping[str, Any]) -> None:
    write_private(folder(where, stack) / f"{host}.logs.json", json.dumps(logs).encode())


def reference(where: Places, stack: str) -> list[Finding] | None:
    """The findings the last `seawall up` ended with."""
    path = folder(where, stack) / "findings.jsonl"
    return findings.read(path) if path.exists() else None


def write_reference(where: Places, stack: str, found: Iterable[Finding]) -> None:
    findings.write(folder(where, stack) / "findings.jsonl", found)


def routes(session: Session, outputs: Mapping[str, Any], names: Iterable[str] = ()) -> dict[str, Route]:
    """The way to each droplet, or to those ``names``: as administrator, or as the account that can only gather, if
    ``SEAWALL_DRIFT_KEY`` names its private key's file (``SEAWALL_DRIFT_USER``: its name, ``seawall-drift``)."""
    there = hosts.hosts(outputs)
    wanted = [hosts.named(there, name) for name in names] or list(there.values())
    where = session.where
    reader = os.environ.get("SEAWALL_DRIFT_KEY")
    key = Path(reader) if reader else where.ssh_key if where.ssh_key.exists() else None
    return {
        host.name: Route(
            name=host.name,
            address=host.address,
            port=host.port,
            user=os.environ.get("SEAWALL_DRIFT_USER", READER) if reader else host.user,
            alias=host.alias,
            known_hosts=where.known_hosts,
            key=key,
        )
        for host in wanted
    }


def facts(ways: Mapping[str, Route]) -> dict[str, Facts | Unreachable]:
    """Every host asked at once: what it told, or why it could not."""

    def one(route: Route) -> Facts | Unreachable:
        try:
            return gather(route)
        except Unreachable as why:
            return why

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(ways, pool.map(one, ways.values()), strict=True))


def before(session: Session, names: Iterable[str] = ()) -> dict[str, Facts | Unreachable]:
    """Hosts that have a baseline, as they are before a hardening run."""
    ways = routes(session, _outputs(session), names)
    known = {}
    for name, way in ways.items():
        with suppress(Problem):  # ``renew`` says so
            if _own(read(session.where, session.stack.name, name), way):
                known[name] = way
    return facts(known)


def renew(session: Session, names: Iterable[str], earlier: Mapping[str, Facts | Unreachable]) -> list[str]:
    """Take the baselines after a hardening run; says which hosts could not be asked.

    What differed from the old baseline before the run and was not touched by it still differs: hardening does not
    quietly accept what it does not manage. To accept it, remove the baseline and harden.
    """
    from seawall.drift.hosts import SECTIONS, renewed

    ways, unheard = routes(session, _outputs(session), names), []
    for name, told in facts(ways).items():
        if isinstance(told, Unreachable):
            unheard.append(str(told))
            continue
        if missing := [section for section in SECTIONS if not isinstance(told.get(section), dict)]:
            unheard.append(f"{name} could not tell its {', '.join(missing)}.")
            continue
        try:
            old, was = read(session.where, session.stack.name, name), earlier.get(name)
        except Problem as problem:
            unheard.append(str(problem))
            continue
        kept = (
            renewed(old.facts, was, told)
            if old and isinstance(was, dict) and SECTIONS.keys() <= old.facts.keys() and _own(old, ways[name])
            else {
                section: held for section, held in told.items() if section not in ("logs", "changed", "who")
            }
        )
        write(
            session.where,
            session.stack.name,
            Baseline(
                name, ways[name].alias, datetime.now(UTC).isoformat(timespec="seconds"), kept, version()
            ),
        )
        if not _own(old, ways[name]):
            write_logs(session.where, session.stack.name, name, told["logs"])
    return unheard


def _own(kept: Baseline | None, way: Route) -> bool:
    return kept is not None and kept.droplet == way.alias and kept.by == version()


def _outputs(session: Session) -> dict[str, Any]:
    """The stack's outputs; Pulumi is asked once a command."""
    return json.loads(session.outputs.read_text()) if session.asked else session.standing()
