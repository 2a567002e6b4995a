"""Domains and their records. The lab keeps them; no name server answers from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import func, select

from ..errors import not_found, unprocessable
from ..http import Call, Request, Service
from ..tables import Kept

service = Service()

NAME_SERVERS = ("ns1.digitalocean.com", "ns2.digitalocean.com", "ns3.digitalocean.com")
FIRST_ID = 100_000

Name = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,63}$", max_length=253)]
Type = Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "SRV", "TXT"]


class Create(Request):
    name: Name
    ip_address: str = ""


class Record(Request):
    type: Type
    name: Annotated[str, Field(min_length=1, max_length=255)] = "@"
    data: Annotated[str, Field(min_length=1, max_length=4096)]
    priority: int | None = None
    port: int | None = None
    ttl: Annotated[int, Field(ge=30, le=2**31 - 1)] = 1800
    weight: int | None = None
    flags: int | None = None
    tag: str | None = None


class Change(Request):
    type: Type | None = None
    name: str | None = None
    data: str | None = None
    ttl: int | None = None


def _domain(call: Call) -> Kept:
    return call.get(Kept, ("domain", call.path["domain"]))


def _records(domain: str):
    return select(Kept).where(Kept.kind == "record", Kept.within == domain).order_by(Kept.id)


def _add(call: Call, domain: str, body: dict[str, Any]) -> Kept:
    number = FIRST_ID + 1 + (call.db.scalar(select(func.count()).where(Kept.kind == "record-id")) or 0)
    call.db.add(Kept(kind="record-id", id=str(number), body={}))  # an id is never given twice
    row = Kept(kind="record", id=str(number), within=domain, body={"id": number, **body})
    call.db.add(row)
    call.db.flush()
    return row


@service.get("/v2/domains")
def index(call: Call) -> dict[str, Any]:
    rows = select(Kept).where(Kept.kind == "domain").order_by(Kept.id)
    return call.page("domains", rows, lambda row: row.body)


@service.post("/v2/domains")
def create(call: Call) -> dict[str, Any]:
    wanted = call.body(Create)
    if call.db.get(Kept, ("domain", wanted.name)):
        raise unprocessable(f"name: {wanted.name} is already a domain of this account")
    row = Kept(kind="domain", id=wanted.name, body={"name": wanted.name, "ttl": 1800, "zone_file": None})
    call.db.add(row)
    for server in NAME_SERVERS:
        _add(call, wanted.name, Record(type="NS", data=server).model_dump())
    if wanted.ip_address:
        _add(call, wanted.name, Record(type="A", data=wanted.ip_address).model_dump())
    return {"domain": row.body}


@service.get("/v2/domains/{domain}")
def show(call: Call) -> dict[str, Any]:
    return {"domain": _domain(call).body}


@service.delete("/v2/domains/{domain}")
def remove(call: Call) -> None:
    row = _domain(call)
    for record in call.db.scalars(_records(row.id)):
        call.db.delete(record)
    call.db.delete(row)


@service.get("/v2/domains/{domain}/records")
def records(call: Call) -> dict[str, Any]:
    return call.page("domain_records", _records(_domain(call).id), lambda row: row.body)


@service.post("/v2/domains/{domain}/records")
def add_record(call: Call) -> dict[str, Any]:
    domain = _domain(call).id
    return {"domain_record": _add(call, domain, call.body(Record).model_dump()).body}


def _record(call: Call) -> Kept:
    row = call.get(Kept, ("record", call.path["record_id"]))
    if row.within != _domain(call).id:
        raise not_found()
    return row


@service.get("/v2/domains/{domain}/records/{record_id}")
def show_record(call: Call) -> dict[str, Any]:
    return {"domain_record": _record(call).body}


@service.patch("/v2/domains/{domain}/records/{record_id}")
def change_record(call: Call) -> dict[str, Any]:
    row = _record(call)
    row.body = row.body | call.body(Change).model_dump(exclude_none=True)
    return {"domain_record": row.body}


@service.put("/v2/domains/{domain}/records/{record_id}")
def replace_record(call: Call) -> dict[str, Any] | None:
    return change_record(call)


@service.delete("/v2/domains/{domain}/records/{record_id}")
def remove_record(call: Call) -> None:
    call.db.delete(_record(call))
