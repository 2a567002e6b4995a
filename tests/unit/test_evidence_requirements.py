"""What a requirement's row says, case by case, and the documents made of all rows."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from datetime import UTC, date, datetime
from html.parser import HTMLParser

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from seawall.archive import Verdict
from seawall.evidence import catalogue, scan
from seawall.evidence.attestations import Attestations, ImportedReport, Statement
from seawall.evidence.catalogue import Standing
from seawall.evidence.hosts import HostFacts, Package, User
from seawall.evidence.lists import LISTS, logs
from seawall.evidence.parts import lists, oscal, report, requirements, software
from seawall.evidence.profile import Channel, Profile
from tests.unit.evidence_support import context, finding

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = AT.date()


def statement(number: str, made: date = date(2026, 6, 1), expires: date = date(2027, 6, 1)) -> Statement:
    return Statement(
        id="one",
        requirements=(f"pci-{number}",),
        role="head of security",
        statement="It holds, and was looked at in a meeting.",
        made=made,
        expires=expires,
    )


def scanned(passed: bool) -> ImportedReport:
    return ImportedReport.model_validate(
        {
            "id": "scan",
            "kind": "external-scan",
            "by": "A scanning vendor",
            "made": "2026-10-01",
            "expires": "2026-12-31",
            "passed": passed,
            "path": "scan.pdf",
            "sha256": "0" * 64,
        }
    )


def served(number: str, *statuses: str) -> list:
    return [
        finding(f"app-{n}", status, requirements=(f"pci-{number}",)) for n, status in enumerate(statuses, 1)
    ]


def standing(number: str, findings=(), statements=(), reports=(), profile=None) -> Standing:
    said = Attestations(statements=tuple(statements), reports=tuple(reports))
    made = catalogue.rows(findings, said, profile, TODAY)
    return next(each.standing for each in made if each.requirement.number == number)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["pass", "pass"], Standing.PASS),
        (["pass", "fail"], Standing.FAIL),
        (["pass", "waived"], Standing.WAIVED),
        (["fail", "waived"], Standing.FAIL),
        (["pass", "error"], Standing.MISSING),
        (["pass", "unknown"], Standing.MISSING),
        (["not-applicable"], Standing.MISSING),
        (["pass", "not-applicable"], Standing.PASS),
        ([], Standing.MISSING),
    ],
)
def test_what_controls_decide_by_themselves(statuses, expected):
    assert standing("2.2.2", served("2.2.2", *statuses)) is expected


def test_controls_alone_never_pass_what_a_person_must_attest():
    passed = served("1.2.5", "pass", "pass")
    assert standing("1.2.5", passed) is Standing.MISSING
    assert standing("1.2.5", passed, [statement("1.2.5")]) is Standing.ATTESTED
    assert standing("1.2.5", served("1.2.5", "fail"), [statement("1.2.5")]) is Standing.FAIL


def test_an_expired_statement_counts_as_missing():
    old = statement("12.6.1", date(2025, 1, 1), date(2026, 11, 23))
    assert standing("12.6.1", (), [old]) is Standing.MISSING
    assert (
        standing("12.6.1", (), [statement("12.6.1", date(2026, 11, 24), date(2026, 11, 24))])
        is Standing.ATTESTED
    )


def test_a_report_that_did_not_pass_is_a_failure():
    assert standing("11.3.2", reports=[scanned(True)]) is Standing.ATTESTED
    assert standing("11.3.2", reports=[scanned(False)]) is Standing.FAIL
    assert standing("11.3.2") is Standing.MISSING


def test_what_the_questionnaire_leaves_out_is_not_owed_and_never_a_pass():
    small = Profile(Channel.REDIRECT, 1000, False)
    assert standing("1.2.1", served("1.2.1", "pass"), profile=small) is Standing.NOT_OWED
    assert standing("8.3.1", served("8.3.1", "pass"), profile=small) is Standing.PASS


def test_the_data_centre_is_inherited():
    assert standing("9.2.1") is Standing.INHERITED


def test_every_control_serves_requirements_that_the_catalogue_knows():
    from seawall.evidence.gather import declared

    known = {each.id for each in catalogue.catalogue().requirements}
    named = {id for control in declared() for id in control.requirements if id.startswith("pci-")}
    assert not named - known


def test_requirements_are_in_the_standards_order_and_once_each():
    numbers = [tuple(map(int, each.number.split("."))) for each in catalogue.catalogue().requirements]
    assert numbers == sorted(set(numbers))
    assert {str(number[0]) for number in numbers} == set(catalogue.catalogue().families)


# --- Documents ------------------------------------------------------------------------------------------

OUTPUTS = {
    "droplets": {
        "app-1": {"tier": "app", "public_ip": "203.0.113.1", "private_ip": "10.0.0.1", "serves": ["web"]},
        "logs-1": {"tier": "logs", "public_ip": "203.0.113.2", "private_ip": "10.0.0.2", "serves": ["logs"]},
        "spare-1": {"tier": "spare", "public_ip": "203.0.113.3", "private_ip": "10.0.0.3", "serves": []},
    },
    "tiers": {"app": {}, "logs": {}, "spare": {}},
    "vpc_range": "10.0.0.0/20",
    "flows": [
        {
            "from": "internet",
            "to": "loadbalancer",
            "ports": ["443/tcp"],
            "reason": "<b>site</b>",
            "owner": "ops",
        },
        {
            "from": "loadbalancer",
            "to": "app",
            "ports": ["443/tcp"],
            "reason": "TLS",
            "reviewBy": "2026-01-01",
        },
        {"from": "app", "to": "logs", "ports": ["6514/tcp"], "reason": "logs", "reviewBy": "2027-01-01"},
    ],
}


def whole(**held):
    hosts = {
        "app-1": HostFacts(
            "app-1",
            os_id="debian-12",
            users=(User("=cmd", 1000, "/bin/sh", True, "locked", (), True, ("ED25519 SHA256:x",)),),
            packages=(Package("libc6", "2.36-9+deb12u10", "amd64", "glibc"),),
        )
    }
    findings = (finding("app-1", "fail", seen="<script>alert(1)</script>"), finding("logs-1"))
    return context(AT, outputs=OUTPUTS, hosts=hosts, findings=findings, **held)


class Page(HTMLParser):
    """What a browser would fetch or run, and the words a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.fetched += [
            f"{tag} {value}"
            for name, value in attrs
            if tag in ("script", "link", "img", "iframe", "object")
            or (name in ("src", "href", "xlink:href", "data") and value and not value.startswith("#"))
        ]

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(report.render(report.material(whole()), printed=False))


def test_the_report_fetches_nothing_and_runs_nothing(page):
    assert page.fetched == []
    assert "<script>alert(1)</script>" in page.words


def test_the_report_begins_with_what_is_lacking_and_the_verdict(page):
    words = " ".join(page.words.partition("Contents")[0].split())
    assert words.index("Incomplete") < words.index("Not met") < words.index("The twelve requirements")
    assert "1 of 1 controls did not run on spare-1" in words


def test_every_requirement_has_its_row(page):
    for each in catalogue.catalogue().requirements:
        assert each.says in page.words


def test_the_pdf_is_one_and_holds_no_details(tmp_path):
    report.pdf(report.render(report.material(whole()), printed=True), tmp_path / "report.pdf", whole())
    held = (tmp_path / "report.pdf").read_bytes()
    assert held.startswith(b"%PDF-")
    found = [
        hit.place for hit in scan.search("report.pdf", held, {"a word": "What may talk to what is defined"})
    ]
    assert len(found) == 1  # its words are searched, and its glyphs' numbers are no card numbers
    assert found[0].startswith("report.pdf!page ")


def test_lists_are_files_that_no_spreadsheet_runs(tmp_path):
    lists.write(whole(), tmp_path)
    held = {path.stem: list(csv.reader(path.open(newline=""))) for path in (tmp_path / "lists").iterdir()}
    assert len(held) == len(LISTS)
    assert [row[3] for row in held["inventory"][1:]] == ["in", "connected", "out"]
    assert [row[-1] for row in held["flows"][1:]] == ["never set", "overdue", "in time"]
    assert held["users"][1][1] == "'=cmd"
    requirements.write(whole(), tmp_path)
    assert len(list(csv.reader((tmp_path / "requirements.csv").open(newline="")))) == 1 + len(
        catalogue.catalogue().requirements
    )


def test_software_is_valid_cyclonedx(tmp_path):
    software.write(whole(), tmp_path)
    text = (tmp_path / "software" / "app-1.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert json.loads(text)["components"][0]["purl"].startswith("pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?")


def test_oscal_names_each_requirement_that_is_owed_and_is_the_same_each_time():
    made = oscal.results(whole())
    assert made == oscal.results(whole())
    result = made["assessment-results"]["results"][0]
    states = {each["target"]["target-id"]: each["target"]["status"]["state"] for each in result["findings"]}
    assert states["pci-2.2.2"] == "not-satisfied"
    assert states["pci-9.2.1"] == "satisfied"
    catalogued = {
        control["id"]
        for group in oscal.catalog(whole())["catalog"]["groups"]
        for control in group["controls"]
    }
    assert set(states) <= catalogued
    assert all(re.fullmatch(r"pci-[\d.]+", each) for each in catalogued)


def test_the_list_of_logs_says_what_became_of_the_chain_and_how_long_logs_are_kept():
    assert "No archive's chain of hashes was verified." in logs.table(whole()).note
    kept = HostFacts("logs-1", log_days=(400, 90))
    good = Verdict("logs-1", 12, "ab" * 32, 3, ())
    said = logs.table(dataclasses.replace(whole(archives=(good,)), hosts={"logs-1": kept})).note
    assert "logs-1 keeps a log 400 days, 90 of them uncompressed." in said
    assert f"(12 entries, head {'ab' * 32}, 3 anchors signed before) was verified" in said
    bad = Verdict("logs-1", 12, "ab" * 32, 3, ("app-1/sshd.log-20261124 is missing",))
    assert "is broken: app-1/sshd.log-20261124 is missing." in logs.table(whole(archives=(bad,))).note


def test_the_list_of_logs_says_which_were_altered_and_when_nobody_looked():
    assert "Nobody compared the logs" in logs.table(whole()).note
    looked = {
        "differences": [{"layer": "hosts", "subject": {"name": "logs-1"}, "what": "log /var/log/remote/a"}]
    }
    assert "logs-1 /var/log/remote/a was altered." in logs.table(whole(drift=looked)).note
    assert "before: none was altered." in logs.table(whole(drift={"differences": []})).note
