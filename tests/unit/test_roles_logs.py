"""Card numbers never leave a host, and an archive cannot be changed unseen: the decisions of both programs."""

from __future__ import annotations

import gzip
import importlib.machinery
import importlib.util
import io
import json
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from seawall.places import CHECKOUT


def program(role: str, name: str):
    """A role's program as a module."""
    path = str(CHECKOUT / "roles" / role / "files" / name)
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


relay = program("rsyslog_client", "journal-relay")
archive = program("rsyslog_collector", "archive")


# --- Masking ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("card 4111111111111111 declined", "card 411111******1111 declined"),  # Visa
        ("4111 1111 1111 1111", "4111 11** **** 1111"),
        ("4111-1111-1111-1111", "4111-11**-****-1111"),
        ("4111\u00a01111\u00a01111\u00a01111", "4111\u00a011**\u00a0****\u00a01111"),
        ("pan=378282246310005;", "pan=378282*****0005;"),  # American Express, 15
        ("3782 822463 10005", "3782 82**** *0005"),
        ("4222222222222", "422222***2222"),  # 13
        ("6304000000000000000", "630400*********0000"),  # 19
        ("x5555555555554444x", "x555555******4444x"),  # no blank around
        ("5 5 5 5 5 5 5 5 5 5 5 5 4 4 4 4", "5 5 5 5 5 5 * * * * * * 4 4 4 4"),
        ("4111111111111111 5555555555554444", "411111******1111 555555******4444"),
        ("7 4111111111111111 9", "7 411111******1111 9"),  # numbers beside it
        ("4111111111111111=25121010000012300000?", "411111******1111=25121010000012300000?"),  # track 2
    ],
)
def test_card_numbers_are_masked(said, sent):
    assert relay.masked_message(said) == sent


@pytest.mark.parametrize(
    "said",
    [
        "order 4111111111111112",  # fails Luhn's check
        "order 4111 1111 1111 1112",
        "411111111111",  # 12 digits
        "41111111111111111111",  # 20 digits
        "at 1700000000000006 us",  # a clock
        "from 203.0.113.10 port 51515 to 198.51.100.7 port 2222",
        "2026-11-24 10:00:00.123456 pid 4711",
        "",
    ],
)
def test_other_numbers_are_not(said):
    assert relay.masked_message(said) == said


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ('{"pan": 4111111111111111, "n": 1}', {"pan": "411111******1111", "n": 1}),
        ('{"pan": "4111 1111 1111 1111"}', {"pan": "4111 11** **** 1111"}),
        ('[{"4111111111111111": [4111111111111111]}]', [{"411111******1111": ["411111******1111"]}]),
        (r'{"pan": "4111\u00a01111\u00a01111\u00a01111"}', {"pan": "4111\u00a011**\u00a0****\u00a01111"}),
        (r'{"pan": "\u0034111111111111111"}', {"pan": "411111******1111"}),
    ],
)
def test_masked_json_is_json(said, sent):
    assert json.loads(relay.masked_message(said)) == sent


def test_no_card_number_in_any_place_of_a_line_survives():
    numbers = random.Random(4)
    for _ in range(2000):
        digits = str(numbers.randint(2, 9)) + "".join(
            str(numbers.randint(0, 9)) for _ in range(numbers.randint(11, 17))
        )
        check = next(str(n) for n in range(10) if relay.luhn(digits + str(n)))
        pan = digits + check
        said = f"{numbers.choice(['', 'a ', '12 ', 'id='])}{pan}{numbers.choice(['', ' 3', '.', ' x'])}"
        assert pan not in relay.masked_message(said), said


def test_a_flood_of_digits_takes_no_time():
    assert relay.masked("1 " * 30000 + "4111111111111111").endswith("*1111")


ENTRY = {
    "__REALTIME_TIMESTAMP": "1764000000123456",
    "SYSLOG_IDENTIFIER": "sshd",
    "SYSLOG_FACILITY": "4",
    "PRIORITY": "5",
    "_PID": "812",
    "MESSAGE": "Accepted publickey",
}


def test_a_journal_entry_is_a_syslog_line(monkeypatch):
    monkeypatch.setattr(relay.socket, "gethostname", lambda: "app-1")
    assert relay.line(ENTRY, 1000) == (
        b"<37>1 2025-11-24T16:00:00.123456+00:00 app-1 sshd 812 - - Accepted publickey"
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"MESSAGE": "\ufffdbytes 4111111111111111"}, "\ufffdbytes 411111******1111"),
        ({"MESSAGE": ""}, " - - "),
        ({"SYSLOG_IDENTIFIER": "4111111111111111"}, "411111******1111 812"),
        ({"SYSLOG_IDENTIFIER": "a b/c\nd"}, "a_b/c_d 812"),
        ({"SYSLOG_FACILITY": "99", "PRIORITY": "x"}, "<14>1 "),
    ],
)
def test_odd_entries_are_lines_too(changed, expected):
    assert expected in relay.line({**ENTRY, **changed}, 1000).decode()


def test_a_line_is_cut_after_it_was_masked():
    said = relay.line({**ENTRY, "MESSAGE": "x" * 200 + "4111111111111111"}, 274)
    assert len(said) <= 274
    assert b"411111111" not in said


def exported(*entries: bytes) -> io.BufferedReader:
    """A pipe that holds a journal in its export format."""
    given, taken = os.pipe()
    with os.fdopen(taken, "wb") as out:
        out.write(b"".join(entry + b"\n" for entry in entries))
    return io.BufferedReader(relay.Pipe(given, lambda: None))


def binary(field: bytes, value: bytes) -> bytes:
    return field + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def test_entries_of_the_journal_are_read_text_or_not():
    found = list(
        relay.entries(
            exported(
                b"__CURSOR=a\nMESSAGE=one=1\nMESSAGE=again\n",
                b"__CURSOR=b\n" + binary(b"MESSAGE", b"two\nlines \xff") + b"_PID=7\n",
            ),
            1000,
        )
    )
    assert found == [
        {"__CURSOR": "a", "MESSAGE": "one=1"},
        {"__CURSOR": "b", "MESSAGE": "two\nlines \ufffd", "_PID": "7"},
    ]


@pytest.mark.parametrize("huge", [b"MESSAGE=" + b"x" * 60_000 + b"\n", binary(b"MESSAGE", b"\n" * 60_000)])
def test_of_a_huge_field_no_more_is_held_than_is_sent_and_the_next_entry_is_whole(huge):
    first, second = relay.entries(exported(b"__CURSOR=a\n" + huge, b"__CURSOR=b\nMESSAGE=after\n"), 1000)
    assert len(first["MESSAGE"]) <= 1000
    assert second == {"__CURSOR": "b", "MESSAGE": "after"}


def test_a_journal_that_ends_within_an_entry_gives_no_half_entry():
    given = exported(
        b"__CURSOR=a\nMESSAGE=one\n", b"__CURSOR=b\nMESSAGE\n" + (99).to_bytes(8, "little") + b"cut"
    )
    assert [entry["__CURSOR"] for entry in relay.entries(given, 1000)] == ["a"]


@pytest.mark.parametrize(
    "waits", [b"__CURSOR=a\nMESSAGE=one\n\n", b"__CURSOR=a\nMESSAGE=one\n\n__CURSOR=b\n"]
)
def test_what_was_read_goes_before_more_is_waited_for(waits):
    given, taken = os.pipe()
    os.write(taken, waits)
    waiting, seen = [], []

    def idle():
        seen.extend(waiting)
        os.close(taken)

    for entry in relay.entries(io.BufferedReader(relay.Pipe(given, idle)), 1000):
        waiting.append(entry["__CURSOR"])
    assert seen == ["a"]


@pytest.mark.parametrize(
    "message", ["[" * 60_000 + "4111111111111111", '{"n": ' + "9" * 5000 + ', "p": 4111111111111111}']
)
def test_json_nobody_can_read_is_masked_like_any_line(message):
    said = relay.line_or_notice({**ENTRY, "MESSAGE": message}, 70_000)
    assert b"411111******1111" in said
    assert b"4111111111111111" not in said


def test_where_masking_fails_a_notice_leaves_and_nothing_else(monkeypatch):
    real = relay.masked_message

    def failing(text):
        if "notice" in text or "could not be masked" in text:
            return real(text)
        raise MemoryError("no room")

    monkeypatch.setattr(relay, "masked_message", failing)
    said = relay.line_or_notice({**ENTRY, "MESSAGE": "4111111111111111"}, 1000).decode()
    assert said.endswith("A line of sshd could not be masked and stays in the journal here: MemoryError.")


def test_a_place_that_cannot_be_saved_is_kept_in_memory_and_lines_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(relay, "CURSOR", str(tmp_path / "cursor"))
    place = relay.Place()
    place.move("one")
    monkeypatch.setattr(relay, "CURSOR", str(tmp_path / "gone" / "cursor"))
    place.move("two")
    place.move("three")
    assert place.cursor == "three"
    assert capsys.readouterr().err.count("is not saved") == 1
    monkeypatch.setattr(relay, "CURSOR", str(tmp_path / "cursor"))
    assert relay.Place().cursor == "one"


def test_a_place_is_saved_after_the_acknowledgement_and_not_before(tmp_path, monkeypatch):
    """journalctl says an entry and ends; the collector does not answer the first time."""
    monkeypatch.setattr(relay, "CURSOR", str(tmp_path / "cursor"))
    journalctl = tmp_path / "journalctl"
    journalctl.write_text("#!/bin/sh\nprintf '__CURSOR=a\\n__REALTIME_TIMESTAMP=1\\nMESSAGE=one\\n\\n'\n")
    journalctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    class Collector:
        def __init__(self, *_):
            self.socket = io.BytesIO()

        def send(self, command, lines):
            assert not (tmp_path / "cursor").exists()
            if not answering:
                raise ConnectionError("cut off")

    monkeypatch.setattr(relay, "Relp", Collector)
    for answering, kept in ((False, ""), (True, "a")):
        with pytest.raises(OSError, match="journalctl has ended" if answering else "cut off"):
            relay.relay(relay.Place(), "192.0.2.1", "6514", "logs-1", str(tmp_path), "1000")
        assert relay.Place().cursor == kept


@pytest.mark.parametrize("found", [True, False], ids=["they are there", "there are none"])
def test_where_numbers_are_missing_the_journal_is_read_anew(tmp_path, monkeypatch, found):
    """The first journalctl leaves entries out; later ones have them, or not: then it is a gap, and lines go on."""
    monkeypatch.setattr(relay, "CURSOR", str(tmp_path / "cursor"))
    monkeypatch.setattr(relay.time, "sleep", lambda seconds: None)
    said = lambda *numbers: "".join(  # noqa: E731
        f"__CURSOR=s=a;i={n:x};b=c\\n__REALTIME_TIMESTAMP=1\\nMESSAGE={n}\\n\\n" for n in numbers
    )
    journalctl = tmp_path / "journalctl"
    journalctl.write_text(
        f"#!/bin/sh\ncd {tmp_path}; echo x >> runs\n"
        f"case $* in *'i=b;'*) printf '{said(*((12, 13, 14, 15) if found else (15,)))}';;\n"
        f"*) printf '{said(10, 11, 15)}';; esac\n"
    )
    journalctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    sent: list[bytes] = []

    class Collector:
        def __init__(self, *_):
            self.socket = io.BytesIO()

        def send(self, command, lines):
            sent.extend(line.rpartition(b" ")[2] for line in lines)

    monkeypatch.setattr(relay, "Relp", Collector)
    place = relay.Place()

    def for_ever():
        while True:
            relay.relay(place, "192.0.2.1", "6514", "logs-1", str(tmp_path), "1000")

    with pytest.raises(OSError, match="journalctl has ended"):
        for_ever()
    assert sent == ([b"10", b"11", b"12", b"13", b"14", b"15"] if found else [b"10", b"11", b"15"])
    assert len((tmp_path / "runs").read_text().split()) == (2 if found else 1 + relay.LOOKS)


def test_relp_waits_for_every_acknowledgement_however_they_come():
    class Wire:
        def __init__(self):
            self.sent, self.answers = b"", [b"1 rsp 6 20", b"0 OK\n3 rsp 6 200 OK\n2 rsp 6 200 OK\n"]

        def sendall(self, data):
            self.sent += data

        def recv(self, _):
            return self.answers.pop(0)

    relp = object.__new__(relay.Relp)
    relp.socket, relp.heard, relp.number = Wire(), b"", 0
    relp.send("syslog", [b"one", b"two", b"three"])
    assert relp.socket.sent == b"1 syslog 3 one\n2 syslog 3 two\n3 syslog 5 three\n"
    assert relp.socket.answers == []


@pytest.mark.parametrize("answer", [b"1 rsp 9 500 wrong\n", b"0 serverclose 0\n", b""])
def test_relp_takes_nothing_else_for_an_acknowledgement(answer):
    relp = object.__new__(relay.Relp)
    relp.heard, relp.number = b"", 0
    relp.socket = type("Wire", (), {"sendall": lambda self, data: None, "recv": lambda self, _: answer})()
    with pytest.raises(ConnectionError):
        relp.send("syslog", [b"one"])


# --- The writer ---------------------------------------------------------------------------------------------

writer = program("rsyslog_collector", "archive-writer")


def test_a_line_is_filed_by_peer_and_program():
    assert writer.path_of("/archive", "app-1/sshd") == "/archive/app-1/sshd.log"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("app-1", "app-1/_.log"),
        ("app-1/", "app-1/_.log"),
        ("/sshd", "_/sshd.log"),
        ("app-1/..", "app-1/_...log"),
        ("../sshd", "_../sshd.log"),
        ("app-1/a/b", "app-1/a_b.log"),
        ("a/\0", "a/_.log"),
        ("a/" + "x" * 500, "a/" + "x" * 64 + ".log"),
    ],
)
def test_whatever_a_line_calls_itself_it_is_filed_and_not_elsewhere(name, path):
    assert writer.path_of("/archive", name) == f"/archive/{path}"


def test_a_line_cut_off_by_a_full_disk_is_written_whole_on_a_line_of_its_own(tmp_path):
    path = tmp_path / "sshd.log"
    path.write_text("one\ntw")
    writer.append(str(path), b"two\n")
    writer.append(str(path), b"three\n")
    assert path.read_text() == "one\ntw\ntwo\nthree\n"


# --- The chain ----------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 25, 0, 0, 5, tzinfo=UTC)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Two days of two programs of a host, closed; nothing of the machine is touched."""
    monkeypatch.setattr(archive, "append_only", lambda change, path: None)
    held = archive.Archive(str(tmp_path / "remote"), str(tmp_path / "chain.jsonl"), 400, 90)
    folder = tmp_path / "remote" / "app-1"
    folder.mkdir(parents=True)
    for day in (0, 1):
        for name in ("sshd", "sudo"):
            (folder / f"{name}.log").write_text(f"{name} on day {day}\n")
        held.close(NOW + timedelta(days=day))
    return held


def folder(kept):
    return Path(kept.directory) / "app-1"


def test_files_are_closed_under_the_day_that_ended(kept):
    assert sorted(path.name for path in folder(kept).iterdir()) == [
        "sshd.log-20261124", "sshd.log-20261125", "sudo.log-20261124", "sudo.log-20261125",
    ]  # fmt: skip
    assert kept.wrong({}) == []
    assert [entry["n"] for entry in kept.entries()] == [1, 2, 3, 4]


def test_a_second_close_on_one_day_takes_another_name(kept):
    (folder(kept) / "sshd.log").write_text("later\n")
    kept.close(NOW + timedelta(days=1))
    assert (folder(kept) / "sshd.log-20261125-1").read_text() == "later\n"
    assert kept.wrong({}) == []


def rewritten(kept, change):
    """The chain with its entries changed and every hash made anew, as an intruder with the program would."""
    entries, previous = change(kept.entries()), archive.START
    with open(kept.chain, "w") as out:
        for number, entry in enumerate(entries, 1):
            bare = {**{k: v for k, v in entry.items() if k != "hash"}, "n": number, "previous": previous}
            previous = archive.link(bare)
            out.write(json.dumps({**bare, "hash": previous}) + "\n")


def test_an_altered_file_is_told(kept):
    (folder(kept) / "sshd.log-20261124").write_text("sshd on day 9\n")
    (said,) = kept.wrong({})
    assert said.startswith("app-1/sshd.log-20261124 is not what it was")


def test_a_removed_file_is_told(kept):
    (folder(kept) / "sshd.log-20261124").unlink()
    assert kept.wrong({}) == ["app-1/sshd.log-20261124 is missing"]


def test_swapped_files_are_told(kept):
    one, two = folder(kept) / "sshd.log-20261124", folder(kept) / "sshd.log-20261125"
    first, second = one.read_text(), two.read_text()
    one.write_text(second), two.write_text(first)
    assert len(kept.wrong({})) == 2


def test_a_file_put_among_them_is_told(kept):
    (folder(kept) / "sshd.log-20261123").write_text("never happened\n")
    assert kept.wrong({}) == ["app-1/sshd.log-20261123 is not in the chain"]


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: entries[1:],
        lambda entries: entries[:-1],
        lambda entries: [entries[1], entries[0], *entries[2:]],
        lambda entries: ["garbled\n", *entries[1:]],
    ],
    ids=["the first gone", "the last gone", "two swapped", "one garbled"],
)
def test_a_chain_with_entries_gone_or_swapped_is_told(kept, change):
    text = Path(kept.chain).read_text().splitlines(keepends=True)
    head = kept.entries()[-1]
    with open(kept.chain, "w") as out:
        out.writelines(change(text))
    assert kept.wrong({head["n"]: head["hash"]})


def test_a_chain_written_anew_is_told_by_what_was_signed_elsewhere(kept):
    head = kept.entries()[-1]
    rewritten(kept, lambda entries: [{**entries[0], "sha256": "0" * 64}, *entries[1:]])
    assert [said for said in kept.wrong({}) if "chain" in said] == []  # in itself it is whole
    assert "the chain is not the one that was signed when it had 4 entries" in kept.wrong({4: head["hash"]})


def test_old_files_are_compressed_then_let_go_and_the_chain_holds(kept):
    kept.close(NOW + timedelta(days=90, hours=1))
    packed = folder(kept) / "sshd.log-20261124.gz"
    assert gzip.decompress(packed.read_bytes()) == b"sshd on day 0\n"
    assert (folder(kept) / "sshd.log-20261125").exists()
    assert kept.wrong({}) == []
    kept.close(NOW + timedelta(days=400))
    assert not packed.exists()
    assert (folder(kept) / "sshd.log-20261125.gz").exists()
    assert kept.wrong({}) == []


def test_letting_go_too_early_is_told(kept):
    kept.keep = timedelta(days=30)
    kept.close(NOW + timedelta(days=40))
    kept.keep = timedelta(days=400)
    assert len(kept.wrong({})) == 4


def test_a_close_cut_off_after_renaming_is_finished_by_the_next(kept):
    (folder(kept) / "sshd.log-20261126").write_text("renamed, not chained\n")
    kept.close(NOW + timedelta(days=2))
    assert kept.wrong({}) == []


@pytest.mark.parametrize("kept_of_it", [1, 40, -1])
def test_an_entry_cut_short_by_a_full_disk_does_not_break_the_chain(kept, kept_of_it):
    with open(kept.chain) as held:
        last = held.readlines()[-1]
    with open(kept.chain, "a") as out:
        out.write(last[:kept_of_it])
    assert kept.wrong({})
    (folder(kept) / "sshd.log").write_text("the day after\n")
    kept.close(NOW + timedelta(days=2))
    assert kept.wrong({}) == []
    assert kept.entries()[-1]["n"] == 5


# --- Once a day all is read, in between only what was touched -------------------------------------------------

LATER = datetime(2100, 1, 1, tzinfo=UTC)
"""After every change that a test makes to a file: the kernel dates those."""


@pytest.fixture
def read(kept, monkeypatch):
    """What of the archive is read, by name."""
    seen, digest = [], kept.digest
    monkeypatch.setattr(kept, "digest", lambda name: (seen.append(name), digest(name))[1])
    return seen


def test_what_was_verified_and_not_touched_since_is_not_read_again(kept, read):
    assert kept.verify({}, LATER) == []
    assert len(read) == 4
    read.clear()
    assert kept.check(LATER + timedelta(days=2)) == []
    assert read == []


def test_what_was_never_verified_is_read(kept, read):
    assert kept.check(NOW) == []
    assert len(read) == 4


def test_what_was_touched_since_is_read_and_told(kept, read):
    kept.verify({}, datetime.now(UTC) - timedelta(minutes=1))
    read.clear()
    (folder(kept) / "sshd.log-20261124").write_text("sshd on day 9\n")
    (said,) = kept.check(datetime.now(UTC))
    assert said.startswith("app-1/sshd.log-20261124 is not what it was")
    assert "app-1/sshd.log-20261124" in read


def test_another_size_is_told_whatever_the_clock_says(kept):
    kept.verify({}, LATER)
    (folder(kept) / "sshd.log-20261124").write_text("longer than it was\n")
    assert len(kept.check(LATER)) == 1


def test_what_a_clock_put_back_hides_is_told_by_the_next_verification(kept):
    kept.verify({}, LATER)
    (folder(kept) / "sshd.log-20261124").write_text("sshd on day 9\n")
    assert kept.check(LATER) == []
    assert len(kept.verify({}, LATER)) == 1
    assert len(kept.check(LATER)) == 1  # and stays told


@pytest.mark.parametrize("gone", ["missing", "beside"])
def test_files_gone_or_come_are_told_without_reading(kept, read, gone):
    kept.verify({}, LATER)
    read.clear()
    if gone == "missing":
        (folder(kept) / "sshd.log-20261124").unlink()
    else:
        (folder(kept) / "sshd.log-20261123").write_text("never happened\n")
    assert len(kept.check(LATER)) == 1
    assert read in ([], ["app-1/sshd.log-20261124"])


def test_a_chain_shorter_than_what_was_verified_is_told(kept):
    kept.verify({}, LATER)
    text = Path(kept.chain).read_text().splitlines(keepends=True)
    with open(kept.chain, "w") as out:
        out.writelines(text[:-1])
    assert "the chain is not the one that was signed when it had 4 entries" in kept.check(LATER)


@pytest.mark.parametrize("days", [-1, 3])
def test_a_verification_too_long_ago_or_yet_to_come_counts_as_none(kept, days):
    kept.verify({}, LATER)
    (said,) = kept.check(LATER + timedelta(days=days))
    assert said.startswith("the whole archive was not verified within 2 days")


def test_an_archive_never_verified_is_told_after_two_days(kept):
    assert kept.check(NOW + timedelta(days=1)) == []
    assert len(kept.check(NOW + timedelta(days=3))) == 1


def test_before_the_first_midnight_there_is_nothing_to_verify(tmp_path):
    held = archive.Archive(str(tmp_path / "remote"), str(tmp_path / "chain.jsonl"), 400, 90)
    assert held.check(NOW) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"at": 1, "n": 1, "hash": "", "wrong": []}'])
def test_a_record_nobody_wrote_is_told(kept, text):
    Path(kept.verified).write_text(text)
    assert kept.check(NOW) == [f"{kept.verified} is not what a verification writes"]


# --- Anchors ------------------------------------------------------------------------------------------------


@pytest.fixture
def anchors(tmp_path):
    from seawall.archive import Anchors

    return Anchors(tmp_path / "anchors", "logs-1.4715")


def asked(kept):
    """The program of the collector, called here."""

    def ask(words):
        signed = {int(n): sha for n, _, sha in (word.partition(":") for word in words[1:])}
        head = kept.entries()[-1]
        return {"n": head["n"], "hash": head["hash"], "wrong": kept.wrong(signed)}

    return ask


def test_a_whole_archive_is_signed_once_a_head(kept, anchors):
    from seawall.archive import judge

    first, second = (judge("logs-1", anchors, asked(kept), sign=True) for _ in range(2))
    assert (first.code, first.signed, second.signed, second.anchors) == (0, True, False, 1)
    assert (anchors.key.stat().st_mode & 0o777) == 0o600


def test_an_archive_written_anew_is_found_out_and_not_signed(kept, anchors):
    from seawall.archive import judge

    judge("logs-1", anchors, asked(kept), sign=True)
    (folder(kept) / "sshd.log-20261124").write_text("nothing happened\n")
    digest, size = kept.digest("app-1/sshd.log-20261124")
    rewritten(kept, lambda entries: [{**entries[0], "sha256": digest, "bytes": size}, *entries[1:]])
    assert kept.wrong({}) == []  # without anchors nobody could tell
    verdict = judge("logs-1", anchors, asked(kept), sign=True)
    assert (verdict.code, verdict.signed) == (2, False)
    assert "signed when it had 4 entries" in verdict.text()


def test_an_anchor_changed_by_hand_is_told(kept, anchors):
    from seawall.archive import judge

    judge("logs-1", anchors, asked(kept), sign=True)
    anchors.path.write_text(anchors.path.read_text().replace('"n": 4', '"n": 3'))
    assert "is not signed with" in judge("logs-1", anchors, asked(kept)).wrong[0]
    anchors.path.write_text("nonsense\n")
    assert judge("logs-1", anchors, asked(kept)).code == 2
