"""`explain`, `checklist` and the audit of a lone host: what they say, and what they refuse."""

from __future__ import annotations

from datetime import date

import pytest

from seawall.connection import routes
from seawall.evidence import catalogue, checklist, explain
from seawall.evidence.attestations import Attestations
from seawall.evidence.catalogue import Standing
from seawall.facts import declared
from seawall.lone import inventory
from seawall.problem import Problem
from tests.unit.evidence_support import CONTROL, finding


def rows(*findings):
    return catalogue.rows(findings, Attestations(), None, date(2026, 11, 24))


@pytest.mark.parametrize("id", ["pci-2.2.2", "2.2.2"])
def test_a_requirement_is_explained_with_its_controls_and_what_was_seen(id):
    found = [finding("app-1", "fail", seen="PermitRootLogin: yes")]
    told = explain.document(id, rows(*found), [CONTROL], found)
    assert told["standing"] == "fail"
    assert told["checked_by"] == [{"control": "sshd-root-login", "title": CONTROL.title}]
    text = explain.text(told)
    assert "seen      PermitRootLogin: yes" in text


def test_a_control_and_a_finding_are_explained_and_say_what_to_do():
    found = [finding("app-1", "fail"), finding("app-2")]
    told = explain.document("sshd-root-login", rows(*found), [CONTROL], found)
    assert "seawall harden --check --host app-1`" in told["remedy"]
    one = explain.document(str(found[1].id)[:8], rows(*found), [CONTROL], found)
    assert (one["what"], one["remedy"]) == ("finding", "Nothing to put right.")
    assert explain.text(one)


def test_a_requirement_that_is_met_has_nothing_to_do():
    assert explain.document("2.2.2", rows(finding()), [CONTROL], [])["remedy"] == "Nothing."


@pytest.mark.parametrize("id", ["sshd-rot-login", "pci-99.9", "", "0"])
def test_what_there_is_not_is_refused_with_what_comes_near(id):
    with pytest.raises(Problem) as refusal:
        explain.document(id, rows(), [CONTROL], [])
    assert "There is no requirement, control or finding" in str(refusal.value)
    if id == "sshd-rot-login":
        assert "sshd-root-login" in str(refusal.value)


def test_the_checklist_takes_the_worst_of_what_a_question_goes_by():
    items = {item["asks"]: item for item in checklist.document(rows(finding(status="fail")))}
    assert items["Nothing still has a vendor's password or account"]["standing"] == Standing.FAIL
    assert items["A security policy is written"]["standing"] == Standing.MISSING
    assert items["Buildings and media are guarded"]["standing"] == Standing.MISSING
    assert "✗ Default passwords left: fail" in checklist.text(items.values())
    passed = checklist.document(rows(finding()))
    assert "✓ Default passwords left: not found" in checklist.text(passed)


def test_a_lone_host_is_reached_by_its_own_name_and_port(tmp_path):
    listed = inventory("192.0.2.1", "ops", 2222, None, tmp_path / "known", ["web"])
    route = routes(listed["_meta"]["hostvars"])["192.0.2.1"]
    assert (route.alias, route.port, route.user, route.local) == ("[192.0.2.1]:2222", 2222, "ops", False)
    assert listed["web"]["hosts"] == ["192.0.2.1"]
    assert routes(inventory("local", "root", 22, None, tmp_path, [])["_meta"]["hostvars"])["local"].local


def test_what_nobody_declared_is_not_applicable_and_not_an_error():
    known = declared({"seawall_undeclared": True, "sshd_port": 22})
    assert known["sshd_port"] == 22
    with pytest.raises(pytest.skip.Exception, match="nobody declared ufw_rules for this host"):
        known["ufw_rules"]
    with pytest.raises(KeyError):
        declared({"sshd_port": 22})["ufw_rules"]
