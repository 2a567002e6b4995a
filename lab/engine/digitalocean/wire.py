"""Pulumi's property values as plain Python values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value
from pulumi.runtime import rpc


class Unknown:
    """A value that only the cloud will say, met in previews."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value the engine has to encrypt in its state. Only ever sent: the engine hands us values in the clear."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(…)"


def read(properties: Struct) -> dict[str, Any]:
    """The properties of a request. Nulls are left out: an absent property and a null one mean the same."""
    return {name: found for name, value in properties.fields.items() if (found := _read(value)) is not None}


def _read(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value == rpc.UNKNOWN else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_read(item) for item in value.list_value.values]
    if kind == "struct_value":
        fields = value.struct_value.fields
        if (
            rpc._special_sig_key in fields
            and fields[rpc._special_sig_key].string_value == rpc._special_secret_sig
        ):
            return _read(fields["value"])
        return read(value.struct_value)
    return None


def write(properties: Mapping[str, Any]) -> Struct:
    """The properties of an answer. None is left out."""
    return Struct(fields={name: _write(value) for name, value in properties.items() if value is not None})


def _write(value: Any) -> Value:
    match value:
        case Unknown():
            return Value(string_value=rpc.UNKNOWN)
        case Secret():
            sealed = {
                rpc._special_sig_key: Value(string_value=rpc._special_secret_sig),
                "value": _write(value.value),
            }
            return Value(struct_value=Struct(fields=sealed))
        case bool():
            return Value(bool_value=value)
        case int() | float():
            return Value(number_value=value)
        case str():
            return Value(string_value=value)
        case list() | tuple():
            return Value(list_value=ListValue(values=[_write(item) for item in value]))
        case Mapping():
            return Value(struct_value=write(value))
        case None:
            return Value(null_value=NULL_VALUE)
    raise TypeError(f"no property value can be made of {type(value).__name__}")
