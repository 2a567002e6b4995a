"""Eyes that are open from before the first droplet exists: what a stranger reaches of it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.instance import find, tag

PORTS = (22, 80, 443, 2222, 6514)
DROPLETS = range(10, 20)
"""Hosts of the public range that the first droplets and load balancers are given."""

STRANGER = """
import asyncio, json, sys


async def look(address, port):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 1)
        writer.close()
        return "open"
    except ConnectionRefusedError:
        return "refused"
    except (OSError, TimeoutError):
        return None


async def keep_looking(address, port):
    told = set()
    while True:
        if (seen := await look(address, port)) and seen not in told:
            told.add(seen)
            print(json.dumps([address, port, seen]), flush=True)
        await asyncio.sleep(0.2)


async def main():
    pairs = [(a, int(p)) for a in sys.argv[1].split(",") for p in sys.argv[2].split(",")]
    await asyncio.gather(*(keep_looking(*pair) for pair in pairs))


asyncio.run(main())
"""


@dataclass
class Seen:
    """reached: (address, port, ``open`` or ``refused``) of a stranger."""

    reached: set[tuple[str, int, str]] = field(default_factory=set)
    close: Callable[[], None] = lambda: None


@contextmanager
def watching(instance: str) -> Iterator[Seen]:
    """Look until the block ends. The stranger starts as soon as the lab's outside is there, before any droplet."""
    seen, over = Seen(), threading.Event()
    thread = threading.Thread(target=_stranger, args=(instance, seen, over))
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _stranger(instance: str, seen: Seen, over: threading.Event) -> None:
    outside = f"seawall-{tag(instance)}-outside"
    while not Path("/run/netns", outside).exists():
        if over.wait(0.1):
            return
    held = find(instance)
    assert held, "a lab with an outside has an instance"
    words = [",".join(held.address(host) for host in DROPLETS), ",".join(map(str, PORTS))]
    process = subprocess.Popen(
        ["ip", "netns", "exec", outside, sys.executable, "-c", STRANGER, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    threading.Thread(target=lambda: (over.wait(), process.kill())).start()
    assert process.stdout
    for line in process.stdout:
        address, port, what = json.loads(line)
        seen.reached.add((address, port, what))
    process.wait()
