"""When differences came and went, who was told of what, and how a report reads."""

from __future__ import annotations

import json
import os
import re
import socket
import socketserver
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from xml.etree import ElementTree

import pytest

from infra.drift import Drift
from seawall.drift import command, formats, page, tell
from seawall.drift.difference import Difference, exit_code
from seawall.drift.history import History, as_text, document
from seawall.drift.run import Report
from seawall.environment import Stack
from seawall.findings import By, Run, Subject
from seawall.places import Places
from seawall.problem import Problem

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def difference(name="net", layer="cloud", status="differs", kind="firewall", **more) -> Difference:
    fields = {"what": "inbound rules", "seen": "tcp 22 from 0.0.0.0/0", "requirements": ("pci-1.2.8",)}
    return Difference(layer=layer, status=status, subject=Subject(kind=kind, name=name), **fields | more)


def report(*found, minutes=0, layers=("cloud", "strangers"), mode="full", hosts=()) -> Report:
    at = START + timedelta(minutes=minutes)
    run = Run(f"run-{minutes}", By(version="0", commit="c"))
    return Report(
        run, "prod", mode, at, at + timedelta(seconds=2), layers, hosts, found, dict.fromkeys(layers, 1.0)
    )


@pytest.fixture
def history(tmp_path):
    kept = History(tmp_path / "drift.sqlite")
    yield kept
    kept.close()


def lasting(history):
    return sorted(spell.difference.subject.name for spell in history.spells("prod", lasting=True))


def test_first_seen_is_kept_until_it_goes_and_begins_anew(history):
    (first,) = history.record(report(difference()))
    (again,) = history.record(report(difference(seen="wider still"), minutes=5))
    assert first.first_seen == again.first_seen == START + timedelta(seconds=2)
    assert history.spells("prod")[0].difference.seen == "wider still"
    history.record(report(minutes=10))
    assert lasting(history) == []
    (anew,) = history.record(report(difference(), minutes=15))
    assert anew.first_seen == START + timedelta(minutes=15, seconds=2)
    assert [bool(spell.went) for spell in history.spells("prod")] == [False, True]


def test_what_was_not_asked_about_stays(history):
    unknown = {"status": "unknown", "what": "could not be looked at"}
    history.record(
        report(
            difference("a"), difference("b", "hosts", kind="host"), difference("c", "hosts", kind="host"),
            layers=("cloud", "hosts"),
        )
    )  # fmt: skip
    history.record(report(layers=("strangers",), minutes=1))
    assert lasting(history) == ["a", "b", "c"]
    history.record(report(layers=("hosts",), hosts=("c",), minutes=2))
    assert lasting(history) == ["a", "b"]
    history.record(report(difference("b", "hosts", kind="host", **unknown), layers=("hosts",), minutes=3))
    assert lasting(history) == ["a", "b", "b"]
    history.record(report(difference("cloud", kind="layer", **unknown), layers=("cloud",), minutes=4))
    assert "a" in lasting(history)
    history.record(report(layers=("cloud", "hosts"), minutes=5))
    assert lasting(history) == []


def test_a_quick_look_does_not_end_what_only_a_full_one_sees(history):
    history.record(report(difference("deep")))
    history.record(report(mode="quick", minutes=1))
    assert lasting(history) == ["deep"]
    history.record(report(difference("deep"), mode="quick", minutes=2))
    history.record(report(mode="quick", minutes=3))
    assert lasting(history) == []


def test_another_stacks_differences_are_its_own(history):
    history.record(report(difference()))
    assert history.spells("staging") == []


def test_the_file_is_private_and_shared_by_many(tmp_path):
    path = tmp_path / "drift.sqlite"

    def one(number):
        kept = History(path)
        kept.record(report(difference(f"d{number}"), minutes=number))
        kept.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(16)))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    kept = History(path)
    assert len(kept.spells("prod")) == 16
    assert len(kept.runs("prod")) == 16


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be read as one" * 40, b"SQLite format 3\0x"]
)
def test_a_corrupt_file_is_told_and_kept(tmp_path, content):
    path = tmp_path / "drift.sqlite"
    path.write_bytes(content)
    with pytest.raises(Problem, match="cannot be used"):
        History(path)
    assert path.read_bytes() == content


def test_a_damaged_table_is_noticed(tmp_path):
    path = tmp_path / "drift.sqlite"
    kept = History(path)
    for number in range(40):
        kept.record(report(difference(f"d{number}", seen="x" * 900), minutes=number))
    kept.close()
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 9] = b"\xff" * (4096 * 6)
    path.write_bytes(content)
    with pytest.raises(Problem, match="cannot be used"):
        History(path)


def test_a_locked_file_and_another_versions_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("seawall.drift.history.PATIENCE", 50)
    path = tmp_path / "drift.sqlite"
    kept = History(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Problem, match="in use by another program"):
        kept.spells("prod")
    other.execute("ROLLBACK")
    other.execute("PRAGMA user_version = 99")
    with pytest.raises(Problem, match="another version"):
        History(path)


# --- Told -------------------------------------------------------------------------------------------------

REMIND = timedelta(hours=24)


def news(history, told, hours=0.0):
    found = tell.owed(history.spells("prod"), told, REMIND, START + timedelta(hours=hours))
    return [(each.said, each.spell.difference.subject.name) for each in found]


def test_one_message_a_change_and_a_reminder(history):
    history.record(report(difference("a"), difference("b", status="unknown")))
    assert news(history, {}) == [("came", "a"), ("came", "b")]
    number = {spell.difference.subject.name: spell.number for spell in history.spells("prod")}
    told = {number[name]: ("came", START.isoformat()) for name in number}
    assert news(history, told, 23.9) == []
    assert news(history, told, 24) == [("lasts", "a"), ("lasts", "b")]
    told[number["a"]] = ("lasts", (START + timedelta(hours=24)).isoformat())
    history.record(report(difference("a"), minutes=1))
    assert news(history, told, 25) == [("went", "b")]
    told[number["b"]] = ("went", START.isoformat())
    assert news(history, told, 25) == []


def test_what_came_and_went_unheard_is_let_go(history):
    history.record(report(difference()))
    history.record(report(minutes=1))
    assert news(history, {}) == []


class Slack(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.heard.append(json.loads(body))
        self.send_response(self.server.answers)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def slack():
    server = HTTPServer(("127.0.0.1", 0), Slack)
    server.heard, server.answers = [], 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def webhook(slack, tmp_path):
    path = tmp_path / "webhook"
    path.write_text(f"http://127.0.0.1:{slack.server_port}/services/SECRET\n")
    path.chmod(0o600)
    return Drift.model_validate({"tell": {"webhook": {"urlFile": str(path)}}})


def test_a_webhook_hears_each_change_once(history, slack, webhook):
    history.record(report(difference()))
    assert tell.tell(history, "prod", webhook) == []
    assert tell.tell(history, "prod", webhook) == []
    (heard,) = slack.heard
    assert "New: [cloud] firewall net: inbound rules" in heard["text"]
    history.record(report(minutes=1))
    tell.tell(history, "prod", webhook)
    assert "Gone: [cloud] firewall net" in slack.heard[1]["text"]


def test_a_webhook_that_fails_hears_it_the_next_time_and_its_address_shows_nowhere(history, slack, webhook):
    history.record(report(difference()))
    slack.answers = 500
    (said,) = tell.tell(history, "prod", webhook)
    assert "500" in said
    assert "SECRET" not in said
    slack.answers = 200
    assert tell.tell(history, "prod", webhook) == []
    assert len(slack.heard) == 2


@pytest.mark.parametrize(("text", "mode", "why"), [
    ("https://x.example/h", 0o644, "read by others"), ("", 0o600, "one line"), ("a\nb", 0o600, "one line"),
    ("http://x.example/h", 0o600, "https://"), ("https://[", 0o600, "not reached|https"),
])  # fmt: skip
def test_a_bad_secret_is_told(history, tmp_path, text, mode, why):
    path = tmp_path / "webhook"
    path.write_text(text)
    path.chmod(mode)
    settings = Drift.model_validate({"tell": {"webhook": {"urlFile": str(path)}}})
    history.record(report(difference()))
    (said,) = tell.tell(history, "prod", settings)
    assert re.search(why, said)


class Mail(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 here\r\n")
        lines, data = [], False
        for line in self.rfile:
            lines.append(line)
            if data:
                if line == b".\r\n":
                    data = False
                    self.wfile.write(b"250 taken\r\n")
                continue
            word = line.split()[0].upper()
            data = word == b"DATA"
            self.wfile.write({b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}.get(word, b"250 fine\r\n"))
        self.server.heard.append(b"".join(lines).decode())


@pytest.fixture
def mail():
    server = socketserver.TCPServer(("127.0.0.1", 0), Mail)
    server.heard = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def email(mail, **more):
    fields = {
        "host": "127.0.0.1",
        "port": mail.server_address[1],
        "sender": "drift@x.example",
        "to": ["ops@x.example"],
    }
    return Drift.model_validate({"tell": {"email": fields | more}})


def test_a_mail_is_sent_and_none_in_the_clear_where_tls_was_asked_for(history, mail):
    history.record(report(difference()))
    (said,) = tell.tell(history, "prod", email(mail))
    assert "SMTPNotSupportedError" in said
    assert tell.tell(history, "prod", email(mail, starttls=False)) == []
    assert "Subject: Seawall drift, prod: 1 new" in mail.heard[-1]
    assert "DATA" not in mail.heard[0]


def test_syslog_gets_a_record_a_line(history, tmp_path):
    history.record(report(difference()))
    nobody = Drift.model_validate({"tell": {"syslog": {"host": "127.0.0.1", "port": 1}}})
    (said,) = tell.tell(history, "prod", nobody)
    assert "not reached" in said
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(path)
        assert tell.tell(history, "prod", Drift.model_validate({"tell": {"syslog": {"path": path}}})) == []
        lines = [log.recv(4096).decode() for _ in range(3)]
    assert all(line.startswith("<84>seawall-drift: ") for line in lines)  # authpriv.warning
    assert "firewall net" in lines[1]


# --- The watch itself -------------------------------------------------------------------------------------


class Session:
    def __init__(self, root):
        self.where, self.stack = Places(root), Stack("prod-of-a-test")


def test_a_watch_that_stopped_is_told_once_and_when_it_goes_again(tmp_path, slack, webhook, monkeypatch):
    monkeypatch.setattr(command, "settings_of", lambda stack: webhook)
    session, day = Session(tmp_path), timedelta(hours=26)
    assert command.watchdog(session, day, START)[0] == 1
    history, name = History.of(session.where), session.stack.name
    run = report()
    history.record(Report(run.run, name, *[getattr(run, f) for f in list(run.__dataclass_fields__)[2:]]))
    assert command.watchdog(session, day, START + timedelta(hours=1))[0] == 0
    for hours in (27, 28):
        code, said = command.watchdog(session, day, START + timedelta(hours=hours))
        assert code == 1
        assert "more than 26 hours" in said
    assert [each["text"].split(":")[1].strip()[:5] for each in slack.heard] == ["1 new", "1 gon", "1 new"]
    history.begin("dead", name, "full")
    assert "died before its end" in command.watchdog(session, day * 99999, datetime.now(UTC))[1]


# --- Forms ------------------------------------------------------------------------------------------------

NASTY = 'a"b\\c\n<script>alert(1)</script>\x07&'


def test_exit_codes():
    assert exit_code([]) == 0
    assert exit_code([difference(status="unknown")]) == 1
    assert exit_code([difference(status="unknown"), difference()]) == 2


def test_secrets_are_masked():
    token = "dop_v1_" + "0" * 64
    assert token not in difference(seen=f"token {token}", expected="password=hunter2").model_dump_json()


def test_every_form_takes_whatever_a_host_is_called(history):
    nasty = report(difference(NASTY, seen=NASTY), difference("h", status="unknown", seen="no route"))
    kept = history.record(nasty)
    suites = ElementTree.fromstring(formats.junit(nasty))
    assert [suite.get("failures") + suite.get("errors") for suite in suites] == ["11", "00"]
    assert suites[0][0].find("failure") is not None
    assert suites[1][0].get("name") == "as declared"
    assert 'seawall_drift_differences{stack="prod",layer="cloud"} 1' in formats.prometheus(nasty)
    assert "seawall_drift_exit_code" in formats.prometheus(nasty)
    assert "1 differs and 1 could not be looked at" in formats.text(nasty)
    assert "As declared" in formats.text(report())
    json.loads(formats.as_json(nasty))
    spells, runs = history.spells("prod"), history.runs("prod")
    html = page.page("prod<", spells, runs)
    assert "<script>" not in html
    assert "http" not in html.replace("http-equiv", "")
    assert len(document("prod", spells, runs)["differences"]) == len(kept) == 2
    assert "Last looked" in as_text(spells, runs)


def test_files_are_written_whole_and_where_nobody_may_it_is_told(tmp_path):
    path = tmp_path / "drift.prom"
    formats.write(path, "a 1\n", mode=0o644)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode), len(list(tmp_path.iterdir()))) == (
        "a 1\n",
        0o644,
        1,
    )
    (tmp_path / "file").touch()
    with pytest.raises(Problem, match="could not be written"):
        formats.write(tmp_path / "file" / "x", "", mode=0o644)
