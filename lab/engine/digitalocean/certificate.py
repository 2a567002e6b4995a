"""A TLS certificate, the operator's own or one from Let's Encrypt.

Its id in the state is its *name*: Let's Encrypt renewals change the uuid. Key and chain are kept as hashes.
"""

from __future__ import annotations

from typing import Any

from lab.engine.digitalocean.api import Api, Refusal
from lab.engine.digitalocean.fields import name, not_empty, one_of, sha1, text, told, unordered
from lab.engine.digitalocean.resource import MINUTE, Answer, Properties, Resource, sent


def find_certificate(api: Api, wanted: str) -> Answer | None:
    """The certificate of that name, None where there is none."""
    doing = f"looking for the certificate {wanted}"
    found = api.pages("/v2/certificates", "certificates", doing, name=wanted)
    return next((document for document in found if document["name"] == wanted), None)


def _request(api: Api, plan: Properties) -> Properties:
    needed = ["privateKey", "leafCertificate"] if plan["type"] == "custom" else ["domains"]
    if missing := [key for key in needed if not plan.get(key)]:
        raise Refusal(
            f"The certificate {plan['name']} is of type {plan['type']} and lacks {' and '.join(missing)}: "
            "give it in the program, then run `pulumi up` again."
        )
    return sent(CERTIFICATE.fields, plan)


def _answer(api: Api, document: Answer) -> Properties:
    return {
        "name": document["name"],
        "uuid": document["id"],
        "type": document["type"],
        "state": document["state"],
        "notAfter": document["not_after"],
        "sha1Fingerprint": document["sha1_fingerprint"],
        "domains": sorted(filter(None, document.get("dns_names") or [])),
    }


def _verified(document: Answer) -> bool:
    if document["state"] == "error":
        raise Refusal(
            f"DigitalOcean could not verify the certificate {document['name']}. For Let's Encrypt its domains have "
            "to be managed in the same account; delete it, correct that and run `pulumi up` again."
        )
    return bool(document["state"] == "verified")


def _still_used(refusal: Refusal) -> bool:
    """Whether a load balancer has not let go of it yet."""
    return refusal.status == 403 and (
        "not in use before deleting" in refusal.reason
        or "used by one or more load balancers" in refusal.reason
    )


def _hashed(**more: Any) -> Any:
    return text(replace=True, stored=sha1, check=not_empty, **more)


CERTIFICATE = Resource(
    token="digitalocean:index/certificate:Certificate",  # noqa: S106
    noun="certificate",
    path="/v2/certificates",
    envelope="certificate",
    listed="certificates",
    fields={
        "name": name(replace=True),
        "privateKey": _hashed(secret=True),
        "leafCertificate": _hashed(),
        "certificateChain": _hashed(),
        # Told by the cloud for a custom certificate, where the program has to be silent about them.
        "domains": unordered(
            text(check=not_empty), computed=True, sometimes=True, replace=True, api="dns_names"
        ),
        "type": text(default="custom", replace=True, check=one_of("custom", "lets_encrypt")),
        "uuid": told(),
        "state": told(),
        "notAfter": told(),
        "sha1Fingerprint": told(),
    },
    request=_request,
    answer=_answer,
    settled=_verified,
    find=find_certificate,
    key="name",
    busy=_still_used,
    schema_version=1,
    official_timeouts={"create": 10 * MINUTE, "delete": 15 * MINUTE},
)
