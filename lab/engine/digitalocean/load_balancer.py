"""A regional load balancer. Certificates are given by *name*, droplets by id.

Not read back, as with the official provider: its cipher policy, network and network stack.
"""

from __future__ import annotations

from typing import Any

from lab.engine.digitalocean.api import Api, Refusal
from lab.engine.digitalocean.certificate import find_certificate
from lab.engine.digitalocean.fields import (
    Field,
    array,
    between,
    block,
    flag,
    integer,
    name,
    not_empty,
    official_only,
    one_of,
    snake,
    text,
    told,
    unordered,
)
from lab.engine.digitalocean.resource import Answer, Properties, Resource, received, sent, without
from lab.engine.digitalocean.tag import check_tag

SIZES = {"lb-small": 1, "lb-medium": 3, "lb-large": 6}
PROTOCOLS = ("http", "https", "http2", "http3", "tcp", "udp")
GLOBAL = official_only("Global load balancers are not served here.")


def _certificate_id(api: Api, wanted: str) -> str:
    """The uuid of a certificate given by name, or, as in older states, by uuid."""
    if found := find_certificate(api, wanted):
        return str(found["id"])
    if by_id := api.get(f"/v2/certificates/{wanted}", f"looking for the certificate {wanted}"):
        return str(by_id["certificate"]["id"])
    raise Refusal(
        f"There is no certificate named {wanted}, which a forwarding rule of the load balancer terminates TLS with. "
        "Give the `name` of a Certificate resource, then run `pulumi up` again."
    )


def _certificate_name(api: Api, identity: str) -> str:
    found = api.call("GET", f"/v2/certificates/{identity}", f"looking for the certificate {identity}")
    return str(found["certificate"]["name"])


def _rule(api: Api, rule: Properties) -> Properties:
    body = {
        snake(key): rule[key] for key in ("entryProtocol", "entryPort", "targetProtocol", "targetPort")
    } | {"tls_passthrough": bool(rule.get("tlsPassthrough"))}
    if wanted := rule.get("certificateName") or rule.get("certificateId"):
        body["certificate_id"] = _certificate_id(api, wanted)
    return body


def _snaked(properties: Properties) -> Properties:
    return {snake(key): value for key, value in properties.items() if value not in (None, "", 0)}


def _request(api: Api, plan: Properties) -> Properties:
    check, sticky = plan.get("healthcheck") or {}, plan.get("stickySessions") or {}
    if check and (check.get("protocol") == "tcp") == bool(check.get("path")):
        raise Refusal(
            f"The health check of the load balancer {plan['name']} needs a path for http and https, and none for tcp."
        )
    body = sent(LOAD_BALANCER.fields, plan)
    body["forwarding_rules"] = [_rule(api, rule) for rule in plan.get("forwardingRules") or []]
    if check:
        body["health_check"] = _snaked(check)
    if sticky:
        body["sticky_sessions"] = _snaked(sticky)
    if firewall := plan.get("firewall"):
        body["firewall"] = {"allow": firewall.get("allows") or [], "deny": firewall.get("denies") or []}
    if body.get("tag"):
        body.pop("droplet_ids", None)
    if body.get("size_unit"):
        body.pop("size", None)
    return {key: value for key, value in body.items() if value not in ("", [])}


def _answer(api: Api, document: Answer) -> Properties:
    nested = ("forwardingRules", "healthcheck", "stickySessions", "firewall", "region", "tlsCipherPolicy")
    unread = ("network", "networkStack", "domains", "glbSettings", "targetLoadBalancerIds")
    found = received(without(LOAD_BALANCER.fields, *nested, *unread), document)
    if found.get("sizeUnit"):
        found.pop("size", None)
    rules = []
    for rule in document.get("forwarding_rules") or []:
        known = received(RULE, rule)
        if identity := rule.get("certificate_id"):
            known["certificateId"] = known["certificateName"] = _certificate_name(api, identity)
        rules.append(known)
    firewall = document.get("firewall") or {}
    return {
        **found,
        "loadBalancerUrn": f"do:loadbalancer:{document['id']}",
        "ip": document.get("ip") or "",
        "ipv6": document.get("ipv6") or "",
        "dropletIds": document.get("droplet_ids") or [],
        "dropletTag": document.get("tag") or "",
        "forwardingRules": rules,
        "healthcheck": received(HEALTH_CHECK, document.get("health_check") or {}) or None,
        "stickySessions": received(STICKY, document.get("sticky_sessions") or {}) or None,
        "firewall": {"allows": firewall.get("allow") or [], "denies": firewall.get("deny") or []},
        **({"region": document["region"]["slug"]} if document.get("region") else {}),
    }


def _by_certificate(rule: dict[str, Any]) -> dict[str, Any]:
    """Name and id both hold the certificate's name once read; the program gives one of them."""
    named = {"certificateName": rule.get("certificateName") or rule.get("certificateId")}
    return {key: item for key, item in rule.items() if key != "certificateId"} | named


def busy(refusal: Refusal) -> bool:
    """Whether it works off earlier actions, during which the API refuses further ones."""
    return refusal.status in (403, 409, 422) and "previous actions" in refusal.reason


RULE = {
    "entryProtocol": text(required=True, check=one_of(*PROTOCOLS)),
    "entryPort": integer(required=True, check=between(1, 65535)),
    "targetProtocol": text(required=True, check=one_of(*PROTOCOLS)),
    "targetPort": integer(required=True, check=between(1, 65535)),
    "certificateName": text(computed=True, sometimes=True, check=not_empty, api=""),
    "certificateId": text(computed=True, sometimes=True, check=not_empty, api=""),
    "tlsPassthrough": flag(default=False),
}
HEALTH_CHECK = {
    "protocol": text(required=True, check=one_of("http", "https", "tcp")),
    "port": integer(required=True, check=between(1, 65535)),
    "path": text(),
    "checkIntervalSeconds": integer(default=10, check=between(3, 300)),
    "responseTimeoutSeconds": integer(default=5, check=between(3, 300)),
    "unhealthyThreshold": integer(default=3, check=between(2, 10)),
    "healthyThreshold": integer(default=5, check=between(2, 10)),
}
STICKY = {
    "type": text(default="none", check=one_of("cookies", "none")),
    "cookieName": text(),
    "cookieTtlSeconds": integer(),
}

LOAD_BALANCER = Resource(
    token="digitalocean:index/loadBalancer:LoadBalancer",  # noqa: S106
    noun="load balancer",
    path="/v2/load_balancers",
    envelope="load_balancer",
    listed="load_balancers",
    fields={
        "name": name(),
        "region": text(replace=True, stored=str.lower, check=not_empty),
        "size": text(check=one_of(*SIZES)),
        "sizeUnit": integer(computed=True, check=between(1, 200)),
        "algorithm": text(
            default="round_robin", filled=False, check=one_of("round_robin", "least_connections")
        ),
        "forwardingRules": unordered(block("LoadBalancerForwardingRule", RULE, same=_by_certificate)),
        "healthcheck": block("LoadBalancerHealthcheck", HEALTH_CHECK, computed=True, api=""),
        "stickySessions": block("LoadBalancerStickySessions", STICKY, computed=True),
        "dropletIds": unordered(integer(), computed=True),
        "dropletTag": text(check=check_tag, api="tag"),
        "redirectHttpToHttps": flag(default=False),
        "enableProxyProtocol": flag(default=False),
        "enableBackendKeepalive": flag(default=False),
        "disableLetsEncryptDnsRecords": flag(default=False),
        "httpIdleTimeoutSeconds": integer(computed=True, check=between(30, 600)),
        "projectId": text(computed=True),
        "vpcUuid": text(computed=True, replace=True, check=not_empty),
        "firewall": block(
            "LoadBalancerFirewall",
            {"allows": array(text()), "denies": array(text())},
            computed=True,
        ),
        "type": text(
            computed=True,
            replace=True,
            same=str.upper,
            check=one_of("REGIONAL", "REGIONAL_NETWORK", fold=True),
        ),
        "network": text(replace=True, check=one_of("EXTERNAL", "INTERNAL", fold=True)),
        "networkStack": text(replace=True, check=one_of("IPV4", "DUALSTACK", fold=True)),
        "tlsCipherPolicy": text(check=one_of("DEFAULT", "STRONG", fold=True)),
        "domains": unordered(
            block(
                "LoadBalancerDomain",
                {
                    "name": text(required=True),
                    "isManaged": flag(default=False),
                    "certificateName": text(computed=True, sometimes=True),
                    "certificateId": told(sometimes=True),
                    "verificationErrorReasons": told("array", items=text(), sometimes=True),
                    "sslValidationErrorReasons": told("array", items=text(), sometimes=True),
                },
            ),
            computed=True,
            check=GLOBAL,
            api="",
        ),
        "glbSettings": block(
            "LoadBalancerGlbSettings",
            {
                "targetProtocol": text(required=True),
                "targetPort": integer(required=True),
                "regionPriorities": Field(type="object", items=integer(), fields={}),
                "failoverThreshold": integer(),
                "cdn": block("LoadBalancerGlbSettingsCdn", {"isEnabled": flag(default=False)}),
            },
            computed=True,
            check=GLOBAL,
            api="",
        ),
        "targetLoadBalancerIds": unordered(text(), computed=True, check=GLOBAL, api=""),
        "loadBalancerUrn": told(),
        "ip": told(),
        "ipv6": told(),
        "status": told(),
    },
    request=_request,
    answer=_answer,
    settled=lambda document: document["status"] == "active",
    busy=busy,
    gone=True,
    schema_version=1,
)
