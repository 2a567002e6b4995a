"""An example of the application a Seawall droplet serves: one page, a health check, and security events.

Plain WSGI, standard library only; gunicorn runs it behind nginx. Security events are JSON objects, one a line,
on standard error, whence journald and rsyslog take them to the collector. docs: example/events.md.
"""

import html
import json
import socket
import sys
import urllib.parse
from datetime import UTC, datetime

HOSTNAME = socket.gethostname()
PAGE = """<!doctype html>
<html lang="en"><title>Seawall example</title>
<h1>It stands</h1>
<p>served by {hostname}</p>
</html>
"""
# Longest form body that is read, in bytes: longer ones are refused, not truncated.
FORM_LIMIT = 4096


def application(environ, start_response):
    """Route one request: `/`, `/healthz`, `POST /login`; anything else is 404."""
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
    if path == "/healthz" and method in ("GET", "HEAD"):
        return answer(start_response, "200 OK", "ok\n", "text/plain")
    if path == "/" and method in ("GET", "HEAD"):
        return answer(start_response, "200 OK", PAGE.format(hostname=html.escape(HOSTNAME)))
    if path == "/login":
        return (
            login(environ, start_response)
            if method == "POST"
            else refuse(start_response, "405 Method Not Allowed")
        )
    return refuse(start_response, "404 Not Found")


def login(environ, start_response):
    """Nobody has an account here, so every login fails; what matters is the event it leaves."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length) > FORM_LIMIT:
        emit("request_refused", "failure", environ, reason="body too long")
        return refuse(start_response, "413 Content Too Large")
    form = urllib.parse.parse_qs(environ["wsgi.input"].read(int(length)).decode(errors="replace"))
    emit("login_attempt", "failure", environ, user=form.get("user", [""])[0][:64], reason="no such account")
    return refuse(start_response, "401 Unauthorized")


def emit(event, outcome, environ, **details):
    """Write one security event (example/events.md). Never a password, a token or a card number."""
    record = {
        "schema": 1,
        "event": event,
        "outcome": outcome,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "host": HOSTNAME,
        "service": "example-app",
        # Set by nginx from the address it verified; what clients claim is dropped there.
        "source": environ.get("HTTP_X_REAL_IP", environ.get("REMOTE_ADDR", "")),
        "request": environ.get("HTTP_X_REQUEST_ID", ""),
        **details,
    }
    # JSON escapes line breaks, so no input can forge a second record.
    print(json.dumps(record), file=sys.stderr, flush=True)


def refuse(start_response, status):
    return answer(start_response, status, status.partition(" ")[2] + "\n", "text/plain")


def answer(start_response, status, body, kind="text/html"):
    data = body.encode()
    start_response(status, [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(data)))])
    return [data]
