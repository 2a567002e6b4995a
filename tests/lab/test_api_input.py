"""No input, however strange, breaks the API: every answer is a success or a refusal in DigitalOcean's shape."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .api_support import ANYWHERE, Judge, cloud, custom_certificate, served, ssh_key

WRITES = sorted({(method, path) for method, path, _ in served() if method != "GET"})
READS = sorted({path for method, path, _ in served() if method == "GET"})

VALID = {
    "/v2/droplets": {
        "name": "app-1",
        "region": "fra1",
        "size": "s-1vcpu-1gb",
        "image": "debian-12-x64",
        "tags": ["a"],
    },
    "/v2/firewalls": {
        "name": "web",
        "inbound_rules": [{"protocol": "tcp", "ports": "443", "sources": ANYWHERE}],
        "outbound_rules": [
            {"protocol": "icmp", "ports": "0", "destinations": {"tags": ["a"], "droplet_ids": [1]}}
        ],
        "droplet_ids": [1],
        "tags": ["a"],
    },
    "/v2/load_balancers": {
        "name": "edge",
        "region": "fra1",
        "forwarding_rules": [
            {"entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80}
        ],
        "health_check": {"protocol": "http", "port": 80, "path": "/"},
        "firewall": {"allow": ["ip:192.0.2.1"], "deny": ["cidr:192.0.2.0/24"]},
        "tag": "a",
    },
    "/v2/vpcs": {"name": "net", "region": "fra1", "ip_range": "10.40.0.0/24", "description": ""},
    "/v2/certificates": {"name": "site", **custom_certificate()},
    "/v2/account/keys": {"name": "ops", "public_key": ssh_key()},
    "/v2/tags": {"name": "a"},
}

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
WORDS = st.sampled_from(
    [
        "type",
        "name",
        "tags",
        "droplet_ids",
        "resources",
        "inbound_rules",
        "forwarding_rules",
        "size",
        "image",
        "default",
    ]
)
QUICK = settings(
    max_examples=75,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with cloud(tmp_path_factory.mktemp("input") / "api.sqlite3") as lab:
        lab.tag("a")
        yield lab


def _mutated(body, path, value):
    """``body`` with the place that ``path`` leads to replaced."""
    if not path or not isinstance(body, dict | list) or not body:
        return value
    step, rest = path[0], path[1:]
    if isinstance(body, dict):
        name = sorted(body)[step % len(body)]
        return body | {name: _mutated(body[name], rest, value)}
    index = step % len(body)
    return [*body[:index], _mutated(body[index], rest, value), *body[index + 1 :]]


@QUICK
@given(
    path=st.sampled_from(sorted(VALID)),
    place=st.lists(st.integers(0, 20), min_size=1, max_size=4),
    value=JUNK,
)
def test_one_thing_wrong_in_a_valid_request(lab, path, place, value):
    answer = lab.http.post(path, json=_mutated(VALID[path], place, value))
    assert answer.status_code < 500
    if answer.is_success:
        _tidy(lab)


@QUICK
@given(
    operation=st.sampled_from(WRITES),
    part=TEXT.filter(lambda text: text.strip("./")),
    body=JUNK | st.dictionaries(WORDS, JUNK, max_size=3),
)
def test_anything_anywhere(lab, operation, part, body):
    method, path = operation
    for name in (
        "droplet_id",
        "action_id",
        "firewall_id",
        "lb_id",
        "vpc_id",
        "certificate_id",
        "key_id",
        "tag",
    ):
        path = path.replace("{" + name + "}", _quoted(part))
    answer = lab.http.request(method, path, json=body)
    assert answer.status_code < 500
    if answer.is_success:
        _tidy(lab)
    else:
        assert {"id", "message", "request_id"} <= answer.json().keys()


@QUICK
@given(
    path=st.sampled_from(READS),
    part=TEXT,
    query=st.dictionaries(
        st.sampled_from(["page", "per_page", "tag_name", "name", "type", "private", "resource_type"]),
        TEXT,
        max_size=3,
    ),
)
def test_any_path_and_query(lab, path, part, query):
    at = "/".join(_quoted(part) if piece.startswith("{") else piece for piece in path.split("/"))
    assert lab.http.get(at, params=query).status_code < 500


def _quoted(text):
    return "".join(f"%{byte:02x}" for byte in text.encode()) or "%20"


def _tidy(lab):
    """Away with what a lucky input made: names would only be taken once."""
    for noun, key in (
        ("load_balancers", "id"),
        ("firewalls", "id"),
        ("certificates", "id"),
        ("account/keys", "id"),
    ):
        for row in next(iter(lab.ask("GET", f"/v2/{noun}").values())):
            lab.ask("DELETE", f"/v2/{noun}/{row[key]}")
    droplets = lab.ask("GET", "/v2/droplets")["droplets"]
    if droplets:
        lab.settle()
    for row in droplets:
        lab.ask("DELETE", f"/v2/droplets/{row['id']}")


async def _answers(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"ratelimit-remaining", b"1")]})
    await send({"type": "http.response.body", "body": b'{"account": {"email": 1}}'})


def test_the_judge_objects():
    """The layer that holds answers against the description does object to one that is wrong."""
    judge = Judge(_answers)

    async def nothing(*_):
        return {}

    asyncio.run(judge({"type": "http", "method": "GET", "path": "/v2/account"}, nothing, nothing))
    assert any("email" in objection for objection in judge.objections)
