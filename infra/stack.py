"""This stack as a resource needs it: names and tags that no other stack of the account has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stack:
    """``name`` (``<project>-<stack>``) names what DigitalOcean wants named, and is the tag on every droplet."""

    project: str
    stack: str

    @property
    def name(self) -> str:
        return f"{self.project}-{self.stack}"

    def tag(self, tier: str) -> str:
        """The tag of a tier's droplets; ``all`` is the one that all of them have."""
        return self.name if tier == "all" else f"{self.name}-{tier}"
