"""What things cost on this machine: `make bench`. One module a room; a lab of its own, caches warm.

Absolute times depend on the machine, so each is also told as a multiple of one cold `ssh host true` of the same run.
Prints Markdown for docs/benchmarks.md.
"""

from __future__ import annotations

import os
import platform
import shutil

from tests.bench import drift, evidence, job
from tests.bench.support import Row
from tests.e2e.world import CHECKOUT, World

STANDING = (job.measure, drift.measure, evidence.measure)
"""Each is given the world and returns rows. The first brings the lab up, those after it find eight droplets."""


def main() -> None:
    world = World(CHECKOUT / ".seawall" / "bench", f"bench-{os.getpid() % 1000}", "lab-bench")
    shutil.rmtree(world.folder, ignore_errors=True)
    rows: list[Row] = []
    try:
        for room in STANDING:
            rows += room(world)
    finally:
        rows += job.down(world)
        (CHECKOUT / f"Pulumi.{world.stack}.yaml").unlink(missing_ok=True)
    print(f"\nMachine: {platform.machine()}, {os.cpu_count()} cores, kernel {platform.release()}\n")
    print("| what | measured | times the floor | limit |\n|---|---|---|---|")
    print("\n".join(row.line(floor=rows[0].value) for row in rows))


if __name__ == "__main__":
    main()
