"""A droplet.

Image, region, keys, user data, network and agents are fixed at birth: changing one replaces it. As with the
official provider, image, keys, user data and agent are not read back: an image slug moves to newer builds
under the same name, and the API tells nothing of the rest.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from lab.engine.digitalocean.api import Api, Refusal, segment
from lab.engine.digitalocean.fields import (
    between,
    block,
    flag,
    integer,
    name,
    not_empty,
    official_only,
    one_of,
    sha1,
    text,
    told,
    unordered,
)
from lab.engine.digitalocean.resource import MINUTE, Answer, Properties, Resource, received, sent
from lab.engine.digitalocean.tag import check_tag

HERE_ONLY = ("gracefulShutdown", "resizeDisk")
"""Properties that say how the provider goes about it; DigitalOcean never hears of them."""


def _number(value: str) -> int | str:
    """Images and keys are given by number or by name, always as a string."""
    return int(value) if value.isdecimal() else value


def _request(api: Api, plan: Properties) -> Properties:
    body = {key: value for key, value in sent(DROPLET.fields, plan).items() if value is not False}
    body["image"] = _number(plan["image"])
    if keys := plan.get("sshKeys"):
        body["ssh_keys"] = [_number(key) for key in keys]
    for key, where in (("publicNetworking", "public_networking"), ("dropletAgent", "with_droplet_agent")):
        if plan.get(key) is False:
            body[where] = False
    if plan.get("backupPolicy") and not plan.get("backups"):
        raise Refusal(
            f"The droplet {plan['name']} has a backupPolicy but no backups: set backups, or leave the policy out."
        )
    return body


def _address(document: Answer, family: str, kind: str) -> str:
    for network in (document.get("networks") or {}).get(family) or []:
        if network["type"] == kind:
            return str(ipaddress.ip_address(network["ip_address"]))
    return ""


def _answer(api: Api, document: Answer) -> Properties:
    features = document.get("features") or []
    public = _address(document, "v4", "public")
    return {
        **received(
            {
                key: DROPLET.fields[key]
                for key in ("name", "disk", "vcpus", "memory", "status", "locked", "createdAt", "vpcUuid")
            },
            document,
        ),
        "dropletUrn": f"do:droplet:{document['id']}",
        "region": document["region"]["slug"],
        "size": document["size_slug"],
        "priceHourly": document["size"]["price_hourly"],
        "priceMonthly": document["size"]["price_monthly"],
        "ipv4Address": public,
        "ipv4AddressPrivate": _address(document, "v4", "private"),
        "ipv6Address": _address(document, "v6", "public"),
        "publicNetworking": public != "",
        "backups": "backups" in features,
        "ipv6": "ipv6" in features,
        "privateNetworking": "private_networking" in features,
        "monitoring": "monitoring" in features,
        "volumeIds": document.get("volume_ids") or [],
        "tags": document.get("tags") or [],
    }


def _adopt(document: Answer) -> Properties:
    image = document["image"]
    return {"image": image.get("slug") or str(image["id"]), "resizeDisk": True}


def _act(api: Api, identity: str, doing: str, **action: Any) -> None:
    """Have an action done and wait for its end."""
    ended = api.action(f"/v2/droplets/{segment(identity)}", 60 * MINUTE, doing, action)
    if ended["status"] != "completed":
        raise Refusal(
            f"DigitalOcean began {doing} and failed (action {ended['id']}). Look at the droplet's history in the "
            "control panel, then run `pulumi up` again."
        )


def _until(api: Api, identity: str, doing: str, seconds: float, **wanted: Any) -> None:
    def look() -> bool | None:
        found = api.get(f"/v2/droplets/{segment(identity)}", doing)
        droplet = found["droplet"] if found else wanted
        return True if all(droplet[key] == value for key, value in wanted.items()) else None

    api.wait(look, seconds, doing)


def _resize(api: Api, identity: str, plan: Properties, which: str) -> None:
    """Off, resized, on again; on again also where the resize was refused."""
    try:
        _act(api, identity, f"powering off {which}", type="power_off")
    except Refusal as refused:
        if "already powered off" not in refused.reason:
            raise
    _until(api, identity, f"powering off {which}", 5 * MINUTE, status="off")
    try:
        size, disk = plan["size"], plan["resizeDisk"]
        _act(api, identity, f"resizing {which} to {size}", type="resize", size=size, disk=disk)
    finally:
        _act(api, identity, f"powering {which} on again", type="power_on")


def _tag(api: Api, identity: str, before: set[str], after: set[str], which: str) -> None:
    body = {"resources": [{"resource_id": identity, "resource_type": "droplet"}]}
    for tag in sorted(before - after):
        api.call("DELETE", f"/v2/tags/{segment(tag)}/resources", f"taking the tag {tag} off {which}", body)
    for tag in sorted(after - before):
        api.call("POST", "/v2/tags", f"creating the tag {tag}", {"name": tag})
        api.call("POST", f"/v2/tags/{segment(tag)}/resources", f"tagging {which} with {tag}", body)


def _policy(plan: Properties) -> Properties:
    return {"backup_policy": plan["backupPolicy"]} if plan.get("backupPolicy") else {}


def _update(api: Api, identity: str, state: Properties, plan: Properties) -> None:
    which = f"the droplet {state['name']}"

    def changed(key: str) -> bool:
        return bool(state.get(key) or None) != bool(plan.get(key) or None) or (
            bool(plan.get(key)) and state.get(key) != plan.get(key)
        )

    if changed("size"):
        _resize(api, identity, plan, which)
    if changed("name"):
        _act(api, identity, f"renaming {which} to {plan['name']}", type="rename", name=plan["name"])
    if changed("backups"):
        if plan.get("backups"):
            _act(api, identity, f"enabling backups of {which}", type="enable_backups", **_policy(plan))
        else:
            _act(api, identity, f"disabling backups of {which}", type="disable_backups")
    elif changed("backupPolicy") and plan.get("backupPolicy"):
        _act(
            api,
            identity,
            f"changing the backup policy of {which}",
            type="change_backup_policy",
            **_policy(plan),
        )
    if changed("ipv6") and plan.get("ipv6"):
        _act(api, identity, f"enabling IPv6 on {which}", type="enable_ipv6")
    before, after = set(state.get("tags") or []), set(plan.get("tags") or [])
    if before != after:
        _tag(api, identity, before, after, which)


def _before_delete(api: Api, identity: str, properties: Properties) -> None:
    which = f"the droplet {properties.get('name') or identity}"
    _until(api, identity, f"waiting for {which} to be unlocked", MINUTE, locked=False)
    if properties.get("gracefulShutdown"):
        _act(api, identity, f"shutting down {which}", type="shutdown")
        _until(api, identity, f"shutting down {which}", MINUTE, status="off")


def _no_more_ipv6(old: Any, new: Any) -> bool:
    return bool(old) and not new


DROPLET = Resource(
    token="digitalocean:index/droplet:Droplet",  # noqa: S106
    noun="droplet",
    path="/v2/droplets",
    envelope="droplet",
    listed="droplets",
    fields={
        "name": name(),
        "image": text(required=True, replace=True, check=not_empty),
        "region": text(computed=True, replace=True, stored=str.lower, check=not_empty),
        "size": text(required=True, stored=str.lower, check=not_empty),
        "sshKeys": unordered(text(check=not_empty), replace=True),
        "userData": text(replace=True, stored=sha1, check=not_empty),
        "vpcUuid": text(computed=True, replace=True, check=not_empty),
        "tags": unordered(text(check=check_tag, same=str.lower)),
        "monitoring": flag(default=False, replace=True),
        "dropletAgent": flag(replace=True, api="with_droplet_agent"),
        "publicNetworking": flag(computed=True, replace=True),
        "ipv6": flag(default=False, replace=_no_more_ipv6),
        "ipv6Address": text(computed=True, api=""),
        "backups": flag(default=False),
        "backupPolicy": block(
            "DropletBackupPolicy",
            {
                "plan": text(check=one_of("daily", "weekly")),
                "weekday": text(check=one_of("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")),
                "hour": integer(check=between(0, 20)),
            },
        ),
        "gracefulShutdown": flag(default=False, api=""),
        "resizeDisk": flag(default=True, api=""),
        "privateNetworking": flag(computed=True, check=official_only("Give vpcUuid instead.")),
        "volumeIds": unordered(text(), computed=True, check=official_only("The lab has no volumes.")),
        "dropletUrn": told(),
        "createdAt": told(),
        "disk": told("integer"),
        "vcpus": told("integer"),
        "memory": told("integer"),
        "priceHourly": told("number"),
        "priceMonthly": told("number"),
        "status": told(),
        "locked": told("boolean"),
        "ipv4Address": told(),
        "ipv4AddressPrivate": told(),
    },
    request=_request,
    answer=_answer,
    adopt=_adopt,
    settled=lambda droplet: droplet["status"] in ("active", "off") and not droplet["locked"],
    update=_update,
    before_delete=_before_delete,
    gone=True,
    # The official deadline for a delete is a minute for each of its steps; a locked droplet can use them all.
    deadlines={"delete": 3 * MINUTE},
    schema_version=1,
    official_timeouts={"create": 60 * MINUTE, "update": 60 * MINUTE, "delete": MINUTE},
)
