"""Load balancers. One that has not settled takes no change: 403, to be tried again.

An errored one carries ``message``, which DigitalOcean's do not: why.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from sqlalchemy import select

from .. import desired
from ..errors import forbidden, not_found, unprocessable
from ..http import Call, Id, Port, Request, Service, iso
from ..tables import Certificate, Droplet, LoadBalancer, Vpc
from ..transitions import remaining
from . import projects, tags, vpcs
from .tags import Name as TagName

service = Service()

BUSY = "Load Balancer can't be updated while it processes previous actions"

DropletIds = Annotated[list[Id], Field(max_length=1000)]
Seconds = Annotated[int, Field(ge=1, le=300)]
Threshold = Annotated[int, Field(ge=2, le=10)]


class ForwardingRule(Request):
    entry_protocol: Literal["http", "https", "http2", "tcp"]
    entry_port: Port
    target_protocol: Literal["http", "https", "http2", "tcp"]
    target_port: Port
    certificate_id: str = ""
    tls_passthrough: bool = False

    @model_validator(mode="after")
    def _makes_sense(self) -> ForwardingRule:
        encrypted = self.entry_protocol in ("https", "http2")
        if encrypted and bool(self.certificate_id) == self.tls_passthrough:
            raise ValueError(f"an {self.entry_protocol} entry needs either certificate_id or tls_passthrough")
        if not encrypted and (self.certificate_id or self.tls_passthrough):
            raise ValueError(f"an {self.entry_protocol} entry takes no certificate_id and no tls_passthrough")
        if self.tls_passthrough and self.target_protocol not in ("https", "http2"):
            raise ValueError("tls_passthrough needs the target protocol https or http2")
        if (self.entry_protocol == "tcp") != (self.target_protocol == "tcp"):
            raise ValueError("tcp goes to tcp, and nothing else does")
        return self


class HealthCheck(Request):
    protocol: Literal["http", "https", "tcp"] = "http"
    port: Port = 80
    path: Annotated[str, Field(max_length=1024, pattern=r"^(/[\x21-\x7e]*)?$")] = "/"
    check_interval_seconds: Annotated[int, Field(ge=3, le=300)] = 10
    response_timeout_seconds: Annotated[int, Field(ge=3, le=300)] = 5
    unhealthy_threshold: Threshold = 5
    healthy_threshold: Threshold = 3


class StickySessions(Request):
    type: Literal["none"] = "none"


_SOURCES: dict[str, Callable[[str], object]] = {"ip": ipaddress.ip_address, "cidr": ipaddress.ip_network}


class Sources(Request):
    """Who may connect, or may not: ``ip:192.0.2.1`` and ``cidr:192.0.2.0/24``."""

    allow: Annotated[list[str], Field(max_length=100)] = []
    deny: Annotated[list[str], Field(max_length=100)] = []

    @field_validator("allow", "deny")
    @classmethod
    def _are_sources(cls, value: list[str]) -> list[str]:
        for source in value:
            kind, _, address = source.partition(":")
            try:
                _SOURCES[kind](address)
            except (KeyError, ValueError):
                raise ValueError(f"{source!r} is neither ip:ADDRESS nor cidr:NETWORK") from None
        return value


class Declaration(Request):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9.\-]*[a-zA-Z0-9])?$", max_length=255)]
    region: str = ""
    forwarding_rules: Annotated[list[ForwardingRule], Field(min_length=1, max_length=100)]
    health_check: HealthCheck = HealthCheck()
    sticky_sessions: StickySessions = StickySessions()
    size_unit: Annotated[int, Field(ge=1, le=100)] = 1
    size: Literal["", "lb-small", "lb-medium", "lb-large"] = ""
    redirect_http_to_https: bool = False
    enable_proxy_protocol: bool = False
    enable_backend_keepalive: bool = False
    disable_lets_encrypt_dns_records: bool = False
    http_idle_timeout_seconds: Annotated[int, Field(ge=30, le=600)] = 60
    vpc_uuid: str = ""
    project_id: str = ""
    firewall: Sources = Sources()
    network: Literal["EXTERNAL"] = "EXTERNAL"
    network_stack: Literal["IPV4"] = "IPV4"
    type: Literal["REGIONAL"] = "REGIONAL"
    tls_cipher_policy: Literal["DEFAULT", "STRONG"] = "DEFAULT"
    droplet_ids: DropletIds = []
    tag: TagName | Literal[""] = ""

    @model_validator(mode="after")
    def _is_consistent(self) -> Declaration:
        if self.droplet_ids and self.tag:
            raise ValueError("droplet_ids and tag exclude each other")
        ports = [rule.entry_port for rule in self.forwarding_rules]
        if len(set(ports)) != len(ports):
            raise ValueError("forwarding_rules: an entry port is used twice")
        if self.redirect_http_to_https and not any(
            rule.entry_protocol in ("https", "http2") and rule.entry_port == 443
            for rule in self.forwarding_rules
        ):
            raise ValueError("redirect_http_to_https: needs a forwarding rule for https on port 443")
        return self


class Droplets(Request):
    droplet_ids: Annotated[DropletIds, Field(min_length=1)]


class ForwardingRules(Request):
    forwarding_rules: Annotated[list[ForwardingRule], Field(min_length=1, max_length=100)]


# Settings that are answered from columns of their own, or not at all.
_APART = {"name", "region", "vpc_uuid", "project_id", "size"}


def answer(call: Call, row: LoadBalancer) -> dict[str, Any]:
    settings = {name: value for name, value in row.settings.items() if name not in ("droplet_ids", "tag")}
    # DigitalOcean's droplet_ids of a tagged load balancer are whoever carries the tag.
    members = (
        sorted(call.world().load_balancers[row.id].members)
        if row.settings["tag"]
        else row.settings["droplet_ids"]
    )
    status = _status(call, row)
    return settings | {
        "id": row.id,
        "name": row.name,
        "ip": row.public_ipv4 if status != "new" else "",
        "ipv6": "",
        "size": "lb-small",
        "algorithm": "round_robin",
        "status": status,
        "created_at": iso(row.created_at),
        "region": call.catalogue.region_answer(row.region),
        "vpc_uuid": row.vpc_id,
        "project_id": projects.default_id(call),
        "droplet_ids": members,
        "tag": row.settings["tag"],
        **({"message": row.error} if row.error else {}),
    }


def _status(call: Call, row: LoadBalancer) -> str:
    if row.error:
        return "errored"
    waiting = remaining(call.transitions.load_balancer, row.created_at, call.now)
    return "active" if row.activated_at and not waiting else "new"


def _busy(call: Call, row: LoadBalancer) -> bool:
    """Its last change does not stand on the network yet. An errored one may be changed: that is the way out."""
    if row.error:
        return False
    waiting = remaining(call.transitions.load_balancer, row.changed_at, call.now)
    return bool(waiting) or row.applied != desired.digest(call.world().load_balancers[row.id])


def _declare(call: Call, row: LoadBalancer, wanted: Declaration) -> None:
    """Make ``row`` say what is wanted, all of it; or 422 with nothing changed."""
    same_name = select(LoadBalancer).where(LoadBalancer.name == wanted.name, LoadBalancer.id != row.id)
    if call.db.scalar(same_name):
        raise unprocessable(f"name: a load balancer named {wanted.name!r} already exists")
    for rule in wanted.forwarding_rules:
        if rule.certificate_id and call.db.get(Certificate, rule.certificate_id) is None:
            raise unprocessable(f"certificate_id: there is no certificate {rule.certificate_id}")
    if wanted.project_id not in ("", projects.default_id(call)):
        raise unprocessable(f"project_id: there is no project {wanted.project_id}")
    ids = list(dict.fromkeys(wanted.droplet_ids))
    for droplet_id in ids:
        droplet = call.db.get(Droplet, droplet_id)
        if droplet is None or droplet.vpc_id != row.vpc_id:
            raise unprocessable(f"droplet_ids: there is no droplet {droplet_id} in the load balancer's VPC")
    if wanted.tag:
        tags.ensure(call, [wanted.tag])
    row.name = wanted.name
    row.settings = wanted.model_dump(exclude=_APART) | {"droplet_ids": ids}
    row.changed_at = call.now


def _now(row: LoadBalancer) -> Declaration:
    """What ``row`` declares, to be changed and declared anew."""
    return Declaration(name=row.name, region=row.region, vpc_uuid=row.vpc_id, **row.settings)


def _found(call: Call) -> LoadBalancer:
    return call.get(LoadBalancer, call.path["lb_id"])


def _free(call: Call) -> LoadBalancer:
    """The load balancer of the path, ready to be changed; or 404, or 403."""
    row = _found(call)
    if _busy(call, row):
        raise forbidden(BUSY)
    return row


def _with(row: LoadBalancer, **update: Any) -> Declaration:
    """What ``row`` declares with some of it replaced, validated as a whole."""
    try:
        return Declaration.model_validate(_now(row).model_dump() | update)
    except ValidationError as error:
        raise unprocessable(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


@service.get("/v2/load_balancers")
def index(call: Call) -> dict[str, Any]:
    rows = select(LoadBalancer).order_by(LoadBalancer.created_at, LoadBalancer.id)
    return call.page("load_balancers", rows, lambda row: answer(call, row))


@service.post("/v2/load_balancers", status=202)
def create(call: Call) -> dict[str, Any]:
    wanted = call.body(Declaration)
    vpc = call.db.get(Vpc, wanted.vpc_uuid)
    region = wanted.region or (vpc.region if vpc else "")
    if region not in call.catalogue.regions:
        raise unprocessable(f"region: {region!r} is not a region. See GET /v2/regions.")
    network = vpcs.chosen(call, region, wanted.vpc_uuid)
    row = LoadBalancer(
        id=str(uuid.uuid4()),
        region=region,
        vpc_id=network.id,
        public_ipv4=next(vpcs.public_addresses(call)),
        private_ipv4=next(vpcs.private_addresses(call, network)),
        created_at=call.now,
        activated_at=None,
        applied="",
        error="",
    )
    _declare(call, row, wanted)
    call.db.add(row)
    return {"load_balancer": answer(call, _flushed(call, row))}


def _flushed(call: Call, row: LoadBalancer) -> LoadBalancer:
    call.db.flush()
    return row


@service.get("/v2/load_balancers/{lb_id}")
def show(call: Call) -> dict[str, Any]:
    return {"load_balancer": answer(call, _found(call))}


@service.put("/v2/load_balancers/{lb_id}")
def replace(call: Call) -> dict[str, Any]:
    row, wanted = _free(call), call.body(Declaration)
    if wanted.region not in ("", row.region):
        raise unprocessable(f"region: a load balancer stays in its region, {row.region}")
    if wanted.vpc_uuid not in ("", row.vpc_id):
        raise unprocessable(f"vpc_uuid: a load balancer stays in its VPC, {row.vpc_id}")
    _declare(call, row, wanted)
    return {"load_balancer": answer(call, row)}


@service.delete("/v2/load_balancers/{lb_id}")
def remove(call: Call) -> None:
    call.db.delete(_found(call))


@service.delete("/v2/load_balancers/{lb_id}/cache")
def remove_cache(call: Call) -> None:
    # Only global load balancers have a cache, and this cloud has regional ones.
    _found(call)
    raise unprocessable("a regional load balancer has no cache")


@service.post("/v2/load_balancers/{lb_id}/droplets", status=204)
def add_droplets(call: Call) -> None:
    row, ids = _free(call), call.body(Droplets).droplet_ids
    _declare(call, row, _with(row, droplet_ids=[*row.settings["droplet_ids"], *ids]))


@service.delete("/v2/load_balancers/{lb_id}/droplets")
def remove_droplets(call: Call) -> None:
    row, ids = _free(call), call.body(Droplets).droplet_ids
    _declare(call, row, _with(row, droplet_ids=[i for i in row.settings["droplet_ids"] if i not in ids]))


@service.post("/v2/load_balancers/{lb_id}/forwarding_rules", status=204)
def add_rules(call: Call) -> None:
    row, rules = _free(call), _rules(call)
    _declare(call, row, _with(row, forwarding_rules=[*row.settings["forwarding_rules"], *rules]))


@service.delete("/v2/load_balancers/{lb_id}/forwarding_rules")
def remove_rules(call: Call) -> None:
    row, unwanted = _free(call), _rules(call)
    rules = row.settings["forwarding_rules"]
    if any(rule not in rules for rule in unwanted):
        raise not_found()
    _declare(call, row, _with(row, forwarding_rules=[rule for rule in rules if rule not in unwanted]))


def _rules(call: Call) -> list[dict[str, Any]]:
    return [rule.model_dump() for rule in call.body(ForwardingRules).forwarding_rules]
