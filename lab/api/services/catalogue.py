"""Regions, sizes and images: read only."""

from __future__ import annotations

from typing import Any

from ..errors import not_found
from ..http import Call, Service

service = Service()


@service.get("/v2/regions")
def regions(call: Call) -> dict[str, Any]:
    return call.page("regions", list(call.catalogue.regions), call.catalogue.region_answer)


@service.get("/v2/sizes")
def sizes(call: Call) -> dict[str, Any]:
    return call.page("sizes", list(call.catalogue.sizes.values()), call.catalogue.size_answer)


@service.get("/v2/images")
def images(call: Call) -> dict[str, Any]:
    # All the lab has are public distribution images; no application, private or tagged one.
    wanted = call.query.get("type", "distribution") == "distribution"
    wanted = wanted and call.query.get("private", "false") != "true" and not call.query.get("tag_name")
    return call.page(
        "images", list(call.catalogue.images.values()) if wanted else [], call.catalogue.image_answer
    )


@service.get("/v2/images/{image_id}")
def image(call: Call) -> dict[str, Any]:
    found = call.catalogue.image(call.path["image_id"])
    if found is None:
        raise not_found()
    return {"image": call.catalogue.image_answer(found)}
