"""Domains: nobody else sends mail in their name. Judged on the live records: only all of them together say anything."""

from policy.cloud import Domain
from policy.rule import rule

LONGEST_TTL = 86_400
"""Seconds. A day: longer, and a wrong record can't be put right in time."""


def texts(domain: Domain, name: str, beginning: str) -> list[str]:
    return [
        data
        for type, at, data, _ in domain.records or ()
        if type == "TXT" and at == name and data.strip('"').lower().startswith(beginning)
    ]


@rule(
    "domain-spf",
    "A domain says who sends its mail (SPF), or that nobody does",
    on=Domain,
    severity="medium",
    remedy='Add a TXT record at @: "v=spf1 -all" where no mail is sent (RFC 7208).',
    advisory=True,
    live_only=True,
)
def spf(domain):
    if domain.records is not None and not texts(domain, "@", "v=spf1"):
        yield "it has no SPF record"


@rule(
    "domain-dmarc",
    "A domain says what to do with forged mail (DMARC)",
    on=Domain,
    severity="medium",
    remedy='Add a TXT record at _dmarc: "v=DMARC1; p=reject" where no mail is sent (RFC 7489).',
    advisory=True,
    live_only=True,
)
def dmarc(domain):
    if domain.records is not None and not texts(domain, "_dmarc", "v=dmarc1"):
        yield "it has no DMARC record"


@rule(
    "domain-dkim",
    "A domain that takes mail has a DKIM key",
    on=Domain,
    severity="low",
    remedy="Add the key your mail provider gives, at SELECTOR._domainkey (RFC 6376).",
    advisory=True,
    live_only=True,
)
def dkim(domain):
    records = domain.records or ()
    if any(each[0] == "MX" for each in records) and not any(
        each[1].endswith("._domainkey") for each in records
    ):
        yield "it has an MX record, and no DKIM key"


@rule(
    "domain-ttl",
    "A record can be changed within a day",
    on=Domain,
    severity="low",
    remedy="Lower the TTL to at most 86400 seconds.",
    advisory=True,
    live_only=True,
)
def ttl(domain):
    for type, name, _, seconds in domain.records or ():
        if seconds > LONGEST_TTL and type not in ("NS", "SOA"):
            yield f"{type} {name} has a TTL of {seconds} seconds"
