"""Controls under pytest: which hosts, how they are reached, and what becomes of each control on each of them.

By hand, after ``eval "$(seawall env)"``: ``pytest tests/controls``, ``pytest tests/controls --host app-1 -k sshd``.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from paramiko import SSHException

from seawall import findings
from seawall import inventory as inventories
from seawall.connection import Unreachable, connect, routes
from seawall.controls import Control, Deviation, begin, looks, not_applicable
from seawall.facts import Machine
from seawall.findings import Finding, Status, Subject
from seawall.places import CHECKOUT, places, write_private
from seawall.problem import Problem

MACHINES = pytest.StashKey[dict[str, Machine]]()
FINDINGS = pytest.StashKey[dict[tuple[str, str], Finding]]()
RUN = pytest.StashKey[findings.Run]()
WAIVERS = pytest.StashKey[list[findings.Waiver]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("seawall")
    group.addoption("--host", action="append", default=[], help="only this host (may be repeated)")
    group.addoption("--inventory", help="an Ansible inventory (default: what ansible.cfg names)")
    group.addoption("--hosts-file", type=Path, help="instead, what `ansible-inventory --list` printed")
    group.addoption(
        "--waivers", type=Path, help="accepted failures (default: waivers.yml, where there is one)"
    )
    group.addoption(
        "--findings", type=Path, help="where findings go (default: .seawall/findings/<run>.jsonl)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FINDINGS] = {}
    report = config.getoption("--findings")
    config.stash[RUN] = findings.Run.begin(report.stem if report else "")
    waivers = config.getoption("--waivers") or CHECKOUT / "waivers.yml"
    try:
        asked = config.getoption("--waivers") or waivers.exists()
        config.stash[WAIVERS] = findings.read_waivers(waivers) if asked else []
    except Problem as problem:
        raise pytest.UsageError(str(problem)) from None


# --- Hosts ----------------------------------------------------------------------------------------------


def inventory(config: pytest.Config) -> dict:
    """The inventory as Ansible lists it."""
    if path := config.getoption("--hosts-file"):
        return inventories.read(path.read_text() or "{}")
    source = config.getoption("--inventory")
    return inventories.listed(["-i", source] if source else [])


def machines(config: pytest.Config) -> dict[str, Machine]:
    """Every host asked for, all connecting at once. Made when the first control is collected, and only once."""
    if MACHINES in config.stash:
        return config.stash[MACHINES]
    listed = inventory(config)
    variables = listed.get("_meta", {}).get("hostvars", {})
    wanted = config.getoption("--host") or sorted(variables)
    strangers = sorted(set(wanted) - set(variables))
    if strangers or not variables:
        raise Problem(
            f"The inventory has no host {', '.join(strangers)}; it has {', '.join(sorted(variables)) or 'none'}."
            if variables
            else "The inventory lists no host, so nothing would be checked. Is the stack up? `seawall up` makes it."
        )
    every_route = routes(variables)
    backends = connect({name: every_route[name] for name in wanted}, ThreadPoolExecutor(32))
    found = {name: Machine(backends[name], variables[name], groups_of(name, listed)) for name in wanted}
    for machine in found.values():
        machine.others = found
    questions = asked_before(config)
    for name, machine in found.items():
        machine.begin(questions.get(name, {}))
    config.stash[MACHINES] = found
    return found


def everything(config: pytest.Config) -> bool:
    """Whether every control is run, none picked by ``-k`` or a path of its own."""
    return not config.option.keyword and all(Path(each).is_dir() for each in config.args)


def asked_before(config: pytest.Config) -> dict[str, dict[str, int]]:
    """What the last whole run asked each host. Only when to ask hangs on it: a control asks what it wants to know."""
    try:
        return json.loads(places().questions.read_bytes()) if everything(config) else {}
    except (OSError, ValueError):
        return {}


def keep_questions(config: pytest.Config) -> None:
    asked = {name: machine.backend.questions for name, machine in config.stash[MACHINES].items()}
    write_private(places().questions, json.dumps(asked_before(config) | asked, indent=1).encode())


def groups_of(name: str, listed: dict) -> set[str]:
    """The groups a host is in, those of its groups' parents included, and ``senders``: whoever is no collector."""
    groups, grew = {"all"}, True
    while grew:
        more = {
            group
            for group, held in listed.items()
            if group != "_meta" and (name in held.get("hosts", []) or groups & set(held.get("children", [])))
        }
        grew = not more <= groups
        groups |= more
    return groups if "collectors" in groups else groups | {"senders"}


def pytest_sessionstart(session: pytest.Session) -> None:
    """Hosts are looked for before anything else: without any, pytest ends here, with one sentence."""
    try:
        machines(session.config)
    except Problem as problem:
        raise pytest.UsageError(str(problem)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a host, each control on every host in turn: so that what one is asked, all are asked meanwhile."""
    if "host" in metafunc.fixturenames:
        metafunc.parametrize("host", list(machines(metafunc.config)), indirect=True, scope="function")


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Machine:
    """The host a control looks at."""
    return machines(request.config)[request.param]


def pytest_unconfigure(config: pytest.Config) -> None:
    for machine in config.stash.get(MACHINES, {}).values():
        machine.backend.close()


# --- Findings -------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _applies(request: pytest.FixtureRequest) -> None:
    """End a control at once where it says nothing about this kind of host."""
    begin()
    subject = _subject(request.node)
    if subject:
        declared, machine = subject
        if declared.on not in machine.groups:
            not_applicable(f"{machine.name} is not one of the {declared.on}")


def _subject(item: pytest.Item) -> tuple[Control, Machine] | None:
    """The control and the host of a test; None for a test that is no control."""
    declared = getattr(getattr(item, "function", None), "control", None)
    name = getattr(item, "callspec", None) and item.callspec.params.get("host")  # type: ignore[attr-defined]
    return (declared, item.config.stash[MACHINES][name]) if declared and name else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Turn the outcome into a finding. A parametrised control has several and is as good as its worst."""
    report = yield
    subject = _subject(item)
    if subject is None or not (call.when == "call" or call.excinfo):
        return report
    declared, machine = subject
    known = item.config.stash[FINDINGS]
    finding = findings.waive(
        _finding(declared, machine, item.config.stash[RUN], call.excinfo), item.config.stash[WAIVERS]
    )
    if finding.status is Status.WAIVED:
        report.outcome, report.wasxfail = "skipped", finding.reason
    elif finding.status in (Status.FAIL, Status.UNKNOWN):
        report.longrepr = (
            f"{declared.id} on {machine.name} ({declared.severity}): {declared.title}\n"
            + (f"  expected  {finding.expected}\n  seen      {finding.seen}\n" if finding.expected else "")
            + (f"  {finding.reason}" if finding.reason else "")
        )
    key = (declared.id, machine.name)
    known[key] = findings.merged(known[key], finding) if key in known else finding
    return report


def _finding(
    declared: Control, machine: Machine, run: findings.Run, raised: pytest.ExceptionInfo | None
) -> Finding:
    expected = "; ".join(dict.fromkeys(look.expected for look in looks()))
    seen = "; ".join(dict.fromkeys(look.seen for look in looks()))
    status, reason = Status.PASS, ""
    error = raised.value if raised else None
    match error:
        case None:
            pass
        case pytest.skip.Exception():
            status, reason = Status.NOT_APPLICABLE, str(error)
        case Unreachable() | TimeoutError() | SSHException():
            status, reason = Status.UNKNOWN, str(error)
        case Deviation():
            status, expected, seen = Status.FAIL, error.expected, error.seen
        case AssertionError():
            status, expected, seen = Status.FAIL, declared.title, str(error).split("\n")[0]
        case _:
            status, reason = Status.ERROR, f"the control itself broke: {type(error).__name__}: {error}"
    return Finding(
        control=declared.id,
        title=declared.title,
        subject=Subject(kind="droplet", name=machine.name, urn=machine.vars.get("seawall_urn")),
        status=status,
        severity=declared.severity,
        expected=expected,
        seen=seen,
        reason=reason,
        requirements=declared.requirements,
        at=datetime.now(UTC),
        run=run.id,
        by=run.by,
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    found = session.config.stash[FINDINGS]
    if found:
        if everything(session.config):
            keep_questions(session.config)
        run = session.config.stash[RUN]
        path = session.config.getoption("--findings") or places().findings / f"{run.id}.jsonl"
        findings.write(path, findings.ordered(found.values()))
