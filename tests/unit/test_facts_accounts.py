"""What the facts make of a host's answers, without a host."""

from __future__ import annotations

from seawall.facts import accounts, apt


def test_unused_accounts_are_old_and_not_logged_in_to() -> None:
    listed = (
        "Username         Port     From             Latest\n"
        "root                                       **Never logged in**\n"
        "old              pts/0    192.0.2.1        Tue Jun 30 10:00:00 +0000 2026\n"
        "new                                        **Never logged in**\n"
    )
    # 20000 days after 1970; lastlog -b itself left out who was in lately.
    assert accounts.unused(listed, {"root": "19000", "old": "19900", "new": "19999"}, 20000, 90) == {
        "root",
        "old",
    }
    assert accounts.unused("", {}, 20000, 90) == set()


def test_an_account_without_a_day_is_old() -> None:
    listed = "Username Port From Latest\nodd **Never logged in**\n"
    assert accounts.unused(listed, {"odd": ""}, 20000, 90) == {"odd"}


class Answers:
    def __init__(self, stdout: str) -> None:
        self.stdout = stdout

    def run(self, _: str) -> Answers:
        return self


def test_the_last_upgrade_counts_from_the_setting_up_until_there_is_one() -> None:
    assert apt.Apt(Answers("1000\n0\n0\n400\n")).upgraded_ago == 600  # type: ignore[arg-type]
    assert apt.Apt(Answers("1000\n900\n700\n400\nline\n")).upgraded_ago == 300  # type: ignore[arg-type]


def test_the_dry_run_and_its_age() -> None:
    assert apt.Apt(Answers("1000\n900\n0\n0\none\ntwo\n")).dry_run == ("one\ntwo", 100)  # type: ignore[arg-type]
    assert apt.Apt(Answers("1000\n0\n0\n0\n")).dry_run[0] == ""  # type: ignore[arg-type]
