"""What the cloud sells: regions, sizes and images. Slugs, sizes and prices are DigitalOcean's (July 2026, USD).

``Catalogue`` is what one API offers; only images that the backend can boot belong in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lab.world import Size as WorldSize


@dataclass(frozen=True)
class Region:
    """A data centre."""

    slug: str
    name: str


@dataclass(frozen=True)
class Size:
    """A droplet size: memory in MiB, disk in GiB, transfer in TiB a month, price in USD a month."""

    slug: str
    memory: int
    vcpus: int
    disk: int
    transfer: float
    price_monthly: float
    price_hourly: float
    absent: frozenset[str] = frozenset()  # regions that do not have it
    family: str = "Basic"

    def world(self, disk: int | None = None) -> WorldSize:
        """This size as the backend knows it; a droplet resized without its disk keeps its own ``disk``."""
        return WorldSize(self.slug, self.memory, self.vcpus, disk or self.disk)


@dataclass(frozen=True)
class Image:
    """A distribution image. ``min_disk`` in GiB."""

    id: int
    slug: str
    distribution: str
    name: str
    created_at: str
    min_disk: int = 10


REGIONS = tuple(
    Region(slug, name)
    for slug, name in (
        ("ams3", "Amsterdam 3"),
        ("blr1", "Bangalore 1"),
        ("fra1", "Frankfurt 1"),
        ("lon1", "London 1"),
        ("nyc1", "New York 1"),
        ("nyc3", "New York 3"),
        ("sfo3", "San Francisco 3"),
        ("sgp1", "Singapore 1"),
        ("syd1", "Sydney 1"),
        ("tor1", "Toronto 1"),
    )
)

SIZES = (
    # The smallest size is not sold everywhere; London is where the lab lacks it.
    Size("s-1vcpu-512mb-10gb", 512, 1, 10, 0.5, 4.0, 0.00595, frozenset({"lon1"})),
    Size("s-1vcpu-1gb", 1024, 1, 25, 1.0, 6.0, 0.00893),
    Size("s-1vcpu-2gb", 2048, 1, 50, 2.0, 12.0, 0.01786),
    Size("s-2vcpu-2gb", 2048, 2, 60, 3.0, 18.0, 0.02679),
    Size("s-2vcpu-4gb", 4096, 2, 80, 4.0, 24.0, 0.03571),
    Size("s-4vcpu-8gb", 8192, 4, 160, 5.0, 48.0, 0.07143),
    # Dedicated processors. In the lab these have a kernel of their own (lab/machines/virtual.py).
    Size("c-2", 4096, 2, 25, 4.0, 42.0, 0.0625, family="CPU-Optimized"),
    Size("g-2vcpu-8gb", 8192, 2, 25, 4.0, 63.0, 0.09375, family="General Purpose"),
)

IMAGES = (
    Image(156000012, "debian-12-x64", "Debian", "12 x64", "2026-07-01T12:00:00Z"),
    Image(156000013, "debian-13-x64", "Debian", "13 x64", "2026-07-01T12:00:00Z"),
)

# No "ipv6", "storage": what a region does not list, the API refuses. Backups are kept as a wish; none is ever taken.
REGION_FEATURES = ["backups", "metadata", "install_agent"]


@dataclass(frozen=True)
class Catalogue:
    """The offers of one API, looked up by slug."""

    regions: dict[str, Region] = field(default_factory=lambda: {r.slug: r for r in REGIONS})
    sizes: dict[str, Size] = field(default_factory=lambda: {s.slug: s for s in SIZES})
    images: dict[str, Image] = field(default_factory=lambda: {i.slug: i for i in IMAGES})

    def sold_in(self, size: Size) -> list[str]:
        """The regions that have ``size``."""
        return [slug for slug in self.regions if slug not in size.absent]

    def image(self, identifier: int | str) -> Image | None:
        """An image by slug or id (a number, or its digits)."""
        by_id = {str(image.id): image for image in self.images.values()}
        return self.images.get(str(identifier)) or by_id.get(str(identifier))

    def region_answer(self, slug: str) -> dict[str, Any]:
        """A region as the API shows it."""
        return {
            "slug": slug,
            "name": self.regions[slug].name,
            "features": REGION_FEATURES,
            "available": True,
            "sizes": [size.slug for size in self.sizes.values() if slug not in size.absent],
        }

    def size_answer(self, size: Size) -> dict[str, Any]:
        """A size as the API shows it."""
        return {
            "slug": size.slug,
            "memory": size.memory,
            "vcpus": size.vcpus,
            "disk": size.disk,
            "transfer": size.transfer,
            "price_monthly": size.price_monthly,
            "price_hourly": size.price_hourly,
            "regions": self.sold_in(size),
            "available": True,
            "description": size.family,
            "disk_info": [{"type": "local", "size": {"amount": size.disk, "unit": "gib"}}],
        }

    def image_answer(self, image: Image) -> dict[str, Any]:
        """An image as the API shows it."""
        return {
            "id": image.id,
            "name": image.name,
            "type": "base",
            "distribution": image.distribution,
            "slug": image.slug,
            "public": True,
            "regions": list(self.regions),
            "created_at": image.created_at,
            "min_disk_size": image.min_disk,
            "size_gigabytes": 0.3,
            "description": f"{image.distribution} {image.name}",
            "tags": [],
            "status": "available",
        }
