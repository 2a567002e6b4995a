"""What a look for drift costs: one host, eight, thirty connections; a full look against an unchanged hardening run."""

from __future__ import annotations

import json

from tests.bench.job import ssh_floor
from tests.bench.support import Row, timed
from tests.e2e.world import World

THIRTY = """
import json, resource, sys, time
from seawall.drift import baseline
from seawall.session import Session
session = Session.open(sys.argv[1])
ways = baseline.routes(session, json.loads(session.outputs.read_text()))
names = list(ways)
def some(number):
    return {f"{number}-{n}": ways[names[n % len(names)]] for n in range(number)}
found = {}
for number in (1, 2, 4, 8, 16, 30):
    start = time.monotonic()
    told = baseline.facts(some(number))
    assert all(isinstance(each, dict) for each in told.values()), told
    found[number] = [time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
print(json.dumps(found))
"""
"""Thirty are connections to the eight droplets there are: the controller's work is that of thirty hosts."""


def measure(world: World) -> list[Row]:
    floor = ssh_floor(world, "app-1")
    start, _ = timed(lambda: world.seawall("drift", "--help"))
    quick, _ = timed(lambda: world.seawall("drift", "--quick", "--layer", "hosts", "--host", "app-1"))
    looked = json.loads(world.by_hand(f"python -c '{THIRTY}' {world.stack}").stdout)
    full, _ = timed(lambda: world.seawall("drift", "--layer", "hosts"))
    plain, _ = timed(lambda: world.seawall("harden"))
    return [
        Row("`seawall drift --quick` of one host, whole", quick),
        Row("of which the interpreter's start", start),
        Row("quick look at one host, besides that start", max(quick - start, 0), ratio=5),
        Row("one host asked (connection, script, answer)", looked["1"][0], ratio=5),
        *(Row(f"{number} asked at once", looked[number][0]) for number in ("2", "4", "8", "16")),
        Row("30 asked (connections to the droplets there are)", looked["30"][0], limit=20),
        Row("memory after one", looked["1"][1], unit="MiB"),
        Row("memory after thirty", looked["30"][1], unit="MiB"),
        Row("full look at all hosts", full),
        Row("that, as part of an unchanged hardening run of all", full / plain, unit="", limit=1),
        Row("the floor then", floor),
    ]
