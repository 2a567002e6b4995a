"""A domain and its records. DigitalOcean's name servers answer for it once its registrar points there."""

from __future__ import annotations

from lab.engine.digitalocean.api import Api, Refusal
from lab.engine.digitalocean.fields import between, integer, not_empty, one_of, text, told
from lab.engine.digitalocean.resource import Answer, Properties, Resource, received, sent, without

POINTING = ("CNAME", "MX", "NS", "SRV", "CAA")
"""Records whose value is a name: a final dot says that it is whole."""

DOMAIN = Resource(
    token="digitalocean:index/domain:Domain",  # noqa: S106
    noun="domain",
    path="/v2/domains",
    envelope="domain",
    fields={
        "name": text(required=True, replace=True, check=not_empty),
        "ipAddress": text(replace=True, check=not_empty),
        "domainUrn": told(),
        "ttl": told("integer"),
    },
    answer=lambda api, document: {
        "name": document["name"],
        "domainUrn": f"do:domain:{document['name']}",
        "ttl": document.get("ttl") or 0,
    },
    key="name",
)


def _request(api: Api, plan: Properties) -> Properties:
    needs = {"MX": ["priority"], "SRV": ["priority", "weight", "port"], "CAA": ["flags", "tag"]}
    if missing := [key for key in needs.get(plan["type"], []) if plan.get(key) is None]:
        raise Refusal(
            f"The {plan['type']} record {plan.get('name') or '@'} of {plan['domain']} lacks {' and '.join(missing)}: "
            "give it in the program, then run `pulumi up` again."
        )
    return sent(without(DNS_RECORD.fields, "domain"), plan)


def _answer(api: Api, document: Answer) -> Properties:
    found = received(without(DNS_RECORD.fields, "domain", "fqdn"), document)
    return {key: value for key, value in found.items() if value is not None}


def _whole(value: str) -> str:
    return value.rstrip(".")


DNS_RECORD = Resource(
    token="digitalocean:index/dnsRecord:DnsRecord",  # noqa: S106
    noun="record",
    path="/v2/domains/{domain}/records",
    envelope="domain_record",
    listed="domain_records",
    same=("type", "name", "value"),
    fields={
        "domain": text(required=True, replace=True, check=not_empty, api=""),
        "type": text(
            required=True,
            replace=True,
            check=one_of("A", "AAAA", "CAA", "CNAME", "MX", "NS", "TXT", "SRV", "SOA"),
        ),
        "name": text(named=True, check=not_empty),
        "value": text(required=True, same=_whole, check=not_empty, api="data"),
        "ttl": integer(computed=True, check=between(1, 2**31 - 1)),
        "priority": integer(check=between(0, 65535)),
        "weight": integer(check=between(0, 65535)),
        "port": integer(check=between(0, 65535)),
        "flags": integer(check=between(0, 255)),
        "tag": text(check=one_of("issue", "issuewild", "iodef")),
        "fqdn": told(),
    },
    request=_request,
    answer=_answer,
    derived=lambda state: {
        "fqdn": state["domain"] if state["name"] == "@" else f"{state['name']}.{state['domain']}"
    },
)
