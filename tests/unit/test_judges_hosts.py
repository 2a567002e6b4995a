"""What judges of hosts say is read as they mean it, and silence is no acquittal."""

from __future__ import annotations

import json

import pytest

from seawall.places import CHECKOUT
from tests.controls import catalogue
from tests.judges import hosts

REASONS = hosts.explained((CHECKOUT / "docs" / "judges.md").read_text())


def test_ssh_audit_is_read_to_its_notes():
    def offered(name: str, **notes: list[str]) -> list[dict]:
        return [{"algorithm": name, "notes": notes}]

    report = {
        "kex": offered("a", warn=["old"], info=["since 6.5"]),
        "key": offered("b", fail=["broken"]),
        "enc": offered("c"),
        "mac": [{"algorithm": "d"}],
        "cves": [{"name": "CVE-1"}],
    }
    assert hosts.ssh_complaints(json.dumps(report)) == {
        ("warn", "a", "old"),
        ("fail", "b", "broken"),
        ("fail", "CVE-1", "known vulnerability"),
    }


@pytest.mark.parametrize(
    "said", ["", "[exception] cannot connect", "null", '{"kex": [], "key": [], "enc": [], "mac": []}']
)
def test_an_ssh_audit_that_saw_nothing_is_no_verdict(said):
    with pytest.raises(hosts.NoVerdict):
        hosts.ssh_complaints(said)


HEAD = "SCANS\n COMPLIANCE AGAINST TLS CONFIGURATION\n ---\n Checking …\n\n    192.0.2.1:443: "


def test_sslyze_is_read_to_its_verdict():
    assert hosts.tls_complaints(HEAD + "OK - Compliant.\n") == ""
    assert "tls_curves" in hosts.tls_complaints(HEAD + "FAILED - Not compliant.\n   * tls_curves: X448\n")


@pytest.mark.parametrize(
    "said", ["", "ERROR - Could not connect", HEAD + "ERROR - Scan did not run successfully"]
)
def test_an_sslyze_that_came_to_no_verdict_is_none(said):
    with pytest.raises(hosts.NoVerdict):
        hosts.tls_complaints(said)


NMAP = """<nmaprun><host><address addr="192.0.2.1" addrtype="ipv4"/><address addr="02:00" addrtype="mac"/><ports>
<extraports state="filtered" count="65534"/>
<port protocol="tcp" portid="443"><state state="open"/></port></ports></host>
<runstats><finished exit="success"/></runstats></nmaprun>"""


def test_nmap_is_read_with_how_much_it_looked_at():
    assert hosts.scans(NMAP) == {"192.0.2.1": hosts.Scan({"open": frozenset({"443/tcp"})}, 65535)}


@pytest.mark.parametrize(
    "said",
    [
        "",
        NMAP[:200],
        NMAP.replace("success", "error"),
        '<nmaprun><runstats><finished exit="success"/></runstats></nmaprun>',
    ],
)
def test_an_nmap_that_looked_at_nothing_is_no_verdict(said):
    with pytest.raises(hosts.NoVerdict):
        hosts.scans(said)


REPORT = """lynis_version=3.0.8
suggestion[]=SSH-7408|Consider hardening SSH configuration|MaxSessions (set 10 to 2)|-|
warning[]=PKGS-7392|Found one or more vulnerable packages.|-|-|
lynis_tests_done=260
hardening_index=86
"""
LOG = """2026-11-24 12:00:00 Skipped test AUTH-9204 (Check users with an UID of zero (0))
2026-11-24 12:00:00 Reason to skip: Skipped by profile setting (skip-test)
2026-11-24 12:00:00 Skipped test AUTH-9212 (Test group file)
2026-11-24 12:00:00 Reason to skip: Incorrect guest OS (FreeBSD only)
"""


def test_lynis_is_read_with_what_was_switched_off():
    assert hosts.lynis_report(REPORT, LOG) == hosts.Lynis(
        "3.0.8",
        86,
        frozenset({"PKGS-7392: Found one or more vulnerable packages."}),
        frozenset({"SSH-7408: Consider hardening SSH configuration | MaxSessions (set 10 to 2)"}),
        260,
        frozenset({"AUTH-9204"}),
    )


def test_a_lynis_without_an_index_is_no_verdict():
    with pytest.raises(hosts.NoVerdict):
        hosts.lynis_report(REPORT.replace("hardening_index", "x"), LOG)


def test_at_most_five_findings_are_explained_away_and_controls_show_how():
    away = {known.partition(":")[0]: why for known, why in REASONS.items() if why.kind == "explained"}
    controls = {control.id for control in catalogue.every()}
    assert 1 <= len(away) <= 5
    assert {known: why.shown_by for known, why in away.items() if not why.shown_by} == {}
    assert {each for why in away.values() for each in why.shown_by} - controls == set()
    assert {why.kind for why in REASONS.values()} <= {"explained", "judge", "machine", "advice"}
