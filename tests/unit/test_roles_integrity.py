"""When the database of file digests is made anew, and when somebody has tampered with it."""

from __future__ import annotations

import pytest

from tests.unit.test_roles_modules import host, plugin

integrity = plugin("modules", "seawall_integrity")
CAUSES = {"/var/lib/seawall/changed": 100.0, "/var/lib/dpkg/status": 90.0}


def test_a_host_that_nothing_has_changed_keeps_its_database():
    assert integrity.reasons("aa", "", "aa", 101.0, CAUSES) == []


def test_hardening_and_package_work_make_it_anew():
    assert integrity.reasons("aa", "", "aa", 95.0, CAUSES) == [
        "/var/lib/seawall/changed is newer than the database"
    ]
    assert len(integrity.reasons("aa", "", "aa", 80.0, CAUSES)) == 2


def test_the_first_one():
    assert integrity.reasons("", "", "", 0, CAUSES) == ["there is no database yet"]


def test_a_controller_without_a_record_makes_one():
    assert integrity.reasons("aa", "", "", 101.0, CAUSES) == ["its digest is not recorded on this controller"]


def test_a_run_killed_between_recording_and_using_is_finished():
    assert integrity.reasons("aa", "bb", "bb", 101.0, CAUSES) == [
        "a run was interrupted before the new database came into use"
    ]


def test_a_database_nobody_recorded_is_never_replaced():
    with pytest.raises(host.HostError, match="is not the one that was recorded"):
        integrity.reasons("cc", "", "aa", 101.0, CAUSES)
    with pytest.raises(host.HostError, match="is not the one that was recorded"):
        integrity.reasons("cc", "dd", "aa", 80.0, CAUSES)
