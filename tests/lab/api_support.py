"""What the API's tests share: a served API whose every answer is held against DigitalOcean's description."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import uvicorn
from azure.core.pipeline.policies import HeadersPolicy
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydo import Client

from lab.api.app import create_app
from lab.api.limits import Limits
from lab.api.record_only import RecordOnly
from lab.api.services import SERVICES
from lab.api.store import Store
from lab.api.transitions import Transitions

TOKEN = "dop_v1_" + "0123456789abcdef" * 4
OPENAPI = Path(__file__).parents[3] / "shared/openapi/digitalocean-subset.json"
AT_ONCE = Transitions(load_balancer=0.0, certificate=0.0)
UNLIMITED = Limits(per_hour=10**6, per_minute=10**6)
ANYWHERE = {"addresses": ["0.0.0.0/0", "::/0"]}


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@cache
def description() -> dict[str, Any]:
    """DigitalOcean's OpenAPI document as JSON Schema understands it, or a skip."""
    if not OPENAPI.exists():
        pytest.skip(f"DigitalOcean's OpenAPI subset is not here: {OPENAPI}")
    return _as_json_schema(json.loads(OPENAPI.read_text()))


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0's ``nullable`` as JSON Schema, and YAML's ``off`` (a false by now) as the word it was."""
    if isinstance(node, list):
        return [_as_json_schema(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {name: _as_json_schema(value) for name, value in node.items()}
    if isinstance(made.get("enum"), list):
        made["enum"] = ["off" if value is False else value for value in made["enum"]]
    if made.pop("nullable", False) is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


def served() -> list[tuple[str, str, re.Pattern]]:
    """(method, path, pattern) of every operation the API has."""
    return [
        (method, path, re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z"))
        for service in SERVICES
        for method, path, _, _ in service.operations
    ]


def described(method: str, path: str) -> dict[str, Any] | None:
    """DigitalOcean's description of one operation; the names of path parameters do not matter."""
    wanted = re.sub(r"\{\w+\}", "{}", path)
    for theirs, operations in description()["paths"].items():
        if re.sub(r"\{\w+\}", "{}", theirs) == wanted:
            return operations.get(method.lower())
    return None


@cache
def validator(method: str, path: str, status: str) -> jsonschema.Draft202012Validator:
    """What an operation's answer of that status has to look like."""
    content = described(method, path)["responses"][status]["content"]["application/json"]
    schema = {**content["schema"], "components": description()["components"]}
    return jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


@dataclass
class Judge:
    """An ASGI layer around the API: which operations were driven, and where an answer left the description."""

    app: Any
    driven: set[tuple[str, str]] = field(default_factory=set)
    objections: list[str] = field(default_factory=list)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        answer: dict[str, Any] = {"body": b""}
        held = []

        async def listen(message) -> None:
            """Nothing goes out before it was judged: a 204 is whole for its client once the headers are there."""
            held.append(message)
            if message["type"] == "http.response.start":
                answer["status"], answer["headers"] = message["status"], dict(message["headers"])
                return
            answer["body"] += message.get("body", b"")
            if not message.get("more_body"):
                self._judge(scope["method"], scope["path"], answer)
                for each in held:
                    await send(each)

        await self.app(scope, receive, listen)

    def _judge(self, method: str, path: str, answer: dict[str, Any]) -> None:
        status = answer["status"]
        if status >= 500:
            self.objections.append(f"{method} {path} answered {status}")
        operation = next(((m, p) for m, p, pattern in served() if m == method and pattern.match(path)), None)
        if operation is None:
            return
        if status < 400:
            self.driven.add(operation)
        theirs = described(*operation)
        if theirs is None:
            return
        # A refusal has one shape in all of DigitalOcean's description.
        known = theirs["responses"].get(str(status)) or (
            theirs["responses"]["default"] if status >= 400 else None
        )
        if known is None:
            self.objections.append(f"{method} {path} answered {status}, which is not described")
            return
        if status != 401 and b"ratelimit-remaining" not in answer["headers"] and status != 413:
            self.objections.append(f"{method} {path} said nothing about the rate limit")
        if "application/json" not in known.get("content", {}):
            if answer["body"]:
                self.objections.append(f"{method} {path} answered a body to a {status}")
            return
        checker = validator(*operation, str(status) if str(status) in theirs["responses"] else "default")
        for error in checker.iter_errors(json.loads(answer["body"])):
            self.objections.append(f"{method} {path} {status}: {error.json_path}: {error.message[:300]}")


@dataclass
class Cloud:
    """A served API and what stands around it."""

    url: str
    store: Store
    backend: Any
    judge: Judge
    reconciler: Any
    clock: Any
    http: httpx.Client
    pydo: Client

    def settle(self, timeout: float = 10) -> None:
        """Wait until nothing is left to do."""
        assert self.reconciler.settled(timeout), "the reconciler found no rest"

    def ask(self, method: str, path: str, body: Any = None, expect: int | None = None) -> Any:
        """One request; with ``expect`` its status must be that. The body, or None where there is none."""
        answer = self.http.request(method, path, json=body)
        if expect is not None:
            assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    # The shortest requests that work, for tests that are about something else.

    def vpc(self, ip_range: str = "10.20.0.0/20", region: str = "fra1", name: str = "net") -> dict[str, Any]:
        body = {"name": name, "region": region, "ip_range": ip_range}
        return self.ask("POST", "/v2/vpcs", body, 201)["vpc"]

    def droplet(self, name: str = "app-1", settle: bool = True, **more: Any) -> dict[str, Any]:
        body = {"name": name, "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-12-x64"} | more
        made = self.ask("POST", "/v2/droplets", body, 202)["droplet"]
        if settle:
            self.settle()
            return self.ask("GET", f"/v2/droplets/{made['id']}", expect=200)["droplet"]
        return made

    def tag(self, name: str) -> None:
        self.ask("POST", "/v2/tags", {"name": name}, 201)

    def firewall(self, name: str = "web", **more: Any) -> dict[str, Any]:
        rules = [{"protocol": "tcp", "ports": "443", "sources": ANYWHERE}]
        return self.ask("POST", "/v2/firewalls", {"name": name, "inbound_rules": rules} | more, 202)[
            "firewall"
        ]

    def balancer(self, name: str = "edge", **more: Any) -> dict[str, Any]:
        rule = {"entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80}
        body = {"name": name, "region": "fra1", "forwarding_rules": [rule]} | more
        return self.ask("POST", "/v2/load_balancers", body, 202)["load_balancer"]

    def certificate(self, name: str = "site", **more: Any) -> dict[str, Any]:
        return self.ask("POST", "/v2/certificates", {"name": name, **custom_certificate()} | more, 201)[
            "certificate"
        ]


@contextmanager
def cloud(
    path: Path,
    *,
    backend: Any = None,
    clock: Callable[[], datetime] | None = None,
    limits: Limits = UNLIMITED,
    transitions: Transitions = AT_ONCE,
    public_range: str = "203.0.113.0/24",
    droplet_limit: int = 100,
) -> Iterator[Cloud]:
    """Serve the API on ``path`` as it is served for real, and object at the end to what did not conform."""
    store = Store(path)
    store.open_account(TOKEN, public_range, droplet_limit)
    backend = backend or RecordOnly()
    more = {"clock": clock} if clock else {}
    app = create_app(store, backend, limits=limits, transitions=transitions, **more)
    judge = Judge(app)
    # Named as TCP, asyncio turns Nagle's algorithm off; otherwise every answer waits 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(judge, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        until(lambda: server.started)
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            yield Cloud(url, store, backend, judge, app.state.reconciler, clock, http, client(url))
    finally:
        server.should_exit = True
        thread.join()
        store.close()
    assert not judge.objections, "\n".join(judge.objections)


def client(url: str, token: str = TOKEN) -> Client:
    """pydo as its users make it, but for its refusal to send a token over plain HTTP."""
    return Client(
        token,
        endpoint=url,
        authentication_policy=HeadersPolicy({"Authorization": f"Bearer {token}"}),
        retry_total=0,
    )


def until(condition: Callable[[], Any], timeout: float = 10) -> Any:
    """Poll until ``condition`` holds; its value. Fails at the deadline."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {condition}"
        time.sleep(0.02)
    return value


def ssh_key(comment: str = "ops") -> str:
    """A fresh public key in OpenSSH's format."""
    public = Ed25519PrivateKey.generate().public_key()
    text = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{text.decode()} {comment}"


def custom_certificate(
    starts: timedelta = timedelta(days=-1), ends: timedelta = timedelta(days=30), at: datetime | None = None
) -> dict[str, str]:
    """Leaf, chain and key of a small authority, in the words of POST /v2/certificates."""
    at = at or datetime.now(UTC)
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def build(subject: str, issuer: str, public: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(at + starts)
            .not_valid_after(at + ends)
        )

    root = build("lab authority", "lab authority", authority.public_key()).sign(authority, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.DNSName("app.seawall.test")])
    leaf = build("app.seawall.test", "lab authority", key.public_key()).add_extension(names, False)
    return {
        "type": "custom",
        "private_key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "leaf_certificate": _pem(leaf.sign(authority, hashes.SHA256())),
        "certificate_chain": _pem(root),
    }


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
