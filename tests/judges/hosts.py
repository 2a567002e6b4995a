"""Judges of hosts that did not grow up with the code: ssh-audit, sslyze, nmap, Lynis. What each says, as data.

Nothing here knows what ought to be. A judge that could not look, or looked at nothing, raises ``NoVerdict``: silence is
no acquittal.
"""

from __future__ import annotations

import json
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
BIN = CHECKOUT / ".venv-hosts/bin"


class NoVerdict(Exception):
    """A judge has not looked; the message holds what it said instead."""


def ask(*argv: str | Path, inside: Sequence[str] = (), timeout: float = 300) -> subprocess.CompletedProcess:
    """Run a judge; ``inside`` is a command that takes it to where it looks from."""
    return subprocess.run([*inside, *argv], capture_output=True, text=True, timeout=timeout, check=False)


# --- ssh-audit ----------------------------------------------------------------------------------------------------


def ssh_audit(address: str, port: int) -> set[tuple[str, str, str]]:
    """What ssh-audit fails or warns of at an sshd: (fail or warn, algorithm, why)."""
    said = ask(BIN / "ssh-audit", "--json", "--port", str(port), address)
    return ssh_complaints(said.stdout or said.stderr)


def ssh_complaints(text: str) -> set[tuple[str, str, str]]:
    """The same from its JSON. Pure."""
    try:
        report = json.loads(text)
        kinds = {kind: report[kind] for kind in ("kex", "key", "enc", "mac")}
    except (ValueError, KeyError, TypeError):
        raise NoVerdict(f"ssh-audit gave no report: {text[-500:]}") from None
    if not all(kinds.values()):
        raise NoVerdict(f"ssh-audit saw no algorithms of one kind: {text[:500]}")
    found = {
        (level, each["algorithm"], why)
        for offered in kinds.values()
        for each in offered
        for level in ("fail", "warn")
        for why in each.get("notes", {}).get(level, [])
    }
    return found | {("fail", cve["name"], "known vulnerability") for cve in report.get("cves", [])}


# --- sslyze -------------------------------------------------------------------------------------------------------


def sslyze(address: str, name: str, authority: Path, inside: Sequence[str] = ()) -> str:
    """What sslyze has against a server by Mozilla's intermediate profile; "" where it has nothing. Its certificate
    has to be signed by ``authority``."""
    options = ["--mozilla_config=intermediate", "--certinfo_ca_file", authority, "--sni", name]
    said = ask(BIN / "sslyze", *options, f"{address}:443", inside=inside)
    return tls_complaints(said.stdout or said.stderr)


def tls_complaints(text: str) -> str:
    """The same from what it printed. Pure."""
    verdict = text.partition("COMPLIANCE AGAINST TLS CONFIGURATION")[2]
    if re.search(r":443: OK - Compliant", verdict):
        return ""
    if "FAILED - Not compliant" in verdict:
        return verdict.partition("FAILED - Not compliant")[2].strip(" .\n")
    raise NoVerdict(f"sslyze came to no verdict: {text[-800:]}")


def gixy(dump: Path) -> set[str]:
    """Which of its checks nginx's whole configuration (`nginx -T`) fails, of medium severity or higher."""
    said = ask(BIN / "gixy", "-ll", "--format", "json", dump)
    try:
        # -ll keeps a check of mixed severities whole, its low ones too.
        return {each["plugin"] for each in json.loads(said.stdout) if each["severity"] != "LOW"}
    except (ValueError, KeyError, TypeError):
        raise NoVerdict(f"gixy gave no report: {said.stdout[-500:]}{said.stderr[-500:]}") from None


# --- nmap ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scan:
    """What nmap saw of one address: ports by state (``open``, ``closed``, ``open|filtered``), and how many in all."""

    states: dict[str, frozenset[str]]
    looked_at: int

    @property
    def open(self) -> frozenset[str]:
        return self.states.get("open", frozenset())


def nmap_arguments(addresses: Iterable[str], *options: str) -> list[str]:
    """nmap's command line: no name look-ups, no ping first (droplets answer none), the report on standard output."""
    return ["nmap", "-n", "-Pn", "-oX", "-", *options, *addresses]


def scans(text: str) -> dict[str, Scan]:
    """Address → what nmap saw, from its XML. Pure."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError:
        raise NoVerdict(f"nmap gave no report: {text[-500:]}") from None
    finished = root.find("runstats/finished")
    if finished is None or finished.get("exit") != "success":
        raise NoVerdict(f"nmap did not come to its end: {text[-500:]}")
    found = {}
    for host in root.iter("host"):
        address = next(each.get("addr", "") for each in host.iter("address") if each.get("addrtype") != "mac")
        states: dict[str, set[str]] = {}
        for port in host.iter("port"):
            state = port.find("state")
            assert state is not None
            name = f"{port.get('portid')}/{port.get('protocol')}"
            states.setdefault(state.get("state", ""), set()).add(name)
        rest = sum(int(each.get("count", 0)) for each in host.iter("extraports"))
        looked_at = rest + sum(map(len, states.values()))
        found[address] = Scan({state: frozenset(ports) for state, ports in states.items()}, looked_at)
    if not found or not all(scan.looked_at for scan in found.values()):
        raise NoVerdict(f"nmap looked at nothing: {text[-500:]}")
    return found


# --- Lynis --------------------------------------------------------------------------------------------------------


SWITCHED_OFF = (
    r"Skipped test (?=\S+ .*\n.*Reason to skip: (?:Skipped by|Test not in list|Test to system intensive))"
    r"(\S+)"
)


@dataclass(frozen=True)
class Lynis:
    """Its report: the hardening index, what it warns of and suggests (test id, and what about), and its tests."""

    version: str
    index: int
    warnings: frozenset[str]
    suggestions: frozenset[str]
    tests_done: int
    switched_off: frozenset[str]
    """Tests somebody's profile switched off; those that don't apply to a host are not among them."""


def lynis_report(report: str, log: str) -> Lynis:
    """From /var/log/lynis-report.dat and /var/log/lynis.log. Pure."""
    pairs = [line.partition("=")[::2] for line in report.splitlines() if "=" in line]
    values = dict(pairs)
    try:
        index, done = int(values["hardening_index"]), int(values["lynis_tests_done"])
        version = values["lynis_version"]
    except (KeyError, ValueError):
        raise NoVerdict(f"Lynis's report has no index: {report[-500:]}") from None
    return Lynis(
        version,
        index,
        frozenset(_finding(value) for name, value in pairs if name == "warning[]"),
        frozenset(_finding(value) for name, value in pairs if name == "suggestion[]"),
        done,
        frozenset(re.findall(SWITCHED_OFF, log)),
    )


def _finding(value: str) -> str:
    """``SSH-7408: Consider hardening SSH configuration (Details: sshd option Port …)``, in Lynis's own words."""
    words = [word for word in value.split("|") if word and word != "-"]
    return f"{words[0]}: {' | '.join(words[1:])}"


@dataclass(frozen=True)
class Reason:
    """A row of docs/judges.md: of which kind a suggestion is, and the controls that show what answers it."""

    kind: str
    shown_by: tuple[str, ...]


def explained(text: str) -> dict[str, Reason]:
    """How a suggestion begins → what docs/judges.md says of it under *What Lynis still suggests*. Pure."""
    table = text.partition("## What Lynis still suggests")[2].partition("\n## ")[0]
    rows = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in table.splitlines()
        if line.startswith("|")
    ]
    return {row[0].strip("`"): Reason(row[1], tuple(re.findall(r"`([^`]+)`", row[2]))) for row in rows[2:]}
