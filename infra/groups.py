"""Which groups of the inventory a droplet is in: by its tier, its region and what it serves."""

from __future__ import annotations

import re
from collections.abc import Iterable


def groups(tier: str, serves: Iterable[str], region: str) -> list[str]:
    """The inventory's groups of a droplet, in names Ansible allows."""
    serving = {"web": "web", "logs": "collectors"}
    named = [tier, f"region_{region}", *(serving[what] for what in serves)]
    return list(dict.fromkeys(re.sub(r"\W", "_", name) for name in named))
