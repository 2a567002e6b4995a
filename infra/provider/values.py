"""Between Pulumi's property values and plain Python ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.rpc import UNKNOWN

Properties = dict[str, PropertyValue]


def plain(value: PropertyValue | Properties) -> Any:
    """A property value, or a map of them, as Python has it: whole numbers are ``int``, the unknown is ``UNKNOWN``."""
    held = value.value if isinstance(value, PropertyValue) else value
    if isinstance(held, Mapping):
        return {key: plain(each) for key, each in held.items()}
    if isinstance(held, Sequence) and not isinstance(held, str):
        return [plain(each) for each in held]
    if isinstance(held, float) and held.is_integer():
        return int(held)
    return held


def property_value(value: Any) -> PropertyValue:
    """The other way. Entries that are None are left out, as the engine does."""
    if isinstance(value, Mapping):
        return PropertyValue(properties(value))
    if isinstance(value, list | tuple):
        return PropertyValue([property_value(each) for each in value])
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value))
    return PropertyValue(value)


def properties(values: Mapping[str, Any]) -> Properties:
    return {key: property_value(each) for key, each in values.items() if each is not None}


def unknown(value: Any) -> bool:
    """Whether a preview can't know ``value`` yet, or some of it."""
    if isinstance(value, Mapping):
        return any(map(unknown, value.values()))
    if isinstance(value, list | tuple):
        return any(map(unknown, value))
    return isinstance(value, str) and UNKNOWN in value


def honest(value: Any) -> Any:
    """``value`` where a text made with something unknown (``…/32``) is itself unknown."""
    if isinstance(value, Mapping):
        return {key: honest(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [honest(each) for each in value]
    return UNKNOWN if unknown(value) else value
