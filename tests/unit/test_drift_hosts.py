"""What counts as drift of a host, decided on facts written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from seawall.connection import Route, Unreachable
from seawall.drift import baseline, check
from seawall.drift.baseline import Baseline
from seawall.drift.controls import turned
from seawall.drift.gather import understood
from seawall.drift.hosts import compare, judged, logs, renewed
from seawall.findings import By, Finding
from seawall.places import Places

WAY = Route("app-1", "203.0.113.1", 2222, "ops", "app-1.7", Path("known_hosts"))


def facts(**sections):
    names = (
        *("files", "programs", "privileges", "devices", "packages", "users", "groups", "units", "daemons"),
        *(
            "effective",
            "listening",
            "rules",
            "network",
            "strays",
            "sysctls",
            "mounts",
            "certificates",
            "sources",
            "upgrades",
            "changed",
        ),
    )
    empty: dict[str, dict] = {name: {} for name in names}
    return {"schema_version": 1, "who": [], **empty, **sections}


def said(was, now):
    return [(each.what, each.expected, each.seen) for each in compare("app-1", was, now)]


def test_nothing_differs_where_nothing_changed():
    one = facts(files={"/etc/x": "0644 0:0 " + "a" * 64}, users={"ops": "1000:1000"})
    assert said(one, json.loads(json.dumps(one))) == []


@pytest.mark.parametrize(
    ("section", "key", "old", "new", "what"),
    [
        ("files", "/etc/sudoers.d/x", None, "0440 0:0 " + "b" * 64, "file /etc/sudoers.d/x"),
        ("files", "/etc/ssh/sshd_config", "0644 0:0 " + "a" * 64, None, "file /etc/ssh/sshd_config"),
        ("privileges", "/usr/bin/x", None, "4755 0:0", "privileged file /usr/bin/x"),
        ("users", "eve", None, "0:0 password none at all", "user eve"),
        ("packages", "nmap", None, "7.93 ii", "package nmap"),
        ("packages", "openssh-server", "9.2 ii", "9.2 hi", "package openssh-server"),
        ("units", "rsyslog.service", "enabled, running", "masked, not running", "unit rsyslog.service"),
        ("listening", "tcp 0.0.0.0:4444", None, "nc", "listening tcp 0.0.0.0:4444"),
        ("sysctls", "net.ipv4.ip_forward", "0", "1", "sysctl net.ipv4.ip_forward"),
        ("daemons", "ssh.service: arguments", "sshd -D", "sshd -D -o X=y", "running ssh.service: arguments"),
        ("mounts", "/etc/ssh", None, "ext4 rw /x", "mount /etc/ssh"),
    ],
)
def test_each_kind_of_change_is_told_by_its_name(section, key, old, new, what):
    was = facts(**{section: {} if old is None else {key: old}})
    now = facts(**{section: {} if new is None else {key: new}})
    (found,) = compare("app-1", was, now)
    assert (found.what, found.subject.name, found.layer) == (what, "app-1", "hosts")
    assert found.requirements
    assert found.remedy
    assert bool(found.expected) == (old is not None)
    assert bool(found.seen) == (new is not None)


def test_a_daemon_older_than_its_configuration():
    was = facts(daemons={"ssh.service: configuration": "as on disk"})
    now = facts(daemons={"ssh.service: configuration": "older than /etc/ssh/sshd_config.d"})
    assert [what for what, _, _ in said(was, now)] == ["running ssh.service: configuration"]
    assert said(now, was) == []


def test_a_rule_of_the_filter_is_told_alone():
    was = facts(rules={"iptables filter rules of INPUT": "-j A\n-j B\n"})
    now = facts(rules={"iptables filter rules of INPUT": "-j A\n-p tcp --dport 4444 -j ACCEPT\n-j B\n"})
    assert said(was, now) == [
        ("firewall iptables filter rules of INPUT", "", "-p tcp --dport 4444 -j ACCEPT")
    ]
    turned_around = facts(rules={"iptables filter rules of INPUT": "-j B\n-j A\n"})
    assert said(was, turned_around) == [
        ("firewall iptables filter rules of INPUT", "-j A; -j B", "-j B; -j A")
    ]


UPGRADE = {
    "version": "9.3",
    "by": "unattended-upgrades",
    "at": "2026-11-24",
    "during": [1000.0, 1060.0],
    "files": ["/usr/sbin/sshd"],
}


def test_an_unattended_upgrade_is_no_drift_but_what_it_does_not_explain_is():
    was = facts(
        packages={"openssh-server": "9.2 ii"}, programs={"/usr/sbin/sshd": "0755 0:0 1 1 1", "/usr/bin/x": ""}
    )
    now = facts(
        packages={"openssh-server": "9.3 ii"},
        programs={"/usr/sbin/sshd": "0755 0:0 2 2 2", "/usr/bin/x": ""},
        upgrades={"openssh-server": UPGRADE},
    )
    assert said(was, now) == []
    now["upgrades"]["openssh-server"] = {**UPGRADE, "files": []}  # not what dpkg recorded
    assert [what for what, _, _ in said(was, now)] == ["program /usr/sbin/sshd"]


@pytest.mark.parametrize(("at", "drift"), [(999.9, True), (1000.0, False), (1060.0, False), (1060.1, True)])
def test_what_packages_generate_is_theirs_only_where_it_changed_during_the_upgrade(at, drift):
    was = facts(packages={"openssh-server": "9.2 ii"}, files={"/boot/grub/grub.cfg": "0600 0:0 " + "a" * 64})
    now = facts(
        packages={"openssh-server": "9.3 ii"},
        files={"/boot/grub/grub.cfg": "0600 0:0 " + "b" * 64},
        programs={"/usr/lib/modules/6.1/modules.dep": f"0644 0:0 1 5 {at * 1e6:.0f}"},
        upgrades={"openssh-server": UPGRADE},
        changed={"/boot/grub/grub.cfg": at},
    )
    told = ["file /boot/grub/grub.cfg", "program /usr/lib/modules/6.1/modules.dep"]
    assert [what for what, _, _ in said(was, now)] == (told if drift else [])
    now["changed"] = {}  # a time that is not known explains nothing
    assert "file /boot/grub/grub.cfg" in [what for what, _, _ in said(was, now)]


def test_scripts_of_an_upgraded_package_are_its_own_and_no_other():
    was = facts(packages={"openssh-server": "9.2 ii"})
    scripts = {
        f"/var/lib/dpkg/info/{name}": "0755 0:0 1 1 1" for name in ("openssh-server.postinst", "zz.postinst")
    }
    now = facts(packages={"openssh-server": "9.3 ii"}, programs=scripts, upgrades={"openssh-server": UPGRADE})
    assert [what for what, _, _ in said(was, now)] == ["program /var/lib/dpkg/info/zz.postinst"]


def test_a_folder_and_a_files_flags_are_told_in_words():
    was = facts(programs={"/usr/lib": "0755 0:0 directory"}, files={"/etc/x": "0644 0:0 " + "a" * 64})
    now = facts(
        programs={"/usr/lib": "0777 0:0 directory"}, files={"/etc/x": "0644 0:0 " + "a" * 64 + ", immutable"}
    )
    sha = "sha256 " + "a" * 16
    assert said(was, now) == [
        ("file /etc/x", f"mode 0644, owner 0:0, {sha}", f"mode 0644, owner 0:0, {sha}, immutable"),
        ("program /usr/lib", "mode 0755, owner 0:0, directory", "mode 0777, owner 0:0, directory"),
    ]


def test_an_upgrade_by_hand_says_who():
    was, now = facts(packages={"nginx": "1 ii"}), facts(packages={"nginx": "2 ii"})
    now["upgrades"]["nginx"] = {"version": "2", "by": "ops (1000)", "at": "2026-11-24  10:00:00", "files": []}
    (found,) = compare("app-1", was, now)
    assert found.who == "ops (1000) (apt, 2026-11-24 10:00:00)"


def test_sudo_says_who_only_where_it_names_the_thing():
    was = facts()
    now = facts(files={"/etc/cron.d/job": "0644 0:0 x", "/etc/cron.d/other": "0644 0:0 x"})
    now["who"] = [[1.0, "ops", "/usr/bin/tee /etc/cron.d/job"]]
    assert [each.who for each in compare("app-1", was, now)] == [
        "ops (sudo, 1970-01-01 00:00:01Z)",
        "unknown",
    ]


def test_secrets_are_masked():
    now = facts(daemons={"x.service: arguments": "x --token=0123456789abcdef0123"})
    (found,) = compare("app-1", facts(daemons={"x.service: arguments": "x"}), now)
    assert "0123456789abcdef" not in found.model_dump_json()


def test_hardening_accepts_what_it_changed_and_nothing_else():
    old = facts(files={"/etc/a": "0644 0:0 1", "/etc/b": "0644 0:0 1"})
    was = facts(files={"/etc/a": "0644 0:0 1", "/etc/b": "0644 0:0 1", "/etc/evil": "0644 0:0 e"})
    now = facts(files={"/etc/a": "0644 0:0 2", "/etc/b": "0644 0:0 1", "/etc/evil": "0644 0:0 e"})
    kept = renewed(old, was, now)
    assert kept["files"] == {"/etc/a": "0644 0:0 2", "/etc/b": "0644 0:0 1"}
    assert [what for what, _, _ in said(kept, now)] == ["file /etc/evil"]


def test_no_baseline_or_another_droplets_is_unknown_never_clean():
    for left in (None, Baseline("app-1", "app-1.6", "2026-11-24", facts())):
        (found,) = judged("app-1", left, WAY, facts())
        assert found.status == "unknown"


@pytest.mark.parametrize("answer", [b"", b"{}", b"hello", b"[]", b"\xff\x00"])
def test_an_answer_that_is_none_is_no_answer(answer):
    with pytest.raises(Unreachable):
        understood("app-1", answer)


def test_a_section_that_could_not_be_told_is_unknown():
    (found,) = compare("app-1", facts(), facts(units=None))
    assert (found.status, found.what) == ("unknown", "every unit")


def log(inode, size, **beginnings):
    return {"inode": inode, "size": size, "beginnings": {at[1:]: digest for at, digest in beginnings.items()}}


@pytest.mark.parametrize(
    ("now", "seen"),
    [
        ({"/var/log/a": log(1, 300, _256="aa", _300="bb")}, None),
        ({"/var/log/a": log(1, 600, _256="aa", _512="cc", _600="dd")}, None),
        ({"/var/log/a": log(1, 100, _100="zz")}, "100 bytes"),
        ({"/var/log/a": log(1, 600, _256="xx", _512="cc", _600="dd")}, "another beginning"),
        ({"/var/log/a": log(2, 0), "/var/log/a.1": log(1, 300, _256="aa", _300="bb")}, None),
        ({"/var/log/a": log(2, 50, _50="ee"), "/var/log/a.1.gz": log(3, 90, _90="ff")}, None),
        ({}, "gone"),
    ],
)
def test_a_log_grows_and_keeps_its_beginning(now, seen):
    found = logs("logs-1", {"/var/log/a": log(1, 300, _256="aa", _300="bb")}, now)
    assert [each.seen for each in found] == ([seen] if seen else [])


TODAY, CLOSED = "/var/log/remote/app-1/sshd.log", "/var/log/remote/app-1/sshd.log-20261124"


@pytest.mark.parametrize(
    ("was", "now", "seen"),
    [
        ({TODAY: log(1, 300, _256="aa", _300="bb")}, {CLOSED: log(1, 350, _350=f"{CLOSED} 7")}, None),
        (
            {TODAY: log(1, 300, _256="aa", _300="bb")},
            {CLOSED: log(1, 300, _300=f"{CLOSED} 7"), TODAY: log(2, 400, _256="cc", _400="dd")},
            None,
        ),
        ({CLOSED: log(1, 300, _300=f"{CLOSED} 7")}, {CLOSED: log(1, 300, _300=f"{CLOSED} 7")}, None),
        (
            {CLOSED: log(1, 300, _300=f"{CLOSED} 7")},
            {CLOSED: log(1, 300, _300=f"{CLOSED} 8")},
            "another beginning",
        ),
        (
            {CLOSED: log(1, 300, _300=f"{CLOSED} 7")},
            {f"{CLOSED}.gz": log(4, 90, _90=f"{CLOSED}.gz 9")},
            None,
        ),
    ],
    ids=["closed", "closed and begun again", "untouched", "touched", "compressed"],
)
def test_a_closed_file_of_the_archive_does_not_change(was, now, seen):
    """Of those the time of the last change is told in place of what they hold."""
    assert [each.seen for each in logs("logs-1", was, now)] == ([seen] if seen else [])


def test_a_log_that_others_may_write_to_now():
    was, now = (
        {"/var/log/a": {**log(1, 3), "mode": "mode 0640"}},
        {"/var/log/a": {**log(1, 9), "mode": "mode 0666"}},
    )
    assert [(each.expected, each.seen) for each in logs("logs-1", was, now)] == [("mode 0640", "mode 0666")]
    assert not logs("logs-1", {"/var/log/a": log(1, 3)}, now), "what was seen before modes were told"
    rotated = {
        "/var/log/a": {**log(2, 0), "mode": "mode 0600"},
        "/var/log/a.1": {**log(1, 3), "mode": "mode 0640"},
    }
    assert not logs("logs-1", was, rotated)


def test_changed_tasks_become_differences_once():
    line = {"host": "app-1", "task": "sshd : sshd as declared", "why": ["/etc/ssh/x is not as declared"]}
    (found,) = check.differences([line, line])
    assert found.what == "task sshd : sshd as declared"
    assert found.fix


def finding(status):
    return Finding(
        control="sshd-root-login",
        title="Root cannot log in",
        subject={"kind": "droplet", "name": "app-1"},
        status=status,
        severity="high",
        at="2026-11-24T00:00:00Z",
        run="r",
        by=By(version="0", commit="0"),
    )


@pytest.mark.parametrize(
    ("before", "now", "statuses"),
    [
        ("pass", "fail", ["differs"]),
        ("pass", "pass", []),
        ("fail", "fail", []),
        ("fail", "pass", []),
        (None, "fail", ["differs"]),
        ("waived", "fail", ["differs"]),
        ("pass", "error", ["unknown"]),
        ("pass", "unknown", ["unknown"]),
    ],
)
def test_controls_that_turned(before, now, statuses):
    found = turned([finding(before)] if before else [], [finding(now)])
    assert [each.status for each in found] == statuses


def test_a_watch_logs_in_with_its_own_account(tmp_path, monkeypatch):
    where = Places(tmp_path)
    where.ssh_key.parent.mkdir()
    where.ssh_key.touch()
    session = SimpleNamespace(where=where)
    outputs = {
        "ssh_port": 2222,
        "admin_user": "ops",
        "droplets": {"app-1": {"public_ip": "203.0.113.1", "id": 7, "tier": "app"}},
    }
    mine = baseline.routes(session, outputs)["app-1"]
    assert (mine.user, mine.key) == ("ops", where.ssh_key)
    monkeypatch.setenv("SEAWALL_DRIFT_KEY", "/run/credentials/key")
    bound = baseline.routes(session, outputs)["app-1"]
    assert (bound.user, bound.key, bound.alias) == ("seawall-drift", Path("/run/credentials/key"), mine.alias)
