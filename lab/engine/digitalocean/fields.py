"""What a resource's properties are, and the decisions that follow: check, diff and plan, all without I/O.

The rules are those of the official provider (the Terraform one behind Pulumi's bridge), so that either can go
on from the other's state:

- Inputs carry ``__defaults``, the names that were filled in and not given; a default that was filled in once
  stays. Only defaults that are neither false, zero nor empty are filled in.
- A diff compares the *state* with the new inputs, never old inputs with new ones.
- ``computed``: where the program is silent, what the cloud says stands.
- ``stored``: some texts are kept in the state only as a hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.engine.digitalocean.wire import UNKNOWN, Secret

DEFAULTS = "__defaults"
META = "__meta"

Fields = Mapping[str, "Field"]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One property.

    type: string, integer, number, boolean, array or object; ``items`` and ``fields`` say what is inside.
    token: the name of an object's type in the schema.
    input: may be given; the others are only ever told.
    required: must be given. named: gets a unique name from the resource's own where none is given.
    computed: the cloud chooses where the program does not. sometimes: and does not always tell.
    default: what counts where the program says nothing and the cloud does not choose. filled: inputs show it.
    replace: a change makes a new resource. A function is given the old and the new value.
    secret: encrypted in the state, whatever the program says.
    unordered: an array in which order means nothing.
    stored: what the state keeps of the value (a hash, lower case). same: two values alike under this are equal.
    check: what is wrong with a value, or None.
    api: the name DigitalOcean gives it; the property's own in snake case otherwise, "" where it has none.
    """

    type: str = "string"
    items: Field | None = None
    fields: Fields | None = None
    token: str = ""
    input: bool = True
    required: bool = False
    named: bool = False
    computed: bool = False
    sometimes: bool = False
    default: Any = None
    filled: bool = True
    replace: bool | Callable[[Any, Any], bool] = False
    secret: bool = False
    unordered: bool = False
    stored: Callable[[str], str] | None = None
    same: Callable[[Any], Any] | None = None
    check: Callable[[Any], str | None] | None = None
    api: str | None = None


def text(**more: Any) -> Field:
    return Field(type="string", **more)


def integer(**more: Any) -> Field:
    return Field(type="integer", **more)


def flag(**more: Any) -> Field:
    return Field(type="boolean", **more)


def array(items: Field, **more: Any) -> Field:
    return Field(type="array", items=items, **more)


def unordered(items: Field, **more: Any) -> Field:
    return Field(type="array", items=items, unordered=True, **more)


def block(token: str, fields: Fields, **more: Any) -> Field:
    return Field(type="object", token=token, fields=fields, **more)


def told(type: str = "string", **more: Any) -> Field:
    """A property that is only ever told by the cloud."""
    return Field(type=type, input=False, computed=True, **more)


def name(**more: Any) -> Field:
    """The resource's name in the cloud."""
    return Field(named=True, check=not_empty, **more)


# What may be wrong with a value


def not_empty(value: Any) -> str | None:
    return "is empty" if value == "" else None


def one_of(*allowed: str, fold: bool = False) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        known = value.upper() in {word.upper() for word in allowed} if fold else value in allowed
        return None if known else f"is {value!r}; it can be {', '.join(allowed)}"

    return check


def between(low: int, high: int) -> Callable[[Any], str | None]:
    return lambda value: None if low <= value <= high else f"is {value}; it can be {low} to {high}"


def matches(pattern: str, meaning: str) -> Callable[[Any], str | None]:
    return lambda value: None if re.fullmatch(pattern, value) else f"is {value!r}; {meaning}"


def official_only(instead: str) -> Callable[[Any], str | None]:
    """For a property the official provider knows and this one refuses, rather than ignores."""
    return lambda value: f"needs the official DigitalOcean provider. {instead}"


def sha1(value: str) -> str:
    """How the official provider keeps long and secret texts in its state."""
    return hashlib.sha1(value.encode()).hexdigest()  # noqa: S324 - a format, not a protection


# Check


def prepare(
    fields: Fields, news: Mapping[str, Any], olds: Mapping[str, Any], autoname: Callable[[], str]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The inputs to go on with, defaults filled in, and what is wrong with them as (property, why)."""
    inputs = _prepare(fields, news, olds, autoname)
    return inputs, [*_faults(fields, inputs, "")]


def _prepare(
    fields: Fields, news: Mapping[str, Any], olds: Mapping[str, Any], autoname: Callable[[], str]
) -> dict[str, Any]:
    found = {
        key: _shape(fields.get(key), value, olds.get(key)) for key, value in news.items() if key != DEFAULTS
    }
    filled = olds.get(DEFAULTS)
    names = []
    for key, field in fields.items():
        if key in found or not field.input or not ((field.default and field.filled) or field.named):
            continue
        if key in olds and (filled is None or key in filled):
            found[key] = olds[key]
        else:
            found[key] = autoname() if field.named else field.default
        names.append(key)
    return {**found, DEFAULTS: sorted(names)}


def _shape(field: Field | None, value: Any, old: Any) -> Any:
    """A value in its field's type, as far as it can be had; the rest is a fault that ``_faults`` names."""
    if field is None or value is UNKNOWN:
        return value
    match field.type, value:
        case "string", bool():
            return str(value).lower()
        case "string", int() | float():
            return str(value)
        case "integer", str() if re.fullmatch(r"-?\d+", value):
            return int(value)
        case "boolean", "true" | "false":
            return value == "true"
        case "array", list():
            before = old if isinstance(old, list) else []
            return [
                _shape(field.items, item, before[i] if i < len(before) else None)
                for i, item in enumerate(value)
            ]
        case "object", dict():
            assert field.fields is not None
            return _prepare(field.fields, value, old if isinstance(old, dict) else {}, str)
    return value


PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def _faults(fields: Fields, inputs: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    for key in inputs.keys() - fields.keys() - {DEFAULTS}:
        yield where + key, "is no property this provider knows"
    for key, field in fields.items():
        value = inputs.get(key)
        if value is None:
            if field.required:
                yield where + key, "is missing"
        elif not field.input:
            yield where + key, "is told by the cloud and cannot be given"
        else:
            yield from _fault(field, value, where + key)


def _fault(field: Field, value: Any, where: str) -> Iterator[tuple[str, str]]:
    if value is UNKNOWN:
        return
    right = isinstance(value, PYTHON_TYPES[field.type]) and (
        field.type == "boolean" or not isinstance(value, bool)
    )
    if not right:
        yield where, f"is {type(value).__name__}, not {field.type}"
    elif field.check and (wrong := field.check(value)):
        yield where, wrong
    elif field.type == "array":
        assert field.items is not None
        for i, item in enumerate(value):
            yield from _fault(field.items, item, f"{where}[{i}]")
    elif field.type == "object":
        assert field.fields is not None
        yield from _faults(field.fields, value, where + ".")


def sealed(fields: Fields, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties with those marked that must be secret in the state."""
    return {
        key: Secret(value) if key in fields and fields[key].secret and value is not None else value
        for key, value in properties.items()
    }


# Diff


@dataclass(frozen=True)
class Change:
    """One difference: where, ``add``, ``update`` or ``delete``, and whether it takes a new resource."""

    path: str
    kind: str
    replace: bool = False

    @property
    def property(self) -> str:
        """The resource's property it lies in."""
        return re.split(r"[.\[]", self.path)[0]


def changes(fields: Fields, state: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[Change]:
    """What has to change for ``state`` to be as ``inputs`` say."""
    return [
        change
        for key, field in fields.items()
        if field.input
        for change in _changes(key, field, state.get(key), inputs.get(key))
    ]


def _changes(key: str, field: Field, old: Any, new: Any) -> Iterator[Change]:
    if new is None:
        if field.computed:
            return
        new = field.default
    if _same(field, old, new):
        return
    replace = field.replace(old, new) if callable(field.replace) else field.replace
    if field.type != "array" or not old or not new or new is UNKNOWN:
        kind = "add" if _empty(old) else "delete" if _empty(new) else "update"
        yield Change(key, kind, replace)
        return
    assert field.items is not None
    before, after = ([_canonical(field.items, item) for item in side] for side in (old, new))
    if field.unordered:
        gone = {i for i, item in enumerate(before) if item not in after}
        come = {i for i, item in enumerate(after) if item not in before}
    else:
        gone = {i for i, item in enumerate(before) if i >= len(after) or after[i] != item}
        come = {i for i, item in enumerate(after) if i >= len(before) or before[i] != item}
    for i in sorted(gone | come):
        kind = "update" if i in gone and i in come else "add" if i in come else "delete"
        yield Change(f"{key}[{i}]", kind, replace)


def _empty(value: Any) -> bool:
    """Absent, or as good as: Terraform's plan does not tell an unset value from a zero one."""
    return value is None or value is False or value in ("", 0, [], {})


def _same(field: Field, old: Any, new: Any) -> bool:
    if new is UNKNOWN:
        return False
    if _empty(old) and _empty(new):
        return True
    if field.stored and isinstance(new, str) and old in (field.stored(new), new):
        return True
    return _canonical(field, old) == _canonical(field, new)


def _canonical(field: Field, value: Any) -> str:
    """A text equal for equal values, however they are spelt."""
    return json.dumps(_reduced(field, value), sort_keys=True, default=repr)


def _reduced(field: Field, value: Any) -> Any:
    if field.same and value is not UNKNOWN and value is not None:
        value = field.same(value)
    if field.type == "array" and isinstance(value, list):
        assert field.items is not None
        items = [_reduced(field.items, item) for item in value]
        return (
            sorted(items, key=lambda item: json.dumps(item, sort_keys=True, default=repr))
            if field.unordered
            else items
        )
    if field.type == "object" and isinstance(value, dict):
        assert field.fields is not None
        inside = {
            key: _reduced(inner, value.get(key, inner.default))
            for key, inner in field.fields.items()
            if inner.input
        }
        return {key: item for key, item in inside.items() if not _empty(item)}
    return value


# Plan


def planned(fields: Fields, state: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs in effect: as given, by default, or as the cloud had chosen before."""
    found = {}
    for key, field in fields.items():
        if field.input:
            value = inputs.get(key)
            if value is None:
                value = state.get(key) if field.computed else field.default
            if value is not None:
                found[key] = bare(value)
    return found


def bare(value: Any) -> Any:
    """A value without the names of filled-in defaults."""
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items() if key != DEFAULTS}
    return [bare(item) for item in value] if isinstance(value, list) else value


def kept(fields: Fields, plan: Mapping[str, Any]) -> dict[str, Any]:
    """What the state keeps of a plan."""
    found = dict(plan)
    for key, field in fields.items():
        value = found.get(key)
        if field.stored and isinstance(value, str):
            found[key] = field.stored(value)
    return found


def foretold(fields: Fields, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a resource that will be created, as far as a preview can say."""
    return {key: UNKNOWN for key, field in fields.items() if field.computed} | kept(fields, plan)


# Read


def refreshed(fields: Fields, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs after a refresh: those there were, with what the cloud now says of them."""
    found = {}
    for key, value in inputs.items():
        if key == DEFAULTS:
            continue
        field, now = fields.get(key), state.get(key)
        if field is None or now is None:
            continue
        found[key] = value if field.stored or _same(field, now, value) else now
    unchanged = [key for key in inputs.get(DEFAULTS, []) if key in found and found[key] == inputs[key]]
    return {**found, DEFAULTS: unchanged} if unchanged else found


def imported(fields: Fields, state: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs a program would need to declare what is there: all that is not a default."""
    found = {}
    for key, field in fields.items():
        value = state.get(key)
        wanted = field.required or field.named or not (_empty(value) or value == field.default)
        if field.input and value is not None and wanted:
            found[key] = _imported(field, value)
    return {**found, DEFAULTS: []}


def _imported(field: Field, value: Any) -> Any:
    if field.type == "object" and isinstance(value, dict):
        assert field.fields is not None
        return imported(field.fields, value)
    if field.type == "array" and isinstance(value, list):
        assert field.items is not None
        return [_imported(field.items, item) for item in value]
    return value


def snake(word: str) -> str:
    """``vpcUuid`` as DigitalOcean spells it: ``vpc_uuid``."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", word).lower()
