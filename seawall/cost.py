"""`seawall cost`: what a stack costs a month. Reads only.

Droplets are priced by the API itself (``/v2/sizes``). What the API tells no price of is listed in ``LIST_PRICES``, as
published; what stands in neither is *unknown* and said so, never zero: then the sum is "at least".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seawall import cloud
from seawall.session import Session

LIST_PRICES = {"LoadBalancer": 12.0, "SpacesBucket": 5.0, "ReservedIp": 0.0}
"""USD a month, as docs.digitalocean.com publishes them (2026): a load balancer's node; Spaces' subscription, once an
account, with 250 GiB stored and 1 TiB sent; a reserved address while it is assigned to a droplet."""

BACKUPS = {"weekly": 0.20, "daily": 0.30}
"""A droplet's backups, as a share of its price ("Backups pricing", docs.digitalocean.com)."""

FREE = {
    "Certificate", "DnsRecord", "Domain", "Firewall", "MonitorAlert", "Project", "ProjectResources",
    "ReservedIpAssignment", "SpacesBucketPolicy", "SpacesKey", "SshKey", "Tag", "Vpc",
}  # fmt: skip
"""What DigitalOcean charges nothing for. All are named as Pulumi's types are."""


@dataclass(frozen=True)
class Item:
    """``count`` of one thing at ``each`` USD a month; None where nobody says what it costs."""

    what: str
    count: int
    each: float | None
    note: str = ""

    @property
    def month(self) -> float | None:
        return None if self.each is None else round(self.each * self.count, 2)


@dataclass(frozen=True)
class Cost:
    """A stack's month."""

    stack: str
    items: list[Item]
    code: int = 0

    @property
    def month(self) -> float:
        return round(sum(item.month or 0 for item in self.items), 2)

    @property
    def unknown(self) -> list[str]:
        return [item.what for item in self.items if item.each is None]

    def document(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "currency": "USD",
            "items": [{**vars(item), "month": item.month} for item in self.items],
            "month": self.month,
            "unknown": self.unknown,
        }

    def text(self) -> str:
        width = max([len(item.what) for item in self.items] + [10])
        lines = [
            f"{item.count:>4}  {item.what:<{width}}  {_usd(item.each):>10}  {_usd(item.month):>10}"
            + (f"  {item.note}" if item.note else "")
            for item in self.items
        ]
        least = "at least" if self.unknown else "in all"
        total = f"{'':>4}  {least:<{width}}  {'':>10}  {_usd(self.month):>10}  USD a month, taxes and traffic apart"
        said = [f"Unknown: nobody says what {what} costs." for what in self.unknown]
        return "\n".join([f"What {self.stack} costs a month", "", *lines, total, *said])


def cost(session: Session) -> Cost:
    """A stack's cost as it stands, by its own state and the account's prices."""
    session.standing()
    deployment = json.loads(session.engine().ask("stack", "export")).get("deployment") or {}
    with cloud.client(session.environment) as api:
        sizes = {
            size["slug"]: size.get("price_monthly")
            for size in cloud.every(api, cloud.Kind("/v2/sizes", "sizes"))
        }
    return Cost(session.stack.name, list(items(deployment.get("resources") or [], sizes)))


def items(held: Iterable[Mapping[str, Any]], sizes: Mapping[str, float | None]) -> Iterable[Item]:
    """One row for each kind of thing that costs, of a state's resources, droplets by size (slug → USD a month)."""
    droplets: Counter[str] = Counter()
    backups: Counter[tuple[str, str]] = Counter()
    others: Counter[str] = Counter()
    for resource in held:
        package, _, kind = resource["type"].partition(":index/")
        if package != "digitalocean" or resource.get("delete"):
            continue
        kind, inputs = kind.partition(":")[2], resource.get("inputs") or {}
        if kind == "Droplet":
            droplets[inputs["size"]] += 1
            if inputs.get("backups"):
                backups[inputs["size"], (inputs.get("backupPolicy") or {}).get("plan") or "weekly"] += 1
        elif kind not in FREE:
            others[kind] += int(inputs.get("sizeUnit") or 1)
    for size, count in sorted(droplets.items()):
        yield Item(f"droplet {size}", count, sizes.get(size))
    for (size, plan), count in sorted(backups.items()):
        price, share = sizes.get(size), BACKUPS.get(plan)
        each = None if price is None or share is None else round(price * share, 2)
        yield Item(f"{plan} backups of {size}", count, each)
    for kind, count in sorted(others.items()):
        if kind == "SpacesBucket":  # one subscription holds all buckets of an account
            yield Item(
                "Spaces",
                1,
                LIST_PRICES[kind],
                f"{count} bucket{'s' * (count > 1)}; 250 GiB and 1 TiB sent included",
            )
        else:
            yield Item(kind, count, LIST_PRICES.get(kind), "list price" if kind in LIST_PRICES else "")


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:.2f}"
