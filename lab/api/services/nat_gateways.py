"""VPC NAT gateways: the way out for droplets without public networking. The lab has one region's, public ones."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import select

from ..errors import conflict, unprocessable
from ..http import Call, Request, Service, iso
from ..tables import NatGateway, Vpc
from . import projects, vpcs

service = Service()

TIMEOUTS = {"udp_timeout_seconds": 30, "icmp_timeout_seconds": 30, "tcp_timeout_seconds": 30}

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9\-.]+$", max_length=255)]
Seconds = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Ingress(Request):
    vpc_uuid: str
    default_gateway: bool = False


class Create(Request):
    name: Name
    type: Literal["PUBLIC"]
    region: str
    size: Annotated[int, Field(ge=1, le=16)]
    vpcs: Annotated[list[Ingress], Field(min_length=1, max_length=1)]
    udp_timeout_seconds: Seconds = 30
    icmp_timeout_seconds: Seconds = 30
    tcp_timeout_seconds: Seconds = 30


class Update(Request):
    name: Name
    size: Annotated[int, Field(ge=1, le=16)]
    vpcs: Annotated[list[Ingress], Field(max_length=1)] = []
    udp_timeout_seconds: Seconds = 30
    icmp_timeout_seconds: Seconds = 30
    tcp_timeout_seconds: Seconds = 30


def answer(call: Call, row: NatGateway) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "type": "PUBLIC",
        "state": "ACTIVE",
        "region": row.region,
        "size": row.size,
        "vpcs": [
            {
                "vpc_uuid": row.vpc_id,
                "gateway_ip": row.private_ipv4,
                "default_gateway": row.default_gateway,
            }
        ],
        "egresses": {"public_gateways": [{"ipv4": row.public_ipv4}]},
        **row.timeouts,
        "project_id": projects.default_id(call),
        "created_at": iso(row.created_at),
        "updated_at": iso(row.created_at),
    }


def _found(call: Call) -> NatGateway:
    return call.get(NatGateway, call.path["id"])


@service.get("/v2/vpc_nat_gateways")
def index(call: Call) -> dict[str, Any]:
    rows = select(NatGateway).order_by(NatGateway.created_at, NatGateway.id)
    return call.page("vpc_nat_gateways", rows, lambda row: answer(call, row))


@service.post("/v2/vpc_nat_gateways", status=202)
def create(call: Call) -> dict[str, Any]:
    wanted = call.body(Create)
    (ingress,) = wanted.vpcs
    vpc = call.db.get(Vpc, ingress.vpc_uuid)
    if vpc is None or vpc.region != wanted.region:
        raise unprocessable(f"vpcs: there is no VPC {ingress.vpc_uuid} in region {wanted.region}")
    if call.db.scalar(select(NatGateway).where(NatGateway.name == wanted.name)):
        raise conflict(f"a NAT gateway named {wanted.name!r} already exists on your account")
    row = NatGateway(
        id=str(uuid.uuid4()),
        name=wanted.name,
        region=vpc.region,
        size=wanted.size,
        vpc_id=vpc.id,
        default_gateway=ingress.default_gateway,
        public_ipv4=next(vpcs.public_addresses(call)),
        private_ipv4=next(vpcs.private_addresses(call, vpc)),
        timeouts={name: getattr(wanted, name) for name in TIMEOUTS},
        created_at=call.now,
    )
    call.db.add(row)
    return {"vpc_nat_gateway": answer(call, row)}


@service.get("/v2/vpc_nat_gateways/{id}")
def show(call: Call) -> dict[str, Any]:
    return {"vpc_nat_gateway": answer(call, _found(call))}


@service.put("/v2/vpc_nat_gateways/{id}")
def update(call: Call) -> dict[str, Any]:
    row, wanted = _found(call), call.body(Update)
    row.name, row.size = wanted.name, wanted.size
    row.timeouts = {name: getattr(wanted, name) for name in TIMEOUTS}
    for ingress in wanted.vpcs:
        row.default_gateway = ingress.default_gateway
    return {"vpc_nat_gateway": answer(call, row)}


@service.delete("/v2/vpc_nat_gateways/{id}", status=202)
def remove(call: Call) -> dict[str, Any]:
    call.db.delete(_found(call))
    return {}
