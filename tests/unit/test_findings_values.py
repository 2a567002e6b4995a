"""Findings: their identity, their file, what they amount to, and waivers."""

import json
import stat
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall import findings
from seawall.findings import By, Finding, Run, Severity, Status, Subject, Waiver
from seawall.problem import Problem

AT = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)


def finding(control="sshd-root-login", name="app-1", status="fail", **fields):
    return Finding(
        **{
            "control": control,
            "title": "Root cannot log in over SSH",
            "subject": Subject(kind="droplet", name=name),
            "status": status,
            "severity": "high",
            "at": AT,
            "run": "20261124T233000Z-ab12",
            "by": By(version="0.1.0", commit="unknown"),
            **fields,
        }
    )


def waiver(**fields):
    return Waiver(
        **{
            "control": "sshd-root-login",
            "subjects": ("app-*",),
            "approver": "head of platform",
            "reason": "The vendor's installer needs it until March.",
            "start": "2026-11-01",
            "expiry": "2026-11-24",
            **fields,
        }
    )


# --- Identity -----------------------------------------------------------------------------------------------


def test_an_id_is_of_control_and_subject_and_nothing_else():
    assert finding().id == finding(status="pass", run="another", seen="yes").id
    # For ever: bundles and history refer to it.
    assert str(finding().id) == "949c09cf-9e78-50b6-8a7f-a1f6f9372fdf"
    assert finding().id.version == 5
    assert len({finding().id, finding(name="app-2").id, finding(control="sshd-motd").id}) == 3


def test_an_id_that_is_anothers_is_refused():
    with pytest.raises(ValueError, match="id is not that of"):
        finding(id=finding(name="app-2").id)


@pytest.mark.parametrize("id", ["sshd", "Sshd-root", "sshd_root", "1-root", "sshd-", "sshd--root", ""])
def test_a_control_id_is_lower_case_words(id):
    with pytest.raises(ValueError, match="pattern"):
        finding(control=id)


@pytest.mark.parametrize("id", ["pci-2.2.6", "cis-deb12-5.1.20"])
def test_requirement_ids(id):
    assert finding(requirements=[id]).requirements == (id,)


@pytest.mark.parametrize("id", ["2.2.6", "PCI-2.2.6", "pci-2", "cis-5.1.20", "pci-2.2.6 "])
def test_requirement_ids_refused(id):
    with pytest.raises(ValueError, match="pattern"):
        finding(requirements=[id])


def test_schema_1_has_exactly_these_fields():
    assert list(json.loads(finding().model_dump_json())) == [
        "schema_version", "id", "control", "title", "subject", "status", "severity",
        "expected", "seen", "reason", "requirements", "at", "run", "by",
    ]  # fmt: skip
    assert [status.value for status in Status] == [
        "fail",
        "error",
        "unknown",
        "waived",
        "pass",
        "not-applicable",
    ]


# --- The file -----------------------------------------------------------------------------------------------


@given(st.text(), st.sampled_from(list(Status)))
def test_a_line_read_is_the_finding_written(text, status):
    one = finding(seen=text, status=status)
    assert Finding.model_validate_json(one.model_dump_json()) == one


def test_the_file_is_private_and_whole(tmp_path):
    path = tmp_path / "findings" / "run.jsonl"
    findings.write(path, [finding(), finding(name="app-2")])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [held.subject.name for held in findings.read(path)] == ["app-1", "app-2"]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("damage", [lambda text: text[:-30], lambda text: text.replace("app-1", "app-9")])
def test_a_cut_or_altered_file_is_refused_by_line(tmp_path, damage):
    path = tmp_path / "run.jsonl"
    path.write_text(damage(finding().model_dump_json()))
    with pytest.raises(Problem, match="line 1"):
        findings.read(path)


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg",
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC",
        "dop_v1_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "Bearer abcdefghijklmnop",
        "password=hunter2hunter2",
    ],
)
def test_secrets_are_masked_wherever_they_were_seen(secret):
    held = finding(seen=f"before {secret} after", expected=secret, reason=secret)
    value = secret.split()[-1].split("=")[-1] if "BEGIN" not in secret else "b3BlbnNzaC1rZXk"
    assert value not in held.model_dump_json()
    assert "[masked]" in held.seen


def test_a_public_key_is_no_secret():
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ"
    assert finding(seen=key).seen == key


# --- What they amount to ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (["pass", "not-applicable", "waived"], 0),
        (["pass", "fail"], 2),
        (["fail", "unknown", "error"], 2),
        (["pass", "unknown"], 1),
        (["pass", "error"], 1),
        ([], 1),
    ],
)
def test_exit_codes(statuses, code):
    assert findings.exit_code([finding(status=status) for status in statuses]) == code


def test_the_summary_counts_controls_and_subjects():
    held = [finding(), finding(name="app-2", status="pass"), finding(control="sshd-motd", status="pass")]
    found = findings.summary(held)
    assert (found["controls"], found["subjects"], found["worst"]) == (2, 2, "fail")
    assert found["counts"] == {
        "fail": 1,
        "error": 0,
        "unknown": 0,
        "waived": 0,
        "pass": 2,
        "not-applicable": 0,
    }


def test_the_worst_comes_first():
    low = finding(control="sshd-motd", severity=Severity.LOW)
    assert findings.ordered([finding(status="pass"), low, finding()]) == [
        finding(),
        low,
        finding(status="pass"),
    ]


def test_a_parametrised_control_is_as_good_as_its_worst():
    assert findings.merged(finding(status="pass"), finding(seen="yes")).status == "fail"
    both = findings.merged(finding(seen="a", status="pass"), finding(seen="b", status="pass"))
    assert (both.status, both.seen) == ("pass", "a; b")


# --- Waivers ------------------------------------------------------------------------------------------------


def test_a_waiver_in_force_counts_on_its_last_day():
    held = findings.waive(finding(), [waiver()])
    assert held.status == "waived"
    assert "head of platform" in held.reason
    assert "2026-11-24" in held.reason


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"start": "2026-10-01", "expiry": "2026-11-23"}, "lapsed on 2026-11-23"),
        ({"start": "2026-11-25", "expiry": "2026-12-23"}, "counts only from 2026-11-25"),
    ],
)
def test_a_waiver_out_of_its_time_fails_and_says_so(fields, said):
    held = findings.waive(finding(), [waiver(**fields)])
    assert held.status == "fail"
    assert said in held.reason


def test_a_waiver_of_others_says_nothing():
    others = [waiver(subjects=("logs-*",)), waiver(control="sshd-motd")]
    assert findings.waive(finding(), others) == finding()


@pytest.mark.parametrize("status", ["pass", "error", "unknown", "not-applicable"])
def test_only_a_failure_can_be_waived(status):
    assert findings.waive(finding(status=status), [waiver()]).status == status


GOOD = """
waivers:
  - {control: sshd-motd, subjects: [app-1], approver: ops lead, reason: Printed by the vendor's login tool.,
     start: 2026-11-01, expiry: 2026-12-01}
"""


def test_waivers_are_read(tmp_path):
    path = tmp_path / "waivers.yml"
    path.write_text(GOOD)
    assert findings.read_waivers(path)[0].control == "sshd-motd"


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("approver: ops lead", "approver: ''", "approver"),
        ("reason: Printed by the vendor's login tool.", "reason: later", "reason"),
        ("expiry: 2026-12-01", "expiry: 2026-10-01", "before it starts"),
        (", expiry: 2026-12-01", "", "expiry"),
        ("subjects: [app-1]", "subjects: []", "subjects"),
        ("start: 2026-11-01", "start: 2026-11-01, until: 2027-01-01", "until"),
        ("waivers:", "exceptions:", "waivers"),
        ("waivers:", "waivers: [", "cannot be used"),
    ],
)
def test_a_waiver_that_leaves_something_out_is_refused(tmp_path, good, bad, said):
    path = tmp_path / "waivers.yml"
    assert good in GOOD
    path.write_text(GOOD.replace(good, bad))
    with pytest.raises(Problem, match=said) as refusal:
        findings.read_waivers(path)
    assert refusal.value.code == 64


def test_a_run_on_a_machine_without_git(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Run.begin().by.commit == "unknown"
