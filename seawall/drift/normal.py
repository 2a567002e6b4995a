"""Normal forms: what says the same looks the same. Pure; what is compared is the text a person reads, too.

The known false alarms end here: rules in another order or split otherwise, ports as ``all``, ``0`` or ``1-65535``,
addresses with or without their length, tags in another case, absent and default values.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from typing import Any

Rules = frozenset[str]

ENDS = {
    "addresses": "",
    "tags": "tag ",
    "droplet_ids": "droplet ",
    "load_balancer_uids": "load balancer ",
    "kubernetes_ids": "cluster ",
}
"""How each kind of a rule's other end reads."""

ALL = (1, 65535)


def firewall_rules(rules: Iterable[Mapping[str, Any]], direction: str) -> Rules:
    """Firewall rules (as the API writes them) as a set of sentences, ``tcp 22 from 203.0.113.7/32``.

    Two lists of rules are equal exactly if they let the same through: a rule with two addresses is two rules with one
    each, and neighbouring ports are a range. Fields that nobody knew (``action``) make a rule another rule.
    """
    end, word = ("sources", "from") if direction == "in" else ("destinations", "to")
    ports: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for rule in rules:
        more = {
            name: value
            for name, value in rule.items()
            if name not in ("protocol", "ports", end) and not _nothing(value)
        }
        extra = f", {json.dumps(more, sort_keys=True)}" if more else ""
        for other in _ends(rule.get(end) or {}):
            ports.setdefault((str(rule.get("protocol")).lower(), other, extra), []).append(_span(rule))
    return frozenset(
        f"{protocol}{_text(span)} {word} {other}{extra}"
        for (protocol, other, extra), spans in ports.items()
        for span in _merged(spans)
    )


def _ends(end: Mapping[str, Any]) -> list[str]:
    found = []
    for name, values in end.items():
        for value in values if isinstance(values, list | tuple) else [values]:
            if name == "addresses":
                found.append(network(str(value)))
            elif name == "tags":
                found.append(f"tag {str(value).lower()}")
            elif not _nothing(value):
                found.append(f"{ENDS.get(name, name + ' ')}{value}")
    return sorted(set(found)) or ["nobody"]


def _span(rule: Mapping[str, Any]) -> tuple[int, int]:
    text = str(rule.get("ports") or "0").strip().lower()
    if rule.get("protocol") == "icmp" or text in ("0", "all", "1-65535", "0-65535"):
        return ALL
    first, _, last = text.partition("-")
    try:
        return int(first), int(last or first)
    except ValueError:
        return -1, -1  # nothing the API would take; equal to nothing that is declared


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def _text(span: tuple[int, int]) -> str:
    if span == ALL:
        return ""
    return f" {span[0]}" if span[0] == span[1] else f" {span[0]}-{span[1]}"


def network(text: str) -> str:
    """An address or range in its one spelling: ``203.0.113.7`` is ``203.0.113.7/32``."""
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        return text.strip()


def sources(values: Iterable[str] | None) -> Rules:
    """A load balancer's ``ip:…`` and ``cidr:…``."""
    return frozenset(network(str(value).partition(":")[2]) for value in values or ())


def lower(values: Iterable[Any] | None) -> Rules:
    return frozenset(str(value).lower() for value in values or ())


def texts(values: Iterable[Any] | None) -> Rules:
    return frozenset(map(str, values or ()))


def public_key(text: str) -> str:
    """A key without its comment, which is no part of it."""
    return " ".join(text.split()[:2])


def forwarding_rules(rules: Iterable[Mapping[str, Any]], certificates: Mapping[str, str]) -> Rules:
    """A load balancer's forwarding rules as sentences; ``certificates`` is id → name."""
    found = set()
    for rule in rules:
        known = ("entry_protocol", "entry_port", "target_protocol", "target_port", "certificate_id")
        text = "{entry_protocol} {entry_port} to {target_protocol} {target_port}".format_map(
            {name: rule.get(name, "") for name in known}
        )
        if certificate := rule.get("certificate_id"):
            text += f", certificate {certificates.get(str(certificate), certificate)}"
        for name, value in sorted(rule.items()):
            if name not in known and not _nothing(value):
                text += f", {name} {value}"
        found.add(text)
    return frozenset(found)


def _nothing(value: Any) -> bool:
    """What an API answers for a field that isn't set."""
    return value is None or value is False or value in ("", 0) or value == [] or value == {}


def unknown(live: Mapping[str, Any], known: Iterable[str]) -> dict[str, str]:
    """Fields of a live object that nobody knew and that hold something."""
    names = set(known)
    return {
        name: json.dumps(value, sort_keys=True)
        for name, value in sorted(live.items())
        if name not in names and not _nothing(value)
    }
