"""A tag: its name is its id, and all there is to it."""

from __future__ import annotations

from lab.engine.digitalocean.api import Api
from lab.engine.digitalocean.fields import Field, matches, told
from lab.engine.digitalocean.resource import Answer, Properties, Resource

check_tag = matches(
    r"[a-zA-Z0-9:_-]{1,255}", "a tag is up to 255 letters, digits, colons, dashes and underscores"
)

COUNTS = {
    "dropletsCount": "droplets",
    "imagesCount": "images",
    "volumesCount": "volumes",
    "volumeSnapshotsCount": "volume_snapshots",
    "databasesCount": "databases",
}


def _answer(api: Api, document: Answer) -> Properties:
    resources = document.get("resources") or {}
    counts = {key: (resources.get(kind) or {}).get("count", 0) for key, kind in COUNTS.items()}
    return {"name": document["name"], "totalResourceCount": resources.get("count", 0), **counts}


TAG = Resource(
    token="digitalocean:index/tag:Tag",  # noqa: S106
    noun="tag",
    path="/v2/tags",
    envelope="tag",
    listed="tags",
    fields={
        "name": Field(named=True, replace=True, check=check_tag),
        "totalResourceCount": told("integer"),
        **{key: told("integer") for key in COUNTS},
    },
    answer=_answer,
    key="name",
)
