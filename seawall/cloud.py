"""Look into the account itself, beside Pulumi: what an interrupted run may have created unseen, and what died since.

``POST /v2/droplets`` and its like have no idempotency key. A run killed between the request and the
answer leaves something the state doesn't know; looked up by its name (and the stack's own tag), it is
adopted instead of made twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx

from infra.patience import Patient
from seawall.problem import Problem

OFFICIAL = "https://api.digitalocean.com"


@dataclass(frozen=True)
class Kind:
    """How one resource type is listed (``path``, ``key``) and which attribute is Pulumi's id of it."""

    path: str
    key: str
    identity: str = "id"
    same: tuple[tuple[str, str], ...] = (("name", "name"),)
    """The inputs that tell one from another, each with the attribute of the API's answer that holds it."""
    once: bool = False
    """Whether it told a secret when it was made: without that it is no use, so it is taken away and made anew."""

    def within(self, inputs: Mapping[str, Any]) -> Kind:
        """Where one with these ``inputs`` is listed: a path may name, in braces, what it is part of."""
        return replace(self, path=self.path.format_map(inputs))


KINDS = {
    "digitalocean:index/vpc:Vpc": Kind("/v2/vpcs", "vpcs"),
    "digitalocean:index/tag:Tag": Kind("/v2/tags", "tags", identity="name"),
    "digitalocean:index/sshKey:SshKey": Kind(
        "/v2/account/keys", "ssh_keys", same=(("publicKey", "public_key"),)
    ),
    "digitalocean:index/droplet:Droplet": Kind("/v2/droplets", "droplets"),
    "digitalocean:index/firewall:Firewall": Kind("/v2/firewalls", "firewalls"),
    "digitalocean:index/certificate:Certificate": Kind("/v2/certificates", "certificates", identity="name"),
    "digitalocean:index/loadBalancer:LoadBalancer": Kind("/v2/load_balancers", "load_balancers"),
    "digitalocean:index/vpcNatGateway:VpcNatGateway": Kind("/v2/vpc_nat_gateways", "vpc_nat_gateways"),
    "digitalocean:index/domain:Domain": Kind("/v2/domains", "domains", identity="name"),
    "digitalocean:index/project:Project": Kind("/v2/projects", "projects"),
    "digitalocean:index/monitorAlert:MonitorAlert": Kind(
        "/v2/monitoring/alerts", "policies", identity="uuid", same=(("description", "description"),)
    ),
    "digitalocean:index/uptimeCheck:UptimeCheck": Kind("/v2/uptime/checks", "checks"),
    "digitalocean:index/uptimeAlert:UptimeAlert": Kind("/v2/uptime/checks/{checkId}/alerts", "alerts"),
    "digitalocean:index/dnsRecord:DnsRecord": Kind(
        "/v2/domains/{domain}/records",
        "domain_records",
        same=(("type", "type"), ("name", "name"), ("value", "data")),
    ),
    "digitalocean:index/spacesKey:SpacesKey": Kind(
        "/v2/spaces/keys", "keys", identity="access_key", once=True
    ),
}


def find_created(
    pending: Iterable[Mapping[str, Any]], known: Iterable[Mapping[str, Any]], environment: Mapping[str, str]
) -> dict[str, str]:
    """URN → id of those ``pending`` creations of Pulumi's state that did happen in the cloud.

    ``known`` are the state's resources: what they hold is never taken for a lost one. More than one
    candidate is left alone and named, for a person to decide.
    """
    wanted = [
        operation["resource"]
        for operation in pending
        if operation.get("type") == "creating" and operation["resource"]["type"] in KINDS
    ]
    if not wanted:
        return {}
    taken = {(resource["type"], resource.get("id")) for resource in known}
    found: dict[str, str] = {}
    with client(environment) as api:
        for resource in wanted:
            kind = KINDS[resource["type"]].within(resource["inputs"])
            candidates = {
                str(item[kind.identity])
                for item in every(api, kind)
                if (resource["type"], str(item[kind.identity])) not in taken
                and _is(item, resource["inputs"], kind)
            }
            if kind.once:
                for identity in candidates:
                    api.delete(f"{kind.path}/{identity}").raise_for_status()
                continue
            if len(candidates) > 1:
                raise Problem(
                    f"An interrupted run left {len(candidates)} of {resource['urn']} in the account "
                    f"(ids {', '.join(sorted(candidates))}), and which one to keep can't be told. Delete all but "
                    "one in the control panel, then run this again."
                )
            for identity in candidates:
                found[resource["urn"]] = identity
    return found


def astray(
    known: Iterable[Mapping[str, Any]], environment: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The state's droplets, name → id, that are gone from the account, and those that are off.

    Pulumi calls both unchanged: it compares declarations and doesn't ask. Without a token nobody is asked here either,
    and hardening then says whom it could not reach.
    """
    kind = "digitalocean:index/droplet:Droplet"
    ids = {
        resource["urn"].rpartition("::")[2]: str(resource["id"])
        for resource in known
        if resource["type"] == kind and resource.get("id")
    }
    if not ids or not environment.get("DIGITALOCEAN_TOKEN"):
        return {}, {}
    with client(environment) as api:
        status = {str(item["id"]): item["status"] for item in every(api, KINDS[kind])}
    gone = {name: identity for name, identity in ids.items() if identity not in status}
    off = {name: identity for name, identity in ids.items() if status.get(identity) == "off"}
    return gone, off


def power_on(off: Mapping[str, str], environment: Mapping[str, str], seconds: float = 180) -> None:
    """Start droplets, and wait until the API says that they have."""
    with client(environment) as api:
        begun = {name: _begin_power_on(api, name, identity) for name, identity in off.items()}
        deadline = time.monotonic() + seconds
        for name, action in begun.items():
            while (status := one(api, f"/v2/actions/{action}")["action"]["status"]) == "in-progress":
                if time.monotonic() > deadline:
                    raise Problem(
                        f"{name} was off and has not started within {seconds:.0f} s. See its console in the "
                        "control panel, then run this again."
                    )
                time.sleep(0.5)
            if status != "completed":
                raise Problem(
                    f"{name} is off and could not be started: DigitalOcean says {status}. See the control panel."
                )


def _begin_power_on(api: httpx.Client, name: str, identity: str) -> str:
    try:
        answer = api.post(f"/v2/droplets/{identity}/actions", json={"type": "power_on"})
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise Problem(f"{name} is off and could not be started: {error}. Run this again.") from None
    return str(answer.json()["action"]["id"])


def adopted(deployment: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, Any]:
    """Pulumi's state with the ``found`` creations (URN → id) as its resources and no operation pending.

    A refresh then reads what each is. Until then its outputs are what was asked for, so that what the API does not
    read back (a droplet's user data, its keys) isn't taken for a difference.
    """
    resources = list(deployment.get("resources") or [])
    for operation in deployment.get("pending_operations") or []:
        resource = operation["resource"]
        if identity := found.get(resource["urn"]):
            outputs = {key: value for key, value in resource["inputs"].items() if key != "__defaults"}
            resources.append({**resource, "id": identity, "outputs": {**outputs, "id": identity}})
    return {**deployment, "resources": resources, "pending_operations": []}


def _is(item: Mapping[str, Any], inputs: Mapping[str, Any], kind: Kind) -> bool:
    tags = inputs.get("tags")
    return all(
        _bare(name, inputs.get(name)) == _bare(name, item.get(answer)) for name, answer in kind.same
    ) and (not isinstance(tags, list) or set(map(str, tags)) <= set(item.get("tags", [])))


def _bare(name: str, value: Any) -> str:
    """Without what makes no difference: a key's comment, the dot that says a domain name is whole."""
    text = str(value or "").strip()
    return " ".join(text.split()[:2]) if name == "publicKey" else text.rstrip(".")


def unclaimed(
    pending: Iterable[Mapping[str, Any]], known: Iterable[Mapping[str, Any]], environment: Mapping[str, str]
) -> list[str]:
    """Reserved addresses that an interrupted creation may have left. They have no name and no tag, and a free one may
    be somebody else's, so none is adopted: they are named for a person to release."""
    kind = "digitalocean:index/reservedIp:ReservedIp"
    regions = {
        each["resource"]["inputs"].get("region") for each in pending if each["resource"]["type"] == kind
    }
    if not regions:
        return []
    held = {str(resource.get("id")) for resource in known if resource["type"] == kind}
    with client(environment) as api:
        found = [
            item["ip"]
            for item in every(api, Kind("/v2/reserved_ips", "reserved_ips"))
            if not item.get("droplet") and item["region"]["slug"] in regions and item["ip"] not in held
        ]
    if not found:
        return []
    return [
        f"a reserved address was being made when an earlier run ended; of {', '.join(found)}, assigned to nobody, one "
        "may be its: release what nobody needs in the control panel, since it costs"
    ]


def client(environment: Mapping[str, str]) -> httpx.Client:
    """The account's API with this run's token (``DIGITALOCEAN_TOKEN``), which never shows in an error."""
    token = environment.get("DIGITALOCEAN_TOKEN")
    if not token:
        raise Problem(
            "An interrupted run may have left something in the account, and looking there takes the API token: "
            'set it for this command with `export DIGITALOCEAN_TOKEN="$(pulumi config get digitalocean:token)"`.'
        )
    return httpx.Client(
        base_url=environment.get("DIGITALOCEAN_API_URL", OFFICIAL),
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
        transport=Patient(),
    )


def one(api: httpx.Client, path: str) -> Mapping[str, Any]:
    """What the API answers at ``path``."""
    try:
        answer = api.get(path)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise Problem(f"DigitalOcean's API did not answer {path}: {error}. Run this again.") from None
    return answer.json()


def every(api: httpx.Client, kind: Kind) -> Iterator[Mapping[str, Any]]:
    """All of a kind, page by page (200 at a time, the most the API gives)."""
    url: str | None = f"{kind.path}?per_page=200"
    while url:
        body = one(api, url)
        yield from body[kind.key]
        following = ((body.get("links") or {}).get("pages") or {}).get("next")
        url = str(httpx.URL(following).raw_path, "ascii") if following else None
