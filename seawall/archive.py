"""The collector's archive judged from here: its chain of hashes, and anchors of it that the collector cannot write.

The collector closes its files at midnight and chains their hashes (roles/rsyslog_collector/files/archive). An anchor is
the chain's last hash, signed here with a key of its own (`ssh-keygen -Y`, readable with stock OpenSSH) and kept here.
Whoever rewrites the archive afterwards, with whatever rights there, does not arrive at a hash that was signed.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seawall.hosts import Host, ssh_command
from seawall.places import CHECKOUT, Places, write_private
from seawall.problem import Problem

PROGRAM = CHECKOUT / "roles" / "rsyslog_collector" / "files" / "archive"
NAMESPACE, IDENTITY = "seawall-archive", "seawall"
VERIFIED, BROKEN = 0, 2


@dataclass(frozen=True)
class Verdict:
    """What became of one collector's archive. ``signed`` where an anchor was added."""

    collector: str
    entries: int
    head: str
    """Hash of the last entry."""
    anchors: int
    wrong: tuple[str, ...]
    signed: bool = False

    @property
    def code(self) -> int:
        return BROKEN if self.wrong else VERIFIED

    def text(self) -> str:
        if self.wrong:
            lines = [
                f"{self.collector}: the archive is not what it was. Keep what you find, and ask why.",
                *self.wrong,
            ]
            return "\n  ".join(lines)
        signed = "; its head is signed" if self.signed else ""
        return f"{self.collector}: {self.entries} entries, {self.anchors} anchors, all as they were{signed}"


class Anchors:
    """Signed heads of one collector's chain: a JSON line each, under `.seawall/archive/`."""

    def __init__(self, folder: Path, collector: str) -> None:
        self.path, self.key = folder / f"{collector}.jsonl", folder / "key"

    def read(self) -> tuple[dict[int, str], list[str]]:
        """Hashes by number of entries, and which lines are not signed with the key."""
        good, wrong = {}, []
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                held = json.loads(line)
                signature = base64.b64decode(held.pop("signature"))
                genuine = self._verified(_canonical(held), signature)
                n, sha = int(held["n"]), str(held["hash"])
            except (ValueError, KeyError, TypeError, AttributeError):
                genuine = False
            if genuine:
                good[n] = sha
            else:
                wrong.append(f"anchor {number} in {self.path} is not signed with {self.key}.pub")
        return good, wrong

    def add(self, head: Mapping[str, Any]) -> None:
        """Sign a head and keep it."""
        anchor = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "n": head["n"], "hash": head["hash"]}
        signature = base64.b64encode(self._signature(_canonical(anchor))).decode()
        before = self.path.read_bytes() if self.path.exists() else b""
        write_private(self.path, before + json.dumps({**anchor, "signature": signature}).encode() + b"\n")

    def _signature(self, data: bytes) -> bytes:
        if not self.key.exists():
            self.key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", IDENTITY, "-f", str(self.key)]
            subprocess.run(make, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(self.key)]
        done = subprocess.run(sign, input=data, capture_output=True, check=False)
        if done.returncode:
            raise Problem(f"The archive's head could not be signed: {done.stderr.decode().strip()}")
        return done.stdout

    def _verified(self, data: bytes, signature: bytes) -> bool:
        public = self.key.with_name("key.pub")
        if not public.exists():
            return False
        allowed = self.key.with_name("allowed_signers")
        write_private(allowed, f"{IDENTITY} {public.read_text()}".encode())
        given = self.key.with_name("signature")
        write_private(given, signature)
        check = ["ssh-keygen", "-q", "-Y", "verify", "-f", str(allowed), "-I", IDENTITY, "-n", NAMESPACE]
        done = subprocess.run([*check, "-s", str(given)], input=data, capture_output=True, check=False)
        given.unlink()
        return done.returncode == 0


def _canonical(anchor: Mapping[str, Any]) -> bytes:
    return json.dumps(anchor, sort_keys=True, separators=(",", ":")).encode()


def judge(
    collector: str, anchors: Anchors, ask: Callable[[list[str]], dict[str, Any]], *, sign: bool = False
) -> Verdict:
    """Verify an archive against its anchors, and where it is whole (and ``sign``) sign its head.

    ``ask`` runs the archive program at the collector with these words and gives what it printed.
    """
    known, wrong = anchors.read()
    said = ask(["verify", *(f"{n}:{sha}" for n, sha in sorted(known.items()))])
    wrong += said["wrong"]
    new = bool(sign and not wrong and said["n"] and said["n"] not in known)
    if new:
        anchors.add(said)
    return Verdict(collector, said["n"], said["hash"], len(known) + new, tuple(wrong), new)


def over_ssh(host: Host, where: Places) -> Callable[[list[str]], dict[str, Any]]:
    """Run the program's text of this checkout there: what the collector has under that name may be anybody's."""

    def ask(words: list[str]) -> dict[str, Any]:
        command = ssh_command(host, where, ["sudo", "-n", "python3", "-", *words])
        done = subprocess.run(command, input=PROGRAM.read_text(), text=True, capture_output=True, check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise Problem(
                f"The archive of {host.name} could not be looked at: "
                f"{done.stderr.strip()[-500:] or 'it said nothing'}. Is the host hardened and reachable?"
            ) from None

    return ask


def collectors(outputs: Mapping[str, Any]) -> list[str]:
    """The droplets of a stack that have an archive."""
    return sorted(name for name, droplet in outputs["droplets"].items() if "logs" in droplet["serves"])


def judge_host(host: Host, where: Places, *, sign: bool = False) -> Verdict:
    """One collector's archive."""
    return judge(host.name, Anchors(where.root / "archive", host.alias), over_ssh(host, where), sign=sign)


def judge_all(
    outputs: Mapping[str, Any], found: Mapping[str, Host], where: Places, *, sign: bool
) -> list[Verdict]:
    """Every collector of a stack."""
    if not (names := collectors(outputs)):
        raise Problem("No droplet of this stack serves logs, so there is no archive.")
    return [judge_host(found[name], where, sign=sign) for name in names]
