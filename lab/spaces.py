"""Spaces in the lab: moto's S3 server behind Spaces' own keys and its own, few, permissions.

A key is the account's (``root_key``, all of Spaces) or was made through ``/v2/spaces/keys`` with grants: per bucket
``read``, ``readwrite`` or ``fullaccess``. There is no key that writes and may not delete, in Spaces as here. Nobody is
anonymous. What was changed is kept in a journal, from which the next daemon makes it anew: version ids differ then.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

log = logging.getLogger("lab.spaces")

HOST = "127.0.0.2"
"""Loopback as well; the port is the API's, so that an instance needs no second one."""

Grants = Mapping[str, str]
"""Bucket → permission; ``""`` is every bucket."""
Find = Callable[[str], tuple[str, Grants] | None]
"""A key's secret and grants by its access key."""

RANK = {"read": 1, "readwrite": 2, "fullaccess": 3}
SETTINGS = {"acl", "cors", "lifecycle", "policy", "versioning", "location"}
"""Sub-resources of a bucket that are its settings, which take full access."""


def root_key(token: str) -> tuple[str, str]:
    """The account's own Spaces key, as the control panel would give it out: from the token, so that both last alike."""
    digest = hmac.new(token.encode(), b"spaces", hashlib.sha256).digest()
    return f"DO00{digest[:8].hex().upper()}", base64.urlsafe_b64encode(digest[8:]).decode().rstrip("=")


def permission_needed(method: str, bucket: str, key: str, query: str) -> int:
    """The least rank that allows a request. A bucket is made, set up and removed with full access only."""
    changing, asked = method not in ("GET", "HEAD"), set(parse_qs(query, keep_blank_values=True))
    if bucket and (asked & SETTINGS or (changing and not key and "delete" not in asked)):
        return RANK["fullaccess"]
    return RANK["readwrite"] if changing else RANK["read"]


class Server:
    """Serves on a thread of its own from when this is made. ``journal`` is made 0600."""

    def __init__(self, address: tuple[str, int], find: Find, journal: Path) -> None:
        os.environ.setdefault("MOTO_S3_CUSTOM_ENDPOINTS", f"http://{address[0]}:{address[1]}")
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def log(self, type: str, message: str, *args: Any) -> None:
                """Nothing: what is asked is told by ``_Gate``."""

        app = DomainDispatcherApplication(create_backend_app)
        self.gate = _Gate(app, find, journal)
        self.gate.replay()
        self._server = make_server(*address, self.gate, threaded=True, request_handler=Quiet)
        self.port = self._server.port
        threading.Thread(target=self._server.serve_forever, name="spaces", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Gate:
    """Who asks, and whether they may; then moto."""

    def __init__(self, app: Any, find: Find, journal: Path) -> None:
        self.app, self.find, self.journal = app, find, journal
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = BytesIO(body)
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
        raw = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ["PATH_INFO"])
        path = re.sub(r"^https?://[^/]+", "", raw).partition("?")[0]
        bucket, _, key = unquote(path.lstrip("/")).partition("/")
        grants = self._grants(environ, method, path, query, body)
        if grants is None:
            return _refuse(
                start_response, "SignatureDoesNotMatch", "The key is unknown or the signature is wrong."
            )
        rank = max((RANK[grant] for where, grant in grants.items() if where in ("", bucket)), default=0)
        if rank < permission_needed(method, bucket, key, query):
            return _refuse(start_response, "AccessDenied", f"This key has no permission for {method} here.")
        log.info("%s %s", method, path)
        if method in ("GET", "HEAD"):
            return self.app(environ, start_response)
        said: list[str] = []

        def listen(status: str, headers: Any, *more: Any) -> Any:
            said.append(status)
            return start_response(status, headers, *more)

        with self._lock:  # the journal's order is the order of what happened
            answer = list(self.app(environ, listen))
            if said[0] < "400":
                self._note(environ, method, path, query, body)
        return answer

    def _grants(
        self, environ: Mapping[str, Any], method: str, path: str, query: str, body: bytes
    ) -> Grants | None:
        """The grants of the key that signed the request (AWS signature 4), None if nobody did."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        signed = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d+/([^/]+)/s3/aws4_request, ?"
            r"SignedHeaders=([^,]+), ?Signature=(\w+)",
            environ.get("HTTP_AUTHORIZATION", ""),
        )
        if not signed or not (held := self.find(signed[1])):
            return None
        headers = {name: _header(environ, name) for name in signed[3].split(";")}
        digest = headers.get("x-amz-content-sha256", "")
        if re.fullmatch("[0-9a-f]{64}", digest) and digest != hashlib.sha256(body).hexdigest():
            return None
        url = f"http://{environ['HTTP_HOST']}{path}" + (f"?{query}" if query else "")
        request = AWSRequest(method=method, url=url, data=body, headers=headers)
        request.context["timestamp"] = headers.get("x-amz-date", "")
        auth = S3SigV4Auth(Credentials(signed[1], held[0]), "s3", signed[2])
        try:
            right = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        except (KeyError, ValueError):
            return None
        return held[1] if hmac.compare_digest(right, signed[4]) else None

    def _note(self, environ: Mapping[str, Any], method: str, path: str, query: str, body: bytes) -> None:
        kept = {
            name: value
            for name, value in environ.items()
            if name.startswith("HTTP_X_AMZ") or name == "CONTENT_TYPE"
        }
        line = {
            "method": method,
            "path": path,
            "query": query,
            "headers": kept,
            "body": base64.b64encode(body).decode(),
        }
        with open(self.journal, "a", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def replay(self) -> None:
        """Make anew what an earlier daemon had. A last line that was cut off by its end never happened."""
        from werkzeug.test import Client

        if not self.journal.exists():
            return
        client = Client(self.app)
        for text in self.journal.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            client.open(
                line["path"], method=line["method"], query_string=line["query"], environ_overrides=line["headers"],
                data=base64.b64decode(line["body"]), base_url=f"http://{HOST}",
            )  # fmt: skip


def _header(environ: Mapping[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    return str(environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}", ""))


def _refuse(start_response: Any, code: str, message: str) -> Iterable[bytes]:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]
