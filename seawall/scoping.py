"""`seawall scope`: every droplet's scope in the cardholder data environment, derived from the flows (12.5.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.scope import CONNECTED, IN, OUT, Scope, of_outputs


@dataclass(frozen=True)
class Scoping:
    """Droplets by tier, and each tier's scope."""

    tiers: Mapping[str, Scope]
    droplets: Mapping[str, str]
    """Droplet → tier."""
    code: int = 0

    @classmethod
    def of(cls, outputs: Mapping[str, Any]) -> Scoping:
        return cls(of_outputs(outputs), {name: each["tier"] for name, each in outputs["droplets"].items()})

    def document(self) -> dict[str, Any]:
        return {
            name: {"tier": tier, **vars(self.tiers[tier])} for name, tier in sorted(self.droplets.items())
        }

    def text(self) -> str:
        """Tier by tier, those in scope first, with the flows that make them so."""
        order = (IN, CONNECTED, OUT)
        lines = []
        for tier, found in sorted(self.tiers.items(), key=lambda item: (order.index(item[1].scope), item[0])):
            names = ", ".join(sorted(name for name, its in self.droplets.items() if its == tier))
            lines += [
                f"{found.scope:<9}  {names}",
                *(f"           {why}" for why in found.because.split("; ")),
            ]
        return "\n".join(lines)

    def summary(self) -> str:
        """One line: ``in app-1, app-2; connected logs-1``."""
        parts = []
        for scope in (IN, CONNECTED, OUT):
            names = [name for name, tier in sorted(self.droplets.items()) if self.tiers[tier].scope == scope]
            if names:
                parts.append(f"{scope} {', '.join(names)}")
        return "; ".join(parts)
