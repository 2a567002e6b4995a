"""Reserved addresses, and what each is assigned to. Their id in the state is the address itself."""

from __future__ import annotations

import threading
from typing import Any

from lab.engine.digitalocean.api import Api, Refusal, segment
from lab.engine.digitalocean.fields import integer, kept, not_empty, text, told
from lab.engine.digitalocean.resource import MINUTE, Answer, Properties, Resource

PATH = "/v2/reserved_ips"


def act(api: Api, address: str, doing: str, **action: Any) -> None:
    """Have an action done with an address, and wait for its end."""
    if api.action(f"{PATH}/{segment(address)}", 5 * MINUTE, doing, action)["status"] != "completed":
        raise Refusal(f"DigitalOcean began {doing} and failed. Run `pulumi up` again.")


def _answer(api: Api, document: Answer) -> Properties:
    return {
        "ipAddress": document["ip"],
        "region": document["region"]["slug"],
        "reservedIpUrn": f"do:floatingip:{document['ip']}",
        **({"dropletId": document["droplet"]["id"]} if document.get("droplet") else {}),
    }


def _update(api: Api, identity: str, state: Properties, plan: Properties) -> None:
    if wanted := plan.get("dropletId"):
        act(api, identity, f"assigning {identity} to droplet {wanted}", type="assign", droplet_id=wanted)
    else:
        act(api, identity, f"unassigning {identity}", type="unassign")


def _unassign(api: Api, identity: str, properties: Properties) -> None:
    document = api.get(f"{PATH}/{segment(identity)}", f"looking for {identity}")
    if document and document["reserved_ip"].get("droplet"):
        act(api, identity, f"unassigning {identity}", type="unassign")


MAKING = threading.Lock()


class _Address(Resource):
    """It has no name to be known by again. So one is made at a time, and if the answer is lost, the one address of the
    region that is free now and was not there before is it."""

    def create(self, api: Api, plan: Properties) -> tuple[str, Properties]:
        with MAKING:
            before = _free(api, plan["region"])
            try:
                return super().create(api, plan)
            except Refusal as refused:
                new = set() if 0 < refused.status < 500 else _free(api, plan["region"]) - before
                if len(new) != 1:
                    raise
                return new.pop(), kept(self.fields, plan)


def _free(api: Api, region: str) -> set[str]:
    found = api.pages(PATH, "reserved_ips", "looking for reserved addresses")
    return {
        each["ip"] for each in found if not each.get("droplet") and each["region"]["slug"] == region.lower()
    }


RESERVED_IP = _Address(
    token="digitalocean:index/reservedIp:ReservedIp",  # noqa: S106
    noun="reserved address",
    path=PATH,
    envelope="reserved_ip",
    fields={
        "region": text(required=True, replace=True, stored=str.lower, check=not_empty),
        "dropletId": integer(),
        # DigitalOcean chooses it; the official provider takes one all the same, and ignores it.
        "ipAddress": text(computed=True, api=""),
        "reservedIpUrn": told(),
    },
    request=lambda api, plan: (
        {"droplet_id": plan["dropletId"]} if plan.get("dropletId") else {"region": plan["region"]}
    ),
    answer=_answer,
    update=_update,
    before_delete=_unassign,
    key="ip",
)


def _assignment(api: Api, identity: str) -> Answer | None:
    """The address with its droplet, if it still has the one this assignment was about."""
    address, _, droplet = identity.rpartition("-")
    found = api.get(f"{PATH}/{segment(address)}", f"looking for {address}")
    held = found["reserved_ip"] if found else None
    return held if held and str((held.get("droplet") or {}).get("id")) == droplet else None


class _Assignment(Resource):
    """Not a thing of the API's own but something done to two: made by one action, taken back by another."""

    def create(self, api: Api, plan: Properties) -> tuple[str, Properties]:
        address, droplet = plan["ipAddress"], plan["dropletId"]
        act(api, address, f"assigning {address} to droplet {droplet}", type="assign", droplet_id=droplet)
        return f"{address}-{droplet}", dict(plan)

    def delete(self, api: Api, identity: str, properties: Properties, seconds: float) -> None:
        if _assignment(api, identity):
            address = identity.rpartition("-")[0]
            act(api, address, f"unassigning {address}", type="unassign")


RESERVED_IP_ASSIGNMENT = _Assignment(
    token="digitalocean:index/reservedIpAssignment:ReservedIpAssignment",  # noqa: S106
    noun="assignment of a reserved address",
    path=PATH,
    envelope="action",
    fields={
        "ipAddress": text(required=True, replace=True, check=not_empty, api="ip"),
        "dropletId": integer(required=True, replace=True),
    },
    answer=lambda api, document: {"ipAddress": document["ip"], "dropletId": document["droplet"]["id"]},
    find=_assignment,
)
