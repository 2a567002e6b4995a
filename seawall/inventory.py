"""The inventory as `ansible-inventory --list` prints it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from typing import IO

from seawall.places import CHECKOUT
from seawall.problem import Problem


def listed(options: Iterable[str] = (), environment: Mapping[str, str] | None = None) -> dict:
    """What Ansible lists: by ``options`` (``-i FILE``), else as ansible.cfg says. ``Problem`` where it can't."""
    listing = begin(options, environment)
    text, said = listing.communicate()
    if listing.returncode:
        raise unreadable(said)
    return read(text)


def begin(
    options: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    says: IO[str] | int = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Ansible at its list, for whoever has something else to do meanwhile: the listing on standard output, what is
    wrong with it in ``says``."""
    return subprocess.Popen(
        ["ansible-inventory", *options, "--list"],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=says,
        text=True,
    )


def unreadable(said: str) -> Problem:
    return Problem(f"The inventory could not be read: {' '.join(said.split())}")


def read(text: str) -> dict:
    """A listing kept in a file."""
    return json.loads(text, object_hook=_plain)


def _plain(held: dict) -> dict | str:
    """Ansible lists what an inventory plugin said as ``{"__ansible_unsafe": text}``: text never to be templated."""
    return held["__ansible_unsafe"] if held.keys() == {"__ansible_unsafe"} else held
