"""Our tables in the form of a Pulumi package schema, as far as they go: names, types, secrets, replacements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lab.engine import PROVIDER_VERSION
from lab.engine.digitalocean.fields import Field, Fields
from lab.engine.digitalocean.resource import Resource

PACKAGE = "digitalocean"


def schema(resources: Iterable[Resource]) -> dict[str, Any]:
    """The package's schema."""
    types: dict[str, Any] = {}
    return {
        "name": PACKAGE,
        "version": PROVIDER_VERSION,
        "resources": {resource.token: _resource(resource, types) for resource in resources},
        "types": types,
    }


def _resource(resource: Resource, types: dict[str, Any]) -> dict[str, Any]:
    given = {key: field for key, field in resource.fields.items() if field.input}
    return {
        "inputProperties": {
            key: _property(field, types) | ({"willReplaceOnChanges": True} if field.replace is True else {})
            for key, field in given.items()
        },
        "requiredInputs": [key for key, field in given.items() if field.required],
        "properties": {key: _property(field, types) for key, field in resource.fields.items()},
        "required": [key for key, field in resource.fields.items() if _always(field)],
    }


def _always(field: Field) -> bool:
    return field.required or field.named or (field.computed and not field.sometimes)


def _property(field: Field, types: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if field.type == "array":
        assert field.items is not None
        found = {"type": "array", "items": _property(field.items, types)}
    elif field.type == "object" and field.items is not None:
        found = {"type": "object", "additionalProperties": _property(field.items, types)}
    elif field.type == "object":
        found = {"$ref": f"#/types/{_nested(field.token, field.fields or {}, types)}"}
    else:
        found = {"type": field.type}
    return found | ({"secret": True} if field.secret else {})


def _nested(name: str, fields: Fields, types: dict[str, Any]) -> str:
    token = f"{PACKAGE}:index/{name}:{name}"
    types[token] = {
        "type": "object",
        "properties": {key: _property(field, types) for key, field in fields.items()},
        "required": [key for key, field in fields.items() if field.required],
    }
    return token
