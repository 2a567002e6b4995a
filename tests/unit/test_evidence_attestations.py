"""What people attest counts while it is in force and about the very file it was made about; the rest is missing."""

from __future__ import annotations

import hashlib
import json
from datetime import date

import pytest

from seawall.evidence import attestations
from seawall.places import CHECKOUT
from seawall.problem import Problem
from tests.unit import evidence_support as support

SAID = """
statements:
  - id: policies
    requirements: [pci-12.1.1, pci-12.1.2]
    role: head of security
    statement: The security policy is published and was reviewed this year.
    made: 2026-01-10
    expires: 2026-12-31
    artefact: policy.pdf
    sha256: {policy}
reports:
  - id: asv-q4
    kind: external-scan
    by: Example Scanning Ltd
    made: 2026-10-14
    expires: 2027-01-14
    passed: true
    path: papers/asv.PDF
    sha256: {asv}
"""


@pytest.fixture
def said(tmp_path):
    (tmp_path / "papers").mkdir()
    files = {"policy": tmp_path / "policy.pdf", "asv": tmp_path / "papers" / "asv.PDF"}
    for name, path in files.items():
        path.write_text(f"%PDF {name}")
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    path = tmp_path / "attestations.yml"
    path.write_text(SAID.format(**digests))
    return path


@pytest.mark.parametrize(
    ("day", "counts"),
    [("2026-01-09", False), ("2026-01-10", True), ("2026-12-31", True), ("2027-01-01", False)],
)
def test_a_statement_counts_from_its_first_day_to_its_last(said, day, counts):
    found = attestations.read(said)
    today = date.fromisoformat(day)
    assert sorted(found.in_force(today)) == (["pci-12.1.1", "pci-12.1.2"] if counts else [])
    assert [entry.id for entry in found.lapsed(today)] == (["policies"] if day == "2027-01-01" else [])


def test_a_report_serves_what_its_kind_does(said):
    report = attestations.read(said).reports[0]
    assert report.serves == ("pci-11.3.2",)
    assert report.in_force(date(2027, 1, 14))
    assert not report.in_force(date(2027, 1, 15))


def test_artefacts_travel_in_the_bundle_with_their_hashes(said, tmp_path):
    bundle = support.make(tmp_path, attestations=attestations.read(said))
    attached = {
        path.name: path.read_text() for path in (bundle / "attached").iterdir() if path.suffix == ".pdf"
    }
    assert attached == {"policies.pdf": "%PDF policy", "asv-q4.pdf": "%PDF asv"}
    index = json.loads((bundle / "attached" / "index.json").read_text())
    assert [(each["id"], each["file"], each["made"]) for each in index] == [
        ("policies", "policies.pdf", "2026-01-10"),
        ("asv-q4", "asv-q4.pdf", "2026-10-14"),
    ]
    listed = {held["path"] for held in json.loads((bundle / "MANIFEST.json").read_text())["files"]}
    assert {"attached/policies.pdf", "attached/asv-q4.pdf", "attached/index.json"} <= listed


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("expires: 2026-12-31", "expires: 2025-12-31", "expires on 2025-12-31, before it was made"),
        ("    expires: 2026-12-31\n", "", "statements.0.expires"),
        ("role: head of security", "role: jane.doe@example.com", "an office"),
        ("role: head of security", "role: ''", "statements.0.role"),
        ("[pci-12.1.1, pci-12.1.2]", "[12.1.1]", "statements.0.requirements.0"),
        ("[pci-12.1.1, pci-12.1.2]", "[]", "statements.0.requirements"),
        ("    artefact: policy.pdf\n", "", "artefact and sha256 go together"),
        ("artefact: policy.pdf", "artefact: other.pdf", "which is no file"),
        ("kind: external-scan", "kind: scan", "reports.0.kind"),
        ("id: asv-q4", "id: policies", "two entries have the id policies"),
        ("id: asv-q4", "id: ../../etc", "reports.0.id"),
        ("passed: true", "passed: true\n    by_whom: me", "reports.0.by_whom"),
        ("statements:", "statement:", "statement"),
        ("reports:", "reports: {", "attestations.yml"),
    ],
)
def test_what_is_wrong_is_refused_by_name(said, old, new, complaint):
    text = said.read_text()
    assert old in text
    said.write_text(text.replace(old, new))
    with pytest.raises(Problem) as problem:
        attestations.read(said)
    assert problem.value.code == 64
    assert complaint in str(problem.value)


def test_a_document_that_changed_after_the_statement_is_refused(said):
    (said.parent / "policy.pdf").write_text("%PDF another")
    with pytest.raises(Problem, match=r"policy\.pdf .* changed after the statement was made"):
        attestations.read(said)


def test_the_example_can_be_read():
    found = attestations.read(CHECKOUT / "attestations.example.yml")
    assert [statement.id for statement in found.statements] == ["risk-assessment-2026", "data-centre-access"]
