"""The site's name: its zone's records at DigitalOcean, and what keeps others from abusing it."""

from __future__ import annotations

import pulumi
import pulumi_digitalocean as do

from infra.settings import LetsEncryptCertificate, Settings

TTL = 300
"""Seconds. A record can be put right in five minutes."""

NO_MAIL = {"@": "v=spf1 -all", "_dmarc": "v=DMARC1; p=reject; adkim=s; aspf=s"}
"""TXT records of a zone from which no mail is sent (RFC 7208, RFC 7489)."""


def create(settings: Settings, balancer: do.LoadBalancer) -> do.Domain | None:
    """The records, and the zone where it is this stack's; None where the name is served elsewhere."""
    dns = settings.dns
    if dns is None:
        return None
    keep = pulumi.ResourceOptions(protect=settings.protect)
    zone = do.Domain("zone", name=dns.zone, opts=keep) if dns.create else None
    at: pulumi.Input[str] = zone.name if zone else dns.zone
    name = settings.domain.removesuffix(dns.zone).rstrip(".") or "@"
    # For a Let's Encrypt certificate of its own, DigitalOcean makes the site's address record itself.
    if not isinstance(settings.certificate, LetsEncryptCertificate):
        do.DnsRecord("site", domain=at, type="A", name=name, value=balancer.ip, ttl=TTL)
    for authority in dns.authorities:
        do.DnsRecord(
            f"caa-{authority}",
            domain=at,
            type="CAA",
            name="@",
            value=f"{authority}.",
            flags=0,
            tag="issue",
            ttl=TTL,
        )
    if dns.create and not dns.mail:
        for host, text in NO_MAIL.items():
            do.DnsRecord(f"txt-{host}", domain=at, type="TXT", name=host, value=text, ttl=TTL)
    return zone
