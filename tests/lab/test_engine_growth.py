"""What Pulumi's part costs from six droplets to thirty, in six tiers, on the record-only API: with `make soak`.

On the API and the stack of test_engine_faults.py, which this module starts anew. The figures are printed, and drawn
into growth.svg beside docs/benchmarks.md, where they are told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

import pytest
import yaml

from seawall.places import CHECKOUT
from seawall.progress import Progress
from tests.lab.test_engine_faults import World, world  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(not os.environ.get("SEAWALL_SOAK"), reason="part of `make soak`")

TIERS = ("edge", "app", "vault", "db", "logs", "admin")
COLOURS = {"preview": "#888", "up": "#06c", "unchanged up": "#393", "refresh": "#c60", "destroy": "#c03"}


def declare(world: World, each: int) -> None:  # noqa: F811
    """``each`` droplets a tier; between tiers only what every stack needs."""
    document = yaml.safe_load(world.stack.settings.read_text())
    config = document["config"]
    shape = {"size": "s-1vcpu-1gb", "image": "debian-12-x64", "count": each}
    serves = {"app": {"serves": ["web"]}, "logs": {"serves": ["logs"]}}
    config["seawall:tiers"] = {tier: shape | serves.get(tier, {}) for tier in TIERS}
    world.stack.settings.write_text(yaml.safe_dump(document))


def test_growth_is_told_and_drawn(world):  # noqa: F811
    measured: dict[int, dict[str, float]] = {}
    for each in range(1, 6):
        declare(world, each)
        took = measured[each * len(TIERS)] = {}
        with Progress().phase("pulumi") as phase:
            world.engine.ensure()
            took["preview"] = timed(lambda: world.engine.ask("preview"))
            took["up"] = timed(lambda p=phase: world.engine.up(p))
            took["unchanged up"] = timed(lambda p=phase: world.engine.up(p))
            took["refresh"] = timed(lambda: world.engine.ask("refresh", "--yes", "--skip-preview"))
        there = world.there()
        assert there == world.known()
        assert len(there["Droplet"]) == each * len(TIERS)
        assert len(there["Firewall"]) == len(TIERS) + 1, "one a tier, however many droplets"
    with Progress().phase("destroy") as phase:
        measured[max(measured)]["destroy"] = timed(lambda: world.engine.destroy(phase))
    print(table(measured))
    (CHECKOUT / "docs" / "growth.svg").write_text(drawn(measured))


def timed(act) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def table(measured: dict[int, dict[str, float]]) -> str:
    rows = [
        f"| {number} | "
        + " | ".join(f"{took.get(name, 0):.1f} s" if name in took else "" for name in COLOURS)
        + " |"
        for number, took in measured.items()
    ]
    head = f"| droplets | {' | '.join(COLOURS)} |"
    return "\n".join([head, "|---" * (len(COLOURS) + 1) + "|", *rows])


def drawn(measured: dict[int, dict[str, float]], width: int = 640, height: int = 320) -> str:
    """A line a step: seconds over droplets."""
    most = max(value for took in measured.values() for value in took.values())
    right, left, foot = max(measured), 60, 40

    def at(number: float, seconds: float) -> str:
        x = left + (width - 2 * left) * number / right
        return f"{x:.0f},{height - foot - (height - 2 * foot) * seconds / most:.0f}"

    def label(place: str, words: str, colour: str = "#333") -> str:
        x, y = place.split(",")
        return f'<text x="{x}" y="{y}" fill="{colour}">{words}</text>'

    def lines() -> Iterable[str]:
        yield f'<path d="M{at(0, most)} L{at(0, 0)} L{at(right, 0)}" stroke="#333" fill="none"/>'
        yield label(at(0, most * 1.05), f"{most:.0f} s")
        yield from (label(at(number, -most * 0.08), str(number)) for number in measured)
        for name, colour in COLOURS.items():
            points = [at(number, took[name]) for number, took in measured.items() if name in took]
            yield f'<polyline points="{" ".join(points)}" stroke="{colour}" fill="none"/>'
            yield label(points[-1], name, colour)

    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11">\n' + "\n".join(lines()) + "\n</svg>\n"
    )
