"""The inventory as `ansible-inventory --list` prints it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping

from seawall.places import CHECKOUT
from seawall.problem import Problem


def listed(options: Iterable[str] = (), environment: Mapping[str, str] | None = None) -> dict:
    """What Ansible lists: by ``options`` (``-i FILE``), else as ansible.cfg says. ``Problem`` where it can't."""
    answer = subprocess.run(
        ["ansible-inventory", *options, "--list"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise Problem(f"The inventory could not be read: {' '.join(answer.stderr.split())}")
    return read(answer.stdout)


def read(text: str) -> dict:
    """A listing kept in a file."""
    return json.loads(text, object_hook=_plain)


def _plain(held: dict) -> dict | str:
    """Ansible lists what an inventory plugin said as ``{"__ansible_unsafe": text}``: text never to be templated."""
    return held["__ansible_unsafe"] if held.keys() == {"__ansible_unsafe"} else held
