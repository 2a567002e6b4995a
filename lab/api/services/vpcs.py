"""VPCs: private ranges, never overlapping, never deleted while something is in them."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import select

from .. import addresses
from ..errors import conflict, forbidden, unprocessable
from ..http import Call, Request, Service, iso
from ..tables import Droplet, LoadBalancer, NatGateway, ReservedIp, Vpc

service = Service()

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9\-.]+$", max_length=255)]
Description = Annotated[str, Field(max_length=255)]


class Create(Request):
    name: Name
    region: str
    ip_range: str = ""
    description: Description = ""


class Replace(Request):
    name: Name
    description: Description = ""
    default: bool | None = None


class Patch(Request):
    name: Name | None = None
    description: Description | None = None
    default: bool | None = None


def answer(row: Vpc) -> dict[str, Any]:
    return {
        "id": row.id,
        "urn": f"do:vpc:{row.id}",
        "name": row.name,
        "description": row.description,
        "region": row.region,
        "ip_range": row.ip_range,
        "default": row.default,
        "created_at": iso(row.created_at),
    }


def members(call: Call, row: Vpc) -> list[dict[str, Any]]:
    """Droplets, load balancers and NAT gateways inside, oldest first."""
    rows: list[tuple[str, Any]] = [
        *(("droplet", each) for each in call.db.scalars(select(Droplet).where(Droplet.vpc_id == row.id))),
        *(("vpc_nat_gateway", each) for each in call.db.scalars(select(NatGateway).filter_by(vpc_id=row.id))),
        *(("loadbalancer", each) for each in call.db.scalars(select(LoadBalancer).filter_by(vpc_id=row.id))),
    ]
    rows.sort(key=lambda pair: pair[1].created_at)
    return [
        {"name": each.name, "urn": f"do:{kind}:{each.id}", "created_at": iso(each.created_at)}
        for kind, each in rows
    ]


def private_addresses(call: Call, row: Vpc) -> Iterator[str]:
    """Free addresses in the VPC, one after the other; then 422."""
    taken = [
        *call.db.scalars(select(Droplet.private_ipv4).where(Droplet.vpc_id == row.id)),
        *call.db.scalars(select(LoadBalancer.private_ipv4).where(LoadBalancer.vpc_id == row.id)),
        *call.db.scalars(select(NatGateway.private_ipv4).where(NatGateway.vpc_id == row.id)),
    ]
    return _free(row.ip_range, addresses.FIRST_PRIVATE, taken)


def public_addresses(call: Call) -> Iterator[str]:
    """Free public addresses, one after the other; then 422."""
    taken = [
        *(each for each in call.db.scalars(select(Droplet.public_ipv4)) if each),
        *call.db.scalars(select(LoadBalancer.public_ipv4)),
        *call.db.scalars(select(NatGateway.public_ipv4)),
        *call.db.scalars(select(ReservedIp.ip)),
    ]
    return _free(call.account.public_range, addresses.FIRST_PUBLIC, taken)


def _free(network: str, first: int, taken: list[str]) -> Iterator[str]:
    try:
        yield from addresses.free_addresses(network, first, taken)
    except addresses.Exhausted as error:
        raise unprocessable(f"{error}: destroy something first") from None


def chosen(call: Call, region: str, vpc_id: str) -> Vpc:
    """The VPC a new member asks for, or the region's default, which is made when first needed."""
    if vpc_id:
        row = call.db.get(Vpc, vpc_id)
        if row is None or row.region != region:
            raise unprocessable(f"vpc_uuid: there is no VPC {vpc_id} in region {region}")
        return row
    row = call.db.scalar(select(Vpc).where(Vpc.region == region, Vpc.default))
    return row or _make(call, name=f"default-{region}", region=region, default=True)


def _make(
    call: Call, *, name: str, region: str, ip_range: str = "", description: str = "", default: bool
) -> Vpc:
    others = list(call.db.scalars(select(Vpc)))
    if any(other.name == name for other in others):
        raise conflict(f"a VPC named {name!r} already exists on your account")
    try:
        ip_range = ip_range or addresses.free_range(other.ip_range for other in others)
        network = addresses.vpc_range(ip_range)
    except (ValueError, addresses.Exhausted) as error:
        raise unprocessable(str(error)) from None
    for other in others:
        if network.overlaps(ipaddress.IPv4Network(other.ip_range)):
            raise unprocessable(
                f"This range/size overlaps with another VPC network in your account: {other.ip_range} ({other.name})"
            )
    row = Vpc(
        id=str(uuid.uuid4()),
        name=name,
        description=description,
        region=region,
        ip_range=str(network),
        default=default,
        created_at=call.now,
    )
    call.db.add(row)
    call.db.flush()
    return row


def _change(call: Call, row: Vpc, name: str, description: str, default: bool | None) -> dict[str, Any]:
    if name != row.name and call.db.scalar(select(Vpc).where(Vpc.name == name)):
        raise conflict(f"a VPC named {name!r} already exists on your account")
    if default is False and row.default:
        raise unprocessable("default: make another VPC of the region the default instead")
    if default:
        for other in call.db.scalars(select(Vpc).where(Vpc.region == row.region)):
            other.default = other.id == row.id
    row.name, row.description = name, description
    return {"vpc": answer(row)}


def _found(call: Call) -> Vpc:
    return call.get(Vpc, call.path["vpc_id"])


@service.get("/v2/vpcs")
def index(call: Call) -> dict[str, Any]:
    return call.page("vpcs", select(Vpc).order_by(Vpc.created_at, Vpc.id), answer)


@service.post("/v2/vpcs")
def create(call: Call) -> dict[str, Any]:
    wanted = call.body(Create)
    if wanted.region not in call.catalogue.regions:
        raise unprocessable(f"region: {wanted.region!r} is not a region. See GET /v2/regions.")
    row = _make(
        call,
        name=wanted.name,
        region=wanted.region,
        ip_range=wanted.ip_range,
        description=wanted.description,
        default=False,
    )
    return {"vpc": answer(row)}


@service.get("/v2/vpcs/{vpc_id}")
def show(call: Call) -> dict[str, Any]:
    return {"vpc": answer(_found(call))}


@service.put("/v2/vpcs/{vpc_id}")
def replace(call: Call) -> dict[str, Any]:
    row, wanted = _found(call), call.body(Replace)
    return _change(call, row, wanted.name, wanted.description, wanted.default)


@service.patch("/v2/vpcs/{vpc_id}")
def patch(call: Call) -> dict[str, Any]:
    row, wanted = _found(call), call.body(Patch)
    description = row.description if wanted.description is None else wanted.description
    return _change(call, row, wanted.name or row.name, description, wanted.default)


@service.delete("/v2/vpcs/{vpc_id}")
def remove(call: Call) -> None:
    row = _found(call)
    if row.default:
        raise forbidden("Can not delete default VPCs")
    if members(call, row):
        raise forbidden("Can not delete VPC with members")
    call.db.delete(row)


@service.get("/v2/vpcs/{vpc_id}/members")
def list_members(call: Call) -> dict[str, Any]:
    found, kind = members(call, _found(call)), call.query.get("resource_type", "")
    return call.page("members", [each for each in found if not kind or each["urn"].startswith(f"do:{kind}:")])
