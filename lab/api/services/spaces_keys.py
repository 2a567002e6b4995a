"""Keys of Spaces: an access key, a secret that is told once, and what they may do with which bucket."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from sqlalchemy import select

from ..errors import conflict
from ..http import Call, Request, Service, iso
from ..store import Store
from ..tables import Kept

service = Service()

KIND = "spaces-key"
MOST = 200


class Grant(Request):
    """``bucket`` is empty for full access to all of them, and only then."""

    bucket: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]{1,61}[a-z0-9])?$")] = ""
    permission: Literal["read", "readwrite", "fullaccess"]

    @model_validator(mode="after")
    def _names_a_bucket(self) -> Grant:
        if not self.bucket and self.permission != "fullaccess":
            raise ValueError(f"{self.permission} needs a bucket; only fullaccess is for all of them")
        return self


class Body(Request):
    name: Annotated[str, Field(min_length=1, max_length=255)]
    grants: list[Grant] = []


class Patch(Request):
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    grants: list[Grant] | None = None


def answer(row: Kept) -> dict[str, Any]:
    return {name: value for name, value in row.body.items() if name != "secret_key"}


def grants_of(store: Store, access_key: str) -> tuple[str, dict[str, str]] | None:
    """A key's secret and its grants, for the server that checks them."""
    with store.read() as db:
        row = db.get(Kept, (KIND, access_key))
        if row is None:
            return None
        return row.body["secret_key"], {grant["bucket"]: grant["permission"] for grant in row.body["grants"]}


@service.get("/v2/spaces/keys")
def index(call: Call) -> dict[str, Any]:
    return call.page("keys", select(Kept).where(Kept.kind == KIND).order_by(Kept.id), answer)


@service.post("/v2/spaces/keys")
def create(call: Call) -> dict[str, Any]:
    wanted = call.body(Body)
    if len(list(call.db.scalars(select(Kept).where(Kept.kind == KIND)))) >= MOST:
        raise conflict(f"an account has at most {MOST} keys")
    body = {
        "name": wanted.name,
        "grants": [grant.model_dump() for grant in wanted.grants],
        "access_key": f"DO00{secrets.token_hex(8).upper()}",
        "secret_key": secrets.token_urlsafe(32),
        "created_at": iso(call.now),
    }
    call.db.add(Kept(kind=KIND, id=body["access_key"], body=body))
    return {"key": body}


@service.get("/v2/spaces/keys/{access_key}")
def show(call: Call) -> dict[str, Any]:
    return {"key": answer(call.get(Kept, (KIND, call.path["access_key"])))}


@service.put("/v2/spaces/keys/{access_key}")
def replace(call: Call) -> dict[str, Any]:
    return _change(call, call.body(Body))


@service.patch("/v2/spaces/keys/{access_key}")
def change(call: Call) -> dict[str, Any]:
    return _change(call, call.body(Patch))


def _change(call: Call, wanted: Body | Patch) -> dict[str, Any]:
    row = call.get(Kept, (KIND, call.path["access_key"]))
    row.body = {**row.body, **wanted.model_dump(exclude_none=True)}
    return {"key": answer(row)}


@service.delete("/v2/spaces/keys/{access_key}")
def remove(call: Call) -> None:
    call.db.delete(call.get(Kept, (KIND, call.path["access_key"])))
