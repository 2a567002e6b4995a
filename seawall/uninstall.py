"""What the roles put on droplets: listed, and taken away again."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from seawall.hosts import Host, hosts, named, ssh_command
from seawall.places import CHECKOUT
from seawall.playbook import play
from seawall.problem import USAGE, Problem
from seawall.session import Session

BOOK = "/var/lib/seawall/installed.json"


def listing(session: Session, only: list[str]) -> dict[str, Any]:
    """Host → role → its files and units, as each host's own book says."""
    return {host.name: _book(session, host) for host in _chosen(session, only)}


def text(found: dict[str, Any]) -> str:
    """The listing for people: one line a file or unit."""
    lines = []
    for host, book in found.items():
        for role, held in sorted(book.items()):
            what = [*sorted(held["files"]), *(f"{unit} (unit)" for unit in sorted(held["units"]))]
            lines += [f"{host}  {role}  {one}" for one in what]
    return "\n".join(lines) or "The roles put nothing on these droplets."


def remove(session: Session, roles: list[str], only: list[str], *, check: bool) -> dict[str, Any]:
    """Take roles away; each host with what the play changed there."""
    known = {path.parent.parent.name for path in (CHECKOUT / "roles").glob("*/tasks/main.yml")}
    if strange := sorted(set(roles) - known):
        raise Problem(
            f"There is no role {', '.join(strange)}; there are {', '.join(sorted(known))}.", code=USAGE
        )
    chosen = [host.name for host in _chosen(session, only)]
    options = ["-e", json.dumps({"roles_removed": roles}), "--limit", ",".join(chosen)]
    options += ["--check", "--diff"] if check else []
    with session.progress.phase("uninstall") as phase:
        found = play(
            "remove",
            options + (["--check", "--diff"] if check else []),
            session.where,
            session.environment,
            phase,
        )
        verb = "would be" if check else "is"
        phase.done(
            ", ".join(
                f"{one.host}: {'something' if one.changed else 'nothing'} {verb} taken away" for one in found
            )
        )
    return {"roles": roles, "check": check, "hosts": [vars(recap) for recap in found]}


def _chosen(session: Session, only: list[str]) -> list[Host]:
    standing = hosts(session.standing())
    return [named(standing, name) for name in only] or list(standing.values())


def _book(session: Session, host: Host) -> dict[str, Any]:
    argv = ssh_command(host, session.where, [f"sudo cat {BOOK} 2>/dev/null || echo {{}}"])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise Problem(
            f"{host.name} could not be asked what is installed there: {said[-1] if said else 'no answer'}"
        )
    return json.loads(done.stdout)
