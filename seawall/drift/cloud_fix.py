"""What `--fix` may put right in the cloud: the declared state written back, and nothing that could cost data.

Safe are a firewall's and a load balancer's settings, a droplet's missing tags and its power: each is one request that
says what was declared, can be repeated, and locks nobody out who the code lets in. Nothing is ever deleted, replaced or
resized, and strangers are left to a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import monotonic, sleep
from typing import Any

import httpx

from seawall import cloud as api
from seawall.drift import cloud
from seawall.drift.account import Account, Object
from seawall.drift.cloud import BALANCER, FORWARDING, HEALTH, Resource
from seawall.drift.difference import Difference
from seawall.drift.run import Look
from seawall.drift.shared import account, declared
from seawall.problem import Problem

Request = tuple[str, str, dict[str, Any]]
"""Method, path and body."""

PATIENCE = 120.0
"""Seconds for a change to stand."""


def mend(looking: Look, differences: Iterable[Difference]) -> list[str]:
    """Put right what was offered; what was done, a sentence each."""
    return send(requests(differences, declared(looking), account(looking)), looking.session.environment)


def requests(differences: Iterable[Difference], ours: Iterable[Resource], there: Account) -> list[Request]:
    """Pure: the requests that put ``differences`` right, each once."""
    by_urn, found = {each.urn: each for each in ours}, []
    for each in differences:
        resource = by_urn.get(each.subject.urn or "")
        if not each.fix or resource is None or not resource.kind:
            continue
        live = there.find(resource.kind, resource.id)
        if live is None:
            continue
        if resource.kind == "firewall":
            found.append(("PUT", f"/v2/firewalls/{resource.id}", firewall(resource)))
        elif resource.kind == "load-balancer":
            found.append(("PUT", f"/v2/load_balancers/{resource.id}", balancer(resource, live, there)))
        elif each.what == "tags":
            found += tags(resource, live)
        elif each.what == "status":
            found.append(("POST", f"/v2/droplets/{resource.id}/actions", {"type": "power_on"}))
    return [each for number, each in enumerate(found) if each not in found[:number]]


def firewall(resource: Resource) -> dict[str, Any]:
    """The declared firewall as PUT takes it, whole: what is left out is reset."""
    given = resource.inputs
    return {
        "name": resource.name,
        "inbound_rules": [
            cloud.as_api_rule(rule, "sources", "source") for rule in given.get("inboundRules") or ()
        ],
        "outbound_rules": [
            cloud.as_api_rule(rule, "destinations", "destination")
            for rule in given.get("outboundRules") or ()
        ],
        "droplet_ids": [int(each) for each in given.get("dropletIds") or ()],
        "tags": list(given.get("tags") or ()),
    }


def balancer(resource: Resource, live: Object, there: Account) -> dict[str, Any]:
    """The declared load balancer as PUT takes it. What is not declared stays as it is."""
    given = resource.inputs
    certificates = {str(each["name"]): str(each["id"]) for each in there.of("certificate")}
    body: dict[str, Any] = {
        "name": resource.name,
        "region": (live.get("region") or {}).get("slug"),
        "vpc_uuid": live.get("vpc_uuid"),
        "forwarding_rules": [
            {
                **{field: rule[name] for name, field in FORWARDING.items() if name in rule},
                "certificate_id": certificates.get(str(rule.get("certificateName")), ""),
            }
            for rule in given.get("forwardingRules") or ()
        ],
        "health_check": {
            field: given["healthcheck"][name]
            for name, field in HEALTH.items()
            if name in given["healthcheck"]
        }
        if given.get("healthcheck")
        else live.get("health_check"),
        "sticky_sessions": live.get("sticky_sessions"),
        "firewall": {
            "allow": list((given.get("firewall") or {}).get("allows") or ()),
            "deny": list((given.get("firewall") or {}).get("denies") or ()),
        },
        **{
            field: default if given.get(name) is None else given[name]
            for name, field, default in BALANCER.values()
            if field != "tag"
        },
    }
    members: dict[str, Any] = (
        {"tag": given["dropletTag"]}
        if given.get("dropletTag")
        else {"droplet_ids": [int(each) for each in given.get("dropletIds") or ()]}
    )
    return body | members


def tags(resource: Resource, live: Object) -> list[Request]:
    """Put on what is missing first: a firewall goes by it."""
    wanted = {str(tag).lower() for tag in resource.inputs.get("tags") or ()}
    there = {str(tag).lower() for tag in live.get("tags") or ()}
    body = {"resources": [{"resource_id": resource.id, "resource_type": "droplet"}]}
    return [
        *(("POST", f"/v2/tags/{tag}/resources", body) for tag in sorted(wanted - there)),
        *(("DELETE", f"/v2/tags/{tag}/resources", body) for tag in sorted(there - wanted)),
    ]


def send(wanted: Iterable[Request], environment: Mapping[str, str]) -> list[str]:
    """Send them; what was done, a sentence each. The first refusal stops it."""
    done: list[str] = []
    with api.client(environment) as http:
        for method, path, body in wanted:
            try:
                answer = http.request(method, path, json=body)
            except httpx.HTTPError as error:
                raise Problem(
                    f"`--fix` could not reach the API ({error}). Done before: {_list(done)}."
                ) from None
            if answer.is_error:
                why = " ".join(answer.text.split())[:300]
                raise Problem(
                    f"`--fix` was refused: {method} {path} answered {answer.status_code} ({why}). Done before: "
                    f"{_list(done)}. A read-only token looks; fixing takes one that may write."
                )
            done.append(f"{method} {path}")
            _await(http, path)
    return done


def _await(http: httpx.Client, path: str) -> None:
    """Until what was asked for stands, or patience ends: the look that follows tells what doesn't."""
    until = monotonic() + PATIENCE
    while monotonic() < until:
        try:
            answer = http.get(path.removesuffix("/resources").removesuffix("/actions")).json()
        except (httpx.HTTPError, ValueError):
            return
        (each,) = answer.values() if len(answer) == 1 else ({},)
        if not (
            each.get("pending_changes") or each.get("locked") or each.get("status") in ("new", "waiting")
        ):
            return
        sleep(0.5)


def _list(done: list[str]) -> str:
    return ", ".join(done) or "nothing"
