"""A VPC's NAT gateway: the way out for droplets without public networking."""

from __future__ import annotations

from typing import Any

from lab.engine.digitalocean.api import Api, segment
from lab.engine.digitalocean.fields import (
    array,
    between,
    block,
    flag,
    integer,
    name,
    not_empty,
    one_of,
    text,
    told,
    unordered,
)
from lab.engine.digitalocean.resource import MINUTE, Answer, Properties, Resource, received, sent, without

INGRESS = {
    "vpcUuid": text(required=True, check=not_empty),
    "gatewayIp": text(computed=True),
    "defaultGateway": flag(computed=True),
    "subnetUuid": text(computed=True, sometimes=True),
}
PUBLIC_GATEWAY = {"ipv4": text(computed=True)}
EGRESS = {
    "publicGateways": array(
        block("VpcNatGatewayEgressPublicGateway", PUBLIC_GATEWAY, computed=True), computed=True
    )
}


def _ingress(api: Properties) -> Properties:
    """What of an ingress is the program's: the gateway's own address is told."""
    return {key: item for key, item in api.items() if key in ("vpcUuid", "defaultGateway")}


def _request(api: Api, plan: Properties) -> Properties:
    body = sent(without(NAT_GATEWAY.fields, "vpcs"), plan)
    body["vpcs"] = [
        {"vpc_uuid": each["vpcUuid"], "default_gateway": bool(each.get("defaultGateway"))}
        for each in plan["vpcs"]
    ]
    return body


def _update(api: Api, identity: str, state: Properties, plan: Properties) -> None:
    body = _request(api, plan)
    for fixed in ("type", "region"):
        body.pop(fixed, None)
    api.call(
        "PUT", f"{NAT_GATEWAY.path}/{segment(identity)}", f"updating the NAT gateway {plan['name']}", body
    )


def _answer(api: Api, document: Answer) -> Properties:
    gateways: list[dict[str, Any]] = (document.get("egresses") or {}).get("public_gateways") or []
    return {
        **received(without(NAT_GATEWAY.fields, "vpcs", "egresses"), document),
        "vpcs": [received(INGRESS, each) for each in document.get("vpcs") or []],
        "egresses": [{"publicGateways": [{"ipv4": each["ipv4"]} for each in gateways]}],
    }


NAT_GATEWAY = Resource(
    token="digitalocean:index/vpcNatGateway:VpcNatGateway",  # noqa: S106
    noun="NAT gateway",
    path="/v2/vpc_nat_gateways",
    envelope="vpc_nat_gateway",
    fields={
        "name": name(),
        "type": text(required=True, replace=True, check=one_of("PUBLIC")),
        "region": text(required=True, replace=True, check=not_empty),
        "size": integer(required=True, check=between(1, 16)),
        "vpcs": unordered(block("VpcNatGatewayVpc", INGRESS, same=_ingress), required=True, replace=True),
        "udpTimeoutSeconds": integer(computed=True),
        "icmpTimeoutSeconds": integer(computed=True),
        "tcpTimeoutSeconds": integer(computed=True),
        "projectId": text(computed=True),
        "egresses": told("array", items=block("VpcNatGatewayEgress", EGRESS)),
        "state": told(),
        "createdAt": told(),
        "updatedAt": told(),
    },
    request=_request,
    answer=_answer,
    update=_update,
    settled=lambda document: document["state"] == "ACTIVE",
    gone=True,
    official_timeouts={"create": 5 * MINUTE, "delete": 5 * MINUTE},
)
