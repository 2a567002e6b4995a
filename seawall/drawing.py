"""The network as a picture: who may talk to whom, as declared. Plain SVG that takes its colours from where it stands.

Left, whoever comes from outside; then the load balancer; the VPC with its tiers; right, what hosts may ask of the
world. Each flow is an arrow with a number, and the table beside the picture says what the number means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

BEFORE, DOOR, AFTER = ("internet", "administrators"), "loadbalancer", ("packages", "dns", "time")
"""Where an endpoint stands: left, in the door, right. ``internet`` as a destination stands right as well."""

WIDTH, GAP, TOP = 190, 90, 56
LINE, HEAD = 20, 34
NAMES = {
    "loadbalancer": "load balancer",
    "dns": "name servers",
    "time": "time servers",
    "packages": "package sources",
}


@dataclass
class Box:
    """A place on the drawing; ``lines`` stand beneath its title."""

    key: str
    title: str
    lines: tuple[str, ...]
    x: int
    y: int
    outside: bool

    @property
    def height(self) -> int:
        return HEAD + LINE * len(self.lines) + 10

    @property
    def middle(self) -> int:
        return self.y + self.height // 2


def network(outputs: Mapping[str, Any], label: str = "Network as declared") -> str:
    """The drawing of a stack's outputs (``pulumi stack output``)."""
    flows = list(outputs.get("flows") or [])
    tiers = list(outputs.get("tiers") or {})
    droplets: Mapping[str, Any] = outputs.get("droplets") or {}
    sources, targets = {flow["from"] for flow in flows}, {flow["to"] for flow in flows}

    columns: list[list[tuple[str, str, tuple[str, ...], bool]]] = [
        [(name, name, _ranges(name, outputs), True) for name in BEFORE if name in sources],
        [(DOOR, NAMES[DOOR], (str(outputs.get("loadbalancer_ip") or ""),), True)]
        if DOOR in sources | targets
        else [],
        [(tier, tier, _members(tier, droplets), False) for tier in tiers],
        [(f"to:{name}", NAMES.get(name, name), (), True) for name in (*AFTER, "internet") if name in targets],
    ]
    boxes: dict[str, Box] = {}
    for number, column in enumerate(columns):
        y = TOP + 30
        for key, title, lines, outside in column:
            box = Box(key, title, lines, 20 + number * (WIDTH + GAP), y, outside)
            boxes[key] = box
            y = box.y + box.height + 34
    height = max((box.y + box.height for box in boxes.values()), default=TOP) + 50
    inside = [box for box in boxes.values() if not box.outside]
    parts = [_vpc(inside, str(outputs.get("vpc_range") or ""), height)] if inside else []
    parts += _arrows(flows, boxes, inside, height)
    parts += [_box(box) for box in boxes.values()]
    width = 40 + 4 * WIDTH + 3 * GAP
    return (
        f'<svg class="network" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}: {escape(_spoken(flows))}" font-family="inherit" font-size="13">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>'
        f"{''.join(parts)}</svg>"
    )


def _ranges(name: str, outputs: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(outputs.get("trusted_ranges") or ())[:4] if name == "administrators" else ()


def _members(tier: str, droplets: Mapping[str, Any]) -> tuple[str, ...]:
    names = [
        f"{name}  {held['private_ip']}" for name, held in sorted(droplets.items()) if held["tier"] == tier
    ]
    return (*names[:6], *([f"and {len(names) - 6} more"] if len(names) > 6 else []))


def _spoken(flows: Iterable[Mapping[str, Any]]) -> str:
    return "; ".join(f"{flow['from']} to {flow['to']} on {', '.join(flow['ports'])}" for flow in flows)


def _vpc(inside: list[Box], address: str, height: int) -> str:
    x = inside[0].x - 18
    return (
        f'<rect x="{x}" y="{TOP - 22}" width="{WIDTH + 36}" height="{height - TOP}" rx="10" fill="none" '
        f'stroke="currentColor" stroke-width="1.5" stroke-dasharray="7 5"/>'
        f'<text x="{x + 10}" y="{TOP - 4}" fill="currentColor" font-size="12">VPC {escape(address)}</text>'
    )


def _box(box: Box) -> str:
    shade = "0.04" if box.outside else "0.10"
    lines = "".join(
        f'<text x="{box.x + 12}" y="{box.y + HEAD + 8 + LINE * number}" fill="currentColor" font-size="12">'
        f"{escape(line)}</text>"
        for number, line in enumerate(box.lines)
    )
    return (
        f'<g><rect x="{box.x}" y="{box.y}" width="{WIDTH}" height="{box.height}" rx="7" fill="currentColor" '
        f'fill-opacity="{shade}" stroke="currentColor" stroke-width="1.2"/>'
        f'<text x="{box.x + 12}" y="{box.y + 22}" fill="currentColor" font-weight="600">{escape(box.title)}</text>'
        f"{lines}</g>"
    )


def _arrows(
    flows: list[Mapping[str, Any]], boxes: Mapping[str, Box], inside: list[Box], height: int
) -> list[str]:
    """One arrow a flow. ``all`` begins or ends at the VPC's edge. Labels along one edge stand apart."""
    drawn, used = [], {}
    if not inside:
        return []
    left, right = inside[0].x - 18, inside[0].x + WIDTH + 18
    for number, flow in enumerate(flows, 1):
        begin, end = boxes.get(flow["from"]), boxes.get(flow["to"]) or boxes.get(f"to:{flow['to']}")
        if (flow["from"] != "all" and not begin) or (flow["to"] != "all" and not end):
            continue
        if flow["to"] == "internet":
            end = boxes["to:internet"]
        tier_to_tier = end in inside and (begin in inside or flow["from"] == "all")
        if tier_to_tier:  # round the outside of the column, on its right
            y1 = begin.middle if begin else TOP + 6
            x1, x2, y2 = inside[0].x + WIDTH, inside[0].x + WIDTH, (end.middle if end else height - 40)
            if not begin:
                x1 = right
            bend = 44
            path = f"M{x1} {y1} C{x1 + bend} {y1} {x2 + bend} {y2} {x2 + 2} {y2}"
            label = (x2 + 26, (y1 + y2) // 2)
        else:
            x1 = begin.x + WIDTH if begin else right
            x2 = end.x if end else left
            y1 = begin.middle if begin else (end.middle if end else TOP)
            y2 = end.middle if end else (begin.middle if begin else TOP)
            path = f"M{x1} {y1} C{(x1 + x2) // 2} {y1} {(x1 + x2) // 2} {y2} {x2 - 2} {y2}"
            label = ((x1 + x2) // 2, (y1 + y2) // 2)
        while label in used:
            label = (label[0], label[1] + 22)
        used[label] = number
        drawn.append(
            f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1.4" marker-end="url(#tip)"/>'
            f'<circle cx="{label[0]}" cy="{label[1]}" r="10" class="bead" fill="canvas" stroke="currentColor"/>'
            f'<text x="{label[0]}" y="{label[1] + 4}" text-anchor="middle" fill="currentColor" font-size="11">'
            f"{number}</text>"
        )
    return drawn
