"""The example application: what it answers, and the events it leaves."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("example_app", Path(__file__).parents[2] / "example" / "app.py")
app = importlib.util.module_from_spec(spec)
spec.loader.exec_module(app)


def ask(method: str, path: str, body: bytes = b"", **environ: str):
    seen = {}
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "HTTP_X_REAL_IP": "198.51.100.7",
        **environ,
    }
    text = b"".join(app.application(environ, lambda status, headers: seen.update(status=status))).decode()
    return seen["status"], text


def test_the_page_says_who_served_it():
    status, text = ask("GET", "/")
    assert status == "200 OK"
    assert f"served by {app.HOSTNAME}" in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", "200 OK"),
        ("GET", "/nothing", "404 Not Found"),
        ("GET", "/login", "405 Method Not Allowed"),
    ],
)
def test_other_answers(method, path, status):
    assert ask(method, path)[0] == status


def test_a_failed_login_leaves_one_event_without_the_password(capsys):
    status, _ = ask("POST", "/login", b"user=mallory%0Aforged&password=hunter2")
    assert status == "401 Unauthorized"
    said = capsys.readouterr().err
    assert "hunter2" not in said
    assert len(said.splitlines()) == 1
    event = json.loads(said)
    assert (event["event"], event["outcome"], event["source"]) == ("login_attempt", "failure", "198.51.100.7")
    assert event["user"] == "mallory\nforged"


@pytest.mark.parametrize("length", ["5000", "-1", "many"])
def test_a_body_too_long_is_refused_unread(capsys, length):
    assert ask("POST", "/login", b"user=x", CONTENT_LENGTH=length)[0] == "413 Content Too Large"
    assert json.loads(capsys.readouterr().err)["event"] == "request_refused"
