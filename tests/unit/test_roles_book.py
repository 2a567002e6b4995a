"""What Seawall puts on a host it can list and take away: the book, and what was there before."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from seawall import uninstall
from seawall.problem import USAGE, Problem
from tests.unit.test_roles_modules import accounts, plugin

host = accounts.host
removed = plugin("modules", "seawall_removed")


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a host's files; its book and originals beside it, no file of a package's, no systemd."""
    monkeypatch.setattr(host, "INSTALLED", str(tmp_path / "seawall/installed.json"))
    monkeypatch.setattr(host, "ORIGINALS", str(tmp_path / "seawall/originals"))
    monkeypatch.setattr(host, "run", lambda *_, **__: SimpleNamespace(returncode=1, stdout=""))
    monkeypatch.setattr(host, "show", lambda _: {"ActiveState": "inactive", "UnitFileState": "disabled"})
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


def file(path: Path, text: str | None) -> host.File:
    me = pwd.getpwuid(os.getuid()).pw_name
    return host.File(str(path), None if text is None else text.encode(), 0o644, me, me)


def restored(role: str) -> dict[str, bytes | None]:
    return {one.path: one.content for one in host.originals(host.book()[role]["files"])}


def test_what_was_there_comes_back_and_what_was_not_goes(etc: Path) -> None:
    (etc / "a").write_text("distribution's\n")
    host.remember("lamp", [file(etc / "a", "ours\n"), file(etc / "b", "ours\n")], ["lampd"])
    (etc / "a").write_text("ours\n")
    (etc / "b").write_text("ours\n")
    assert restored("lamp") == {str(etc / "a"): b"distribution's\n", str(etc / "b"): None}
    assert host.book()["lamp"]["units"] == {"lampd": ["inactive", "disabled"]}


def test_the_first_look_counts(etc: Path) -> None:
    (etc / "a").write_text("distribution's\n")
    host.remember("lamp", [file(etc / "a", "first\n")])
    (etc / "a").write_text("first\n")
    host.remember("lamp", [file(etc / "a", "second\n")])
    assert restored("lamp") == {str(etc / "a"): b"distribution's\n"}


def test_an_original_keeps_its_mode_and_is_roots_alone_to_find(etc: Path) -> None:
    (etc / "key").write_text("secret\n")
    (etc / "key").chmod(0o600)
    host.remember("lamp", [file(etc / "key", "ours\n")])
    assert host.originals([str(etc / "key")])[0].mode == 0o600
    assert os.stat(host.ORIGINALS).st_mode & 0o777 == 0o700
    assert os.stat(host.INSTALLED).st_mode & 0o777 == 0o600


def test_a_file_that_seawall_wrote_before_there_was_a_book_is_no_original(etc: Path) -> None:
    (etc / "a").write_text("# Written by Seawall.\nold\n")
    host.remember("lamp", [file(etc / "a", "# Written by Seawall.\nnew\n")])
    assert restored("lamp") == {str(etc / "a"): None}


def test_files_of_packages_never_go(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.remember("lamp", [file(etc / "a", "ours\n")])
    assert host.originals([str(etc / "a")], edited=True) == []
    monkeypatch.setattr(host, "run", lambda *_, **__: SimpleNamespace(returncode=0, stdout="pkg"))
    assert host.originals([str(etc / "a")]) == []


def test_the_book_knows_when_it_does_not_know(etc: Path) -> None:
    files = [file(etc / "a", "x"), file(etc / "b", None)]
    assert host.unrecorded("lamp", files)
    host.remember("lamp", files)
    assert not host.unrecorded("lamp", files)
    host.forget("lamp")
    assert host.book() == {}
    assert not host.unrecorded("", files)
    host.remember("", files)
    assert json.loads(Path(host.INSTALLED).read_text()) == {}


def test_only_what_did_not_run_before_is_stopped() -> None:
    units = {"nginx": ["inactive", "enabled"], "rsyslog": ["active", "enabled"], "new": ["", ""]}
    assert removed.units_to_stop(units) == ["nginx", "new"]


def test_the_listing_has_a_line_for_each_file_and_unit() -> None:
    book = {
        "sshd": {"files": ["/etc/ssh/b", "/etc/ssh/a"], "units": {}},
        "ntp": {"files": [], "units": {"ntpd": []}},
    }
    assert uninstall.text({"app-1": book, "app-2": {}}).splitlines() == [
        "app-1  ntp  ntpd (unit)",
        "app-1  sshd  /etc/ssh/a",
        "app-1  sshd  /etc/ssh/b",
    ]
    assert uninstall.text({"app-1": {}}) == "The roles put nothing on these droplets."


def test_a_role_there_is_not_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(Problem, match="no role sshh") as refused:
        uninstall.remove(None, ["sshd", "sshh"], [], check=False)  # type: ignore[arg-type]
    assert refused.value.code == USAGE
