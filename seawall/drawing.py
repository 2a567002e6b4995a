"""The network as a picture: who may talk to whom. Plain SVG that takes its colours from where it stands.

Left, whoever comes from outside; then the load balancers; the VPC with its tiers; right, what hosts may ask of the
world. Every opening is an arrow with a number just before its tip, and the table beside the picture says what the
number means. What is for every tier begins or ends at a rail along all of them. Lines turn in lanes of their own, so
that none runs along another and none crosses a box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

State = Literal["declared", "missing", "stranger"]
"""An opening as declared, one that is declared and not there, one that is there and declared nowhere."""

ALL, DOOR = "all", "loadbalancer"
BEFORE, AFTER = ("internet", "administrators"), ("packages", "dns", "time", "internet")
"""Where an endpoint stands: sources left, destinations right."""
NAMES = {
    "dns": "name servers",
    "internet": "the internet",
    "loadbalancer": "load balancer",
    "packages": "package sources",
    "time": "time servers",
}

WIDTH, TIER_WIDTH, RAIL = 176, 216, 8
MARGIN, PAD, TOP = 16, 24, 46
LANE, STEP, BEAD = 22, 26, 10
"""Between two lanes, between two ends of lines at one side of a box, and a number's radius."""
HEAD, LINE, BETWEEN = 34, 19, 26


@dataclass(frozen=True)
class Place:
    """A box: ``lines`` stand beneath its title. A ``stranger`` is nothing that was declared."""

    key: str
    title: str
    lines: tuple[str, ...] = ()
    state: State = "declared"


@dataclass(frozen=True)
class Arrow:
    """An opening between two places by their keys, ``all`` being every tier; ``number`` is its row in the table."""

    source: str
    target: str
    number: int
    state: State = "declared"


@dataclass(frozen=True)
class Picture:
    """What is drawn. ``doors`` are load balancers; ``beside`` other VPCs, which nothing connects."""

    vpc: str
    before: Sequence[Place]
    doors: Sequence[Place]
    tiers: Sequence[Place]
    after: Sequence[Place]
    arrows: Sequence[Arrow]
    beside: Sequence[Place] = ()
    label: str = "Network"
    spoken: str = ""


def network(outputs: Mapping[str, Any], label: str = "Network as declared") -> str:
    """The drawing of a stack's outputs (``pulumi stack output``)."""
    return draw(declared(outputs, label))


def declared(outputs: Mapping[str, Any], label: str = "Network as declared") -> Picture:
    """A stack's outputs as a picture: its flows are the only openings."""
    flows = list(outputs.get("flows") or [])
    tiers = list(outputs.get("tiers") or {})
    sources, targets = {flow["from"] for flow in flows}, {flow["to"] for flow in flows}
    address = str(outputs.get("loadbalancer_ip") or "")
    return Picture(
        vpc=f"VPC {outputs.get('vpc_range') or ''}",
        before=[
            Place(name, NAMES.get(name, name), ranges(name, outputs)) for name in BEFORE if name in sources
        ],
        doors=[Place(DOOR, NAMES[DOOR], (address,) if address else ())] if DOOR in sources | targets else [],
        tiers=[Place(tier, tier, members(tier, outputs.get("droplets") or {})) for tier in tiers],
        after=[Place(f"to:{name}", NAMES[name]) for name in AFTER if name in targets],
        arrows=[Arrow(flow["from"], end(flow["to"]), number) for number, flow in enumerate(flows, 1)],
        label=label,
        spoken="; ".join(f"{flow['from']} to {flow['to']} on {', '.join(flow['ports'])}" for flow in flows),
    )


def end(target: str) -> str:
    """The key of a flow's destination: what lies outside stands right, even if it stands left as a source."""
    return f"to:{target}" if target in AFTER else target


def ranges(name: str, outputs: Mapping[str, Any]) -> tuple[str, ...]:
    return few(outputs.get("trusted_ranges") or (), 4) if name == "administrators" else ()


def members(tier: str, droplets: Mapping[str, Any]) -> tuple[str, ...]:
    held = sorted((name, droplet) for name, droplet in droplets.items() if droplet["tier"] == tier)
    return few([f"{name}  {droplet['private_ip']}" for name, droplet in held], 6)


def few(items: Iterable[str], most: int) -> tuple[str, ...]:
    """As many as fit, and how many more there are."""
    items = tuple(items)
    return items if len(items) <= most else (*items[: most - 1], f"and {len(items) - most + 1} more")


def draw(picture: Picture) -> str:
    """The picture as SVG."""
    return _Layout(picture).svg()


@dataclass
class _Box:
    """A place with its place. ``used`` counts the ends of lines at its left and right side."""

    place: Place
    x: int
    y: int
    width: int
    height: int
    used: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def side(self, which: Literal["left", "right"]) -> int:
        """The height at which the next line ends at a side; all of a side are evenly spread."""
        self.used[which] += 1
        return self.y + self.height * self.used[which] // (self.ends[which] + 1)


class _Layout:
    """Boxes by column, then lines. Gaps are as wide as the lanes in them."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.left = {place.key for place in picture.before}
        self.door = {place.key for place in picture.doors}
        self.tier = {place.key for place in picture.tiers}
        self.right = {place.key for place in picture.after}
        known = self.left | self.door | self.tier | self.right | {ALL}
        self.arrows = [arrow for arrow in picture.arrows if arrow.source in known and arrow.target in known]
        self.boxes: dict[str, _Box] = {}
        self.parts: list[str] = []
        self._columns()

    # Where everything stands

    def _columns(self) -> None:
        inside = self.tier | {ALL}
        to_rail = any(a.target == ALL and a.source not in inside for a in self.arrows)
        from_rail = any(ALL in (a.source, a.target) and a.source in inside for a in self.arrows)
        turning = self._count(lambda a: a.source in self.left and a.target in self.door)
        entering = self._count(lambda a: a.target in self.tier and a.source in self.left | self.door)
        leaving = self._count(lambda a: a.source in self.tier and a.target in self.door)
        inner = self._count(lambda a: a.source in self.tier and a.target in self.tier)
        outward = self._count(lambda a: a.source in self.tier and a.target in self.right)
        columns = bool(self.left), bool(self.door)
        self.x_door = MARGIN + (WIDTH + 44 + LANE * (turning + 1) if columns[0] else 0)
        self.x_vpc = self.x_door + (WIDTH if columns[1] else 0) + 30 + LANE * (entering + leaving + 1)
        self.x_rail = self.x_vpc + (48 if to_rail else PAD)
        self.x_tiers = self.x_rail + (RAIL + 54 if to_rail else 0)
        self.x_inner = self.x_tiers + TIER_WIDTH + 44
        self.x_rail_out = self.x_inner + LANE * inner
        self.x_end = self.x_rail_out + (RAIL + 34 if from_rail else PAD)
        self.x_after = self.x_end + 44 + LANE * (outward + 1)
        self.to_rail, self.from_rail = to_rail, from_rail
        self.lane = {
            "turn": MARGIN + WIDTH + 22,
            "enter": self.x_door + (WIDTH if columns[1] else 0) + 22,
            "inner": self.x_inner,
            "out": self.x_end + 18,
        }

        ends = self._ends()
        y = self._stack(self.picture.tiers, self.x_tiers, TOP + PAD + 16, TIER_WIDTH, ends)
        top = TOP + PAD + 16
        door_end = self._stack(self.picture.doors, self.x_door, top, WIDTH, ends)
        # Whoever goes past the load balancers stands below them.
        past = {a.source for a in self.arrows if a.source in self.left and a.target not in self.door}
        first = [p for p in self.picture.before if p.key not in past or not self.door]
        low = self._stack(first, MARGIN, top, WIDTH, ends)
        rest = [p for p in self.picture.before if p not in first]
        low = self._stack(rest, MARGIN, max(low, door_end), WIDTH, ends)
        self.under = door_end - BETWEEN // 2
        high = self._stack(self.picture.after, self.x_after, top, WIDTH, ends)
        self.bottom = max(y, low, high, door_end) - BETWEEN + PAD
        below = self._stack(self.picture.beside, self.x_vpc, self.bottom + BETWEEN, TIER_WIDTH + 60, ends)
        self.height = (below - BETWEEN if self.picture.beside else self.bottom) + MARGIN
        self.width = (self.x_after + WIDTH if self.right else self.x_end) + MARGIN

    def _count(self, wanted: Any) -> int:
        return sum(1 for arrow in self.arrows if wanted(arrow))

    def _ends(self) -> Counter[tuple[str, str]]:
        """How many lines end at each side of each place."""
        found: Counter[tuple[str, str]] = Counter()
        for arrow in self.arrows:
            for key, side in zip((arrow.source, arrow.target), self._sides(arrow), strict=True):
                found[key, side] += 1
        return found

    def _sides(self, arrow: Arrow) -> tuple[Literal["left", "right"], Literal["left", "right"]]:
        inside = self.tier | {ALL}
        if arrow.source in inside and arrow.target in inside:
            return "right", "right"
        if arrow.source in inside and arrow.target in self.door:
            return "left", "right"
        return "right", "left"

    def _stack(
        self, places: Iterable[Place], x: int, y: int, width: int, ends: Counter[tuple[str, str]]
    ) -> int:
        """Boxes one below the other; where the next would stand."""
        for place in places:
            text = HEAD + LINE * len(place.lines) + (8 if place.lines else 4)
            lines = STEP * (max(ends[place.key, "left"], ends[place.key, "right"]) + 1)
            box = _Box(place, x, y, width, max(text, lines))
            box.ends.update({side: ends[place.key, side] for side in ("left", "right")})
            self.boxes[place.key] = box
            y += box.height + BETWEEN
        return y

    # Lines

    def _next(self, lane: str) -> int:
        self.lane[lane] += LANE
        return self.lane[lane] - LANE

    def _route(self, arrow: Arrow) -> list[tuple[int, int]]:
        """The corners of an arrow, source first."""
        begin, finish = self.boxes.get(arrow.source), self.boxes.get(arrow.target)
        sides = self._sides(arrow)
        start = (
            (begin.x + (begin.width if sides[0] == "right" else 0), begin.side(sides[0])) if begin else None
        )
        stop = (
            (finish.x + (finish.width if sides[1] == "right" else 0), finish.side(sides[1]))
            if finish
            else None
        )
        if start and stop:
            if begin and finish and sides != ("right", "right") and _level(start[1], finish, sides[1]):
                stop = (stop[0], start[1])  # straight, rather than with a small kink
            if arrow.source in self.left and arrow.target in self.door:
                lane = self._next("turn")
            elif sides[1] == "right" and arrow.target in self.tier:
                lane = self._next("inner")
            elif arrow.target in self.right and arrow.source in self.tier:
                lane = self._next("out")
            else:
                lane = self._next("enter")
            return [start, (lane, start[1]), (lane, stop[1]), stop]
        if start:  # to every tier: the rail on the left, or, from inside, the one on the right
            x = self.x_rail if arrow.source not in self.tier else self.x_rail_out
            return [start, (x, start[1])]
        if stop:  # from every tier
            x = self.x_rail_out + RAIL if arrow.target in self.right else self.x_rail_out
            return [(x, stop[1]), stop]
        # from every tier to every tier: out of the rail and back into it
        x, y = self.x_rail_out, self.bottom - PAD - STEP
        return [(x, y), (x - LANE, y), (x - LANE, y + STEP // 2), (x, y + STEP // 2)]

    def _arrow(self, arrow: Arrow) -> str:
        points = self._route(arrow)
        path = _rounded(points)
        (x1, _), (x, y) = points[-2], points[-1]
        bead = x + (26 if x1 > x else -26)
        dashes = ' stroke-dasharray="6 4"' if arrow.state == "missing" else ""
        return (
            f'<g class="flow {arrow.state}"{_ink(arrow.state)}>'
            f'<path class="halo" d="{path}" fill="none" stroke="canvas" stroke-width="6"/>'
            f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1.5"{dashes}/>{_tip(x, y, x1 > x)}'
            f'<circle cx="{bead}" cy="{y}" r="{BEAD}" class="bead" fill="canvas" stroke="currentColor"/>'
            f'<text x="{bead}" y="{y + 4}" text-anchor="middle" fill="currentColor" font-size="11" '
            f'font-weight="600">{arrow.number}</text></g>'
        )

    # Ink

    def svg(self) -> str:
        picture = self.picture
        label = f"{picture.label}: {picture.spoken}" if picture.spoken else picture.label
        parts = [self._frame()] if self.tier else []
        lines = [self._arrow(arrow) for arrow in self.arrows]
        boxes = [self._box(box) for box in self.boxes.values()]
        return (
            f'<svg class="network" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'role="img" aria-label="{escape(label)}" font-family="inherit" font-size="13.5">'
            f"{''.join([*parts, *self._rails(), *lines, *boxes])}</svg>"
        )

    def _frame(self) -> str:
        return (
            f'<g class="vpc"><rect x="{self.x_vpc}" y="{TOP}" width="{self.x_end - self.x_vpc}" '
            f'height="{self.bottom - TOP}" rx="12" fill="currentColor" fill-opacity="0.025" stroke="currentColor" '
            f'stroke-opacity="0.55" stroke-width="1.3" stroke-dasharray="7 5"/>'
            f'<text x="{self.x_vpc + 14}" y="{TOP - 10}" fill="currentColor" font-size="13" font-weight="600">'
            f"{escape(self.picture.vpc)}</text></g>"
        )

    def _rails(self) -> list[str]:
        """What stands for every tier."""
        found, tall = [], self.bottom - TOP - 2 * PAD
        for there, x in ((self.to_rail, self.x_rail), (self.from_rail, self.x_rail_out)):
            if there:
                found.append(
                    f'<g class="rail"><rect x="{x}" y="{TOP + PAD}" width="{RAIL}" height="{tall}" '
                    f'rx="4" fill="currentColor" fill-opacity="0.75"/>'
                    f'<text x="{x + RAIL // 2}" y="{TOP + PAD - 7}" text-anchor="middle" fill="currentColor" '
                    f'font-size="11">every tier</text></g>'
                )
        return found

    def _box(self, box: _Box) -> str:
        place = box.place
        kind = "tier" if place.key in self.tier else "door" if place.key in self.door else "outside"
        shade = {"tier": "0.10", "door": "0.07", "outside": "0.03"}[kind]
        fit = box.width // 7 - 3
        shape = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="8"'
        lines = "".join(
            f'<text x="{box.x + 14}" y="{box.y + HEAD + 10 + LINE * number}" fill="currentColor" font-size="12.5" '
            f'fill-opacity="0.85">{_fitting(line, fit + 2)}</text>'
            for number, line in enumerate(place.lines)
        )
        return (
            f'<g class="{kind} {place.state}"{_ink(place.state)}>'
            f'<rect class="ground" {shape} fill="canvas"/><rect {shape} fill="currentColor" '
            f'fill-opacity="{shade}" stroke="currentColor" stroke-width="1.3"/>'
            f'<text x="{box.x + 14}" y="{box.y + 24}" fill="currentColor" font-weight="650">'
            f"{_fitting(place.title, fit)}</text>{lines}</g>"
        )


INK = {"missing": "#8a5a0f", "stranger": "#c0362c"}


def _ink(state: State) -> str:
    return f' color="{INK[state]}"' if state in INK else ""


def _level(y: int, box: _Box, side: Literal["left", "right"]) -> bool:
    """Whether a box's only line at a side may as well end at ``y``."""
    return box.ends[side] == 1 and box.y + BEAD < y < box.y + box.height - BEAD


def _fitting(text: str, most: int) -> str:
    """Text that fits; whole when pointed at."""
    if len(text) <= most:
        return escape(text)
    return f"{escape(text[: most - 1])}…<title>{escape(text)}</title>"


def _tip(x: int, y: int, leftward: bool) -> str:
    back = 9 if leftward else -9
    return f'<path d="M{x} {y}l{back} -4.5v9z" fill="currentColor"/>'


def _rounded(points: Sequence[tuple[int, int]], radius: int = 9) -> str:
    """A line through ``points``, which go across and up or down in turn, with round corners."""
    path = f"M{points[0][0]} {points[0][1]}"
    for before, at, after in zip(points, points[1:], points[2:], strict=False):
        into = min(radius, (abs(at[0] - before[0]) + abs(at[1] - before[1])) // 2)
        out = min(radius, (abs(after[0] - at[0]) + abs(after[1] - at[1])) // 2)
        turn = min(into, out)
        path += f" L{_towards(at, before, turn)} Q{at[0]} {at[1]} {_towards(at, after, turn)}"
    return f"{path} L{points[-1][0]} {points[-1][1]}"


def _towards(at: tuple[int, int], other: tuple[int, int], by: int) -> str:
    sign = lambda n: (n > 0) - (n < 0)  # noqa: E731
    return f"{at[0] + by * sign(other[0] - at[0])} {at[1] + by * sign(other[1] - at[1])}"
