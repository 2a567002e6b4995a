"""Droplets. What a new one asks for and the lab does not have is refused, never ignored."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from sqlalchemy import func, select

from ..errors import not_found, unprocessable
from ..http import MAX_ID, Call, Request, Service, iso
from ..reconciler import begin
from ..tables import Action, Droplet, Firewall, Tagging, Vpc
from . import firewalls, ssh_keys, tags, vpcs
from .tags import Name as TagName

service = Service()

USER_DATA_MAX = 64 * 1024  # bytes
NAMES_MAX = 10
HOSTNAME = r"[a-zA-Z0-9]?[a-z0-9A-Z.\-]*[a-z0-9A-Z]"
BAD_NAME = "Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)"


def _is_hostname(name: str) -> str:
    if len(name) > 255 or not re.fullmatch(HOSTNAME, name):
        raise ValueError(BAD_NAME)
    return name


Name = Annotated[str, AfterValidator(_is_hostname)]
Identifier = Annotated[int, Field(ge=0, le=MAX_ID)] | str


class BackupPolicy(Request):
    plan: Literal["daily", "weekly"] = "weekly"
    weekday: Literal["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] = "SUN"
    hour: Literal[0, 4, 8, 12, 16, 20] = 0


class Create(Request):
    name: Name | None = None
    names: Annotated[list[Name], Field(min_length=1, max_length=NAMES_MAX)] | None = None
    region: str = ""
    size: str
    image: Identifier
    ssh_keys: Annotated[list[Identifier], Field(max_length=100)] = []
    backups: bool = False
    backup_policy: BackupPolicy | None = None
    ipv6: bool = False
    monitoring: bool = False
    tags: Annotated[list[TagName], Field(max_length=100)] = []
    user_data: str = ""
    volumes: list[str] = []
    vpc_uuid: str = ""
    with_droplet_agent: bool = False
    public_networking: bool = True


def answer(call: Call, row: Droplet, locked: set[int]) -> dict[str, Any]:
    size = call.catalogue.sizes[row.size]
    public, private = call.account.public_range, call.get(Vpc, row.vpc_id).ip_range
    return {
        "id": row.id,
        "name": row.name,
        "memory": size.memory,
        "vcpus": size.vcpus,
        "disk": row.disk,
        "disk_info": [{"type": "local", "size": {"amount": row.disk, "unit": "gib"}}],
        "locked": row.id in locked,
        "status": row.status,
        "kernel": None,
        "created_at": iso(row.created_at),
        "features": row.features,
        "backup_ids": [],
        "next_backup_window": None,
        "snapshot_ids": [],
        "image": call.catalogue.image_answer(call.catalogue.images[row.image]),
        "volume_ids": [],
        "size": call.catalogue.size_answer(size),
        "size_slug": row.size,
        "networks": {
            "v4": [
                *([_network(row.public_ipv4, public, "public")] if row.public_ipv4 else []),
                _network(row.private_ipv4, private, "private"),
            ],
            "v6": [],
        },
        "region": call.catalogue.region_answer(row.region),
        "tags": row.tags,
        "vpc_uuid": row.vpc_id,
    }


def _network(address: str, cidr: str, kind: str) -> dict[str, str]:
    network = ipaddress.IPv4Network(cidr)
    return {
        "ip_address": address,
        "netmask": str(network.netmask),
        "gateway": str(network.network_address + 1),
        "type": kind,
    }


def locked(call: Call) -> set[int]:
    """The droplets with an action under way."""
    return set(call.db.scalars(select(Action.resource_id).where(Action.status == "in-progress")))


def found(call: Call) -> Droplet:
    """The droplet of the request's path, or 404."""
    return call.get(Droplet, call.path_id("droplet_id"))


def tagged(call: Call) -> list[Droplet]:
    """The droplets of the request's ``tag_name``, which has to be given."""
    name = call.query.get("tag_name", "")
    if not name:
        raise unprocessable("tag_name: is required")
    return list(call.db.scalars(_with_tag(name)))


def _with_tag(name: str):
    return select(Droplet).join(Tagging).where(Tagging.tag == name).order_by(Droplet.id)


@service.get("/v2/droplets")
def index(call: Call) -> dict[str, Any]:
    tag, name = call.query.get("tag_name"), call.query.get("name")
    rows = _with_tag(tag) if tag else select(Droplet).order_by(Droplet.id)
    if name:
        rows = rows.where(Droplet.name == name)
    if call.query.get("type") == "gpus":
        rows = rows.where(Droplet.id < 0)
    busy = locked(call)
    return call.page("droplets", rows, lambda row: answer(call, row, busy))


@service.post("/v2/droplets", status=202)
def create(call: Call) -> dict[str, Any]:
    wanted = call.body(Create)
    names = wanted.names or ([wanted.name] if wanted.name else [])
    if not names:
        raise unprocessable(f"name: is required. {BAD_NAME}")
    _refuse_unavailable(wanted)
    vpc = call.db.get(Vpc, wanted.vpc_uuid)
    region = wanted.region or (vpc.region if vpc else "")
    size, image = call.catalogue.sizes.get(wanted.size), call.catalogue.image(wanted.image)
    if region not in call.catalogue.regions:
        raise unprocessable(f"You specified an invalid region for Droplet creation: {region!r}.")
    if size is None:
        raise unprocessable(f"You specified an invalid size for Droplet creation: {wanted.size!r}.")
    if image is None:
        raise unprocessable(f"You specified an invalid image for Droplet creation: {wanted.image!r}.")
    if region in size.absent:
        raise unprocessable(f"Size is not available in this region: {size.slug} in {region}.")
    if size.disk < image.min_disk:
        raise unprocessable(f"{size.slug} has {size.disk} GiB of disk, {image.slug} needs {image.min_disk}.")
    if (call.db.scalar(select(func.count(Droplet.id))) or 0) + len(names) > call.account.droplet_limit:
        raise unprocessable("creating this/these droplet(s) will exceed your droplet limit")
    keys, wrong = _keys(call, wanted.ssh_keys)
    if wrong:
        raise unprocessable(f"{', '.join(wrong)} are invalid key identifiers for Droplet creation.")
    private_network = vpcs.chosen(call, region, wanted.vpc_uuid)
    names_of_tags = tags.ensure(call, wanted.tags)
    public, private = vpcs.public_addresses(call), vpcs.private_addresses(call, private_network)
    rows, actions = [], []
    for name in names:
        row = Droplet(
            name=name,
            region=region,
            image=image.slug,
            size=size.slug,
            disk=size.disk,
            vpc_id=private_network.id,
            public_ipv4=next(public) if wanted.public_networking else None,
            private_ipv4=next(private),
            status="new",
            powered=True,
            destroying=False,
            features=_features(wanted),
            user_data=wanted.user_data,
            public_keys=keys,
            backup_policy=_policy(wanted.backup_policy) if wanted.backups else None,
            created_at=call.now,
            taggings=[Tagging(tag=tag) for tag in names_of_tags],
        )
        call.db.add(row)
        call.db.flush()
        action = begin(row, "create", call.now)
        call.db.add(action)
        call.db.flush()
        rows.append(row)
        actions.append({"id": action.id, "rel": "create", "href": call.href(f"/v2/actions/{action.id}")})
    busy = locked(call)
    answers = [answer(call, row, busy) for row in rows]
    body = {"droplets": answers} if wanted.names else {"droplet": answers[0]}
    return {**body, "links": {"actions": actions}}


def _refuse_unavailable(wanted: Create) -> None:
    """422 for what the regions' features do not list."""
    if len(wanted.user_data.encode()) > USER_DATA_MAX:
        raise unprocessable(f"user_data: must not be longer than {USER_DATA_MAX} bytes")
    asked = {
        "ipv6": wanted.ipv6,
        "volumes": bool(wanted.volumes),
    }
    for feature, is_asked in asked.items():
        if is_asked:
            raise unprocessable(f"{feature} is not available in any region of this cloud")


def _features(wanted: Create) -> list[str]:
    asked = {
        "backups": wanted.backups,
        "monitoring": wanted.monitoring,
        "droplet_agent": wanted.with_droplet_agent,
    }
    return [*(name for name, is_asked in asked.items() if is_asked), "private_networking"]


def _policy(wanted: BackupPolicy | None) -> dict[str, Any]:
    """When backups would be taken: as asked, or weekly."""
    policy = (wanted or BackupPolicy()).model_dump()
    if policy["plan"] == "daily":
        policy.pop("weekday")
    days = {"daily": 7, "weekly": 28}[policy["plan"]]
    return policy | {"window_length_hours": 4, "retention_period_days": days}


def set_backups(row: Droplet, wanted: BackupPolicy | None, *, on: bool) -> None:
    """Switch them, in what the account keeps: no backup is ever taken here."""
    row.features = [*(["backups"] if on else []), *(name for name in row.features if name != "backups")]
    row.backup_policy = _policy(wanted) if on else None


def _keys(call: Call, identifiers: list[int | str]) -> tuple[list[str], list[str]]:
    """The public keys meant, and the identifiers that mean none."""
    rows = [(identifier, ssh_keys.find(call, identifier)) for identifier in identifiers]
    return [row.public_key for _, row in rows if row], [str(each) for each, row in rows if not row]


def _destroy(call: Call, rows: list[Droplet]) -> None:
    """Begin the end of ``rows``; each is there, locked, until its machine is gone. All of them or none."""
    busy = locked(call)
    for row in rows:
        if row.destroying:
            continue
        if row.id in busy:
            raise unprocessable("Droplet already has a pending event.")
        row.destroying, row.powered = True, False
        call.db.add(begin(row, "destroy", call.now))


@service.delete("/v2/droplets")
def remove_tagged(call: Call) -> None:
    rows = tagged(call)
    if not rows:
        raise not_found()
    _destroy(call, rows)


@service.get("/v2/droplets/{droplet_id}")
def show(call: Call) -> dict[str, Any]:
    return {"droplet": answer(call, found(call), locked(call))}


@service.delete("/v2/droplets/{droplet_id}")
def remove(call: Call) -> None:
    _destroy(call, [found(call)])


@service.get("/v2/droplets/{droplet_id}/firewalls")
def list_firewalls(call: Call) -> dict[str, Any]:
    row, world = found(call), call.world()
    ids = [each.id for each in world.firewalls.values() if row.id in each.droplet_ids]
    rows = select(Firewall).where(Firewall.id.in_(ids)).order_by(Firewall.created_at, Firewall.id)
    return call.page("firewalls", rows, lambda each: firewalls.answer(call, each))


@service.get("/v2/droplets/{droplet_id}/neighbors")
def neighbors(call: Call) -> dict[str, Any]:
    # Every lab droplet shares this one machine, so that a list of neighbours would tell nothing.
    found(call)
    return call.page("droplets", [])


@service.get("/v2/droplets/{droplet_id}/backups")
def backups(call: Call) -> dict[str, Any]:
    found(call)
    return call.page("backups", [])


@service.get("/v2/droplets/{droplet_id}/backups/policy")
def backup_policy(call: Call) -> dict[str, Any]:
    row = found(call)
    held = {"backup_policy": row.backup_policy} if row.backup_policy else {}
    return {
        "policy": {
            "droplet_id": row.id,
            "backup_enabled": bool(held),
            **held,
            "next_backup_window": None,
        }
    }


@service.get("/v2/droplets/{droplet_id}/snapshots")
def snapshots(call: Call) -> dict[str, Any]:
    found(call)
    return call.page("snapshots", [])


@service.get("/v2/droplets/{droplet_id}/kernels")
def kernels(call: Call) -> dict[str, Any]:
    found(call)
    return call.page("kernels", [])
