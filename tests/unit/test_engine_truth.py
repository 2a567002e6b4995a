"""Each type as the official schema has it: what a change replaces, what is secret, what only the cloud tells, defaults.

The schema says nothing of defaults; those are the official provider's documentation's, written down by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.engine.digitalocean import fields
from lab.engine.digitalocean.provider import RESOURCES
from lab.engine.digitalocean.wire import UNKNOWN, Secret

OFFICIAL = Path(__file__).resolve().parents[3] / "shared" / "pulumi" / "digitalocean-schema-subset.json"
TYPES = sorted(RESOURCES)

UNANNOUNCED = {
    "spacesBucket:SpacesBucket": {"name"},
}
"""Inputs whose change replaces although the schema does not announce it."""
OF_THE_VALUE = {
    "droplet:Droplet": {"size", "ipv6", "backups"},
    "loadBalancer:LoadBalancer": {"size", "sizeUnit"},
}
"""Inputs of which some changes replace and others don't."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "certificate:Certificate": {"type": "custom"},
    "droplet:Droplet": {"resizeDisk": True},
    "monitorAlert:MonitorAlert": {"enabled": True},
    "project:Project": {"purpose": "Web Application"},
    "uptimeCheck:UptimeCheck": {"enabled": True},
    "spacesBucket:SpacesBucket": {"acl": "private", "region": "nyc3"},
}
"""What counts where the program says nothing and inputs show it."""


@pytest.fixture(scope="module")
def official() -> dict[str, Any]:
    if not OFFICIAL.exists():
        pytest.skip("the official schema is not beside this checkout")
    found: dict[str, Any] = json.loads(OFFICIAL.read_text())
    return found


def value(known: dict[str, Any], types: dict[str, Any], number: int) -> Any:
    """Some value of a property's type; another for another number."""
    if "$ref" in known and known["$ref"].startswith("#/types/"):
        inner = types[known["$ref"].removeprefix("#/types/")]
        return {key: value(each, types, number) for key, each in inner.get("properties", {}).items()}
    match known.get("type"):
        case "array":
            return [value(known["items"], types, number)]
        case "object":
            return {"key": value(known["additionalProperties"], types, number)}
        case "integer" | "number":
            return 40 + number
        case "boolean":
            return bool(number % 2)
    return f"value-{number}"


def of(official: dict[str, Any], token: str) -> dict[str, Any]:
    """A type of the official schema; the subset that lies beside a checkout does not have them all."""
    if token not in official["resources"]:
        pytest.skip(f"the schema's subset has no {token}")
    return official["resources"][token]


def short(token: str) -> str:
    return token.removeprefix("digitalocean:index/")


@pytest.mark.parametrize("token", TYPES)
def test_a_change_replaces_exactly_what_the_schema_says(official: dict[str, Any], token: str) -> None:
    theirs, types = of(official, token)["inputProperties"], official["types"]
    table = RESOURCES[token].fields
    state = {key: value(known, types, 2) for key, known in theirs.items()}
    for key, known in theirs.items():
        found = fields.changes(table, state, state | {key: value(known, types, 3)})
        assert {change.property for change in found} == {key}, f"a change of {key} is seen, and nothing else"
        if key in OF_THE_VALUE.get(short(token), set()):
            continue
        announced = bool(known.get("willReplaceOnChanges")) or key in UNANNOUNCED.get(short(token), set())
        assert any(change.replace for change in found) is announced, key
    assert fields.changes(table, state, state) == [], "the same is no change"


@pytest.mark.parametrize("token", TYPES)
def test_what_the_schema_marks_secret_is_encrypted_in_the_state(official: dict[str, Any], token: str) -> None:
    theirs, types = of(official, token)["properties"], official["types"]
    held = {key: value(known, types, 1) for key, known in theirs.items()}
    sealed = {
        key for key, each in fields.sealed(RESOURCES[token].fields, held).items() if isinstance(each, Secret)
    }
    assert sealed == {key for key, known in theirs.items() if known.get("secret")}


@pytest.mark.parametrize("token", TYPES)
def test_a_preview_promises_what_only_the_cloud_tells(official: dict[str, Any], token: str) -> None:
    """Always told and never given: unknown until it is there, so that who depends on it waits."""
    known, table = of(official, token), RESOURCES[token].fields
    told = set(known["required"]) - set(known["inputProperties"])
    foreseen = fields.foretold(table, fields.planned(table, {}, {}))
    assert {key for key in told if foreseen.get(key) is not UNKNOWN} == set()
    for key in told:
        _, faults = fields.prepare(table, {key: "given"}, {}, lambda: "name")
        assert any(where == key for where, _ in faults), f"{key} can't be given"


@pytest.mark.parametrize("token", TYPES)
def test_defaults_are_filled_in_and_nothing_else_is(token: str) -> None:
    inputs, _ = fields.prepare(RESOURCES[token].fields, {}, {}, lambda: "own-name-1234567")
    filled = {key: each for key, each in inputs.items() if key not in (fields.DEFAULTS, "name")}
    assert filled == DEFAULTS.get(short(token), {})
    assert sorted(inputs[fields.DEFAULTS]) == sorted(set(inputs) - {fields.DEFAULTS})
