"""The site's name: its zone at DigitalOcean, the site's record in it, and what keeps others from abusing it."""

from __future__ import annotations

import pulumi
import pulumi_digitalocean as do

from infra.settings import Settings

TTL = 300
"""Seconds. A record can be put right in five minutes."""

NO_MAIL = {"@": "v=spf1 -all", "_dmarc": "v=DMARC1; p=reject; adkim=s; aspf=s"}
"""TXT records of a zone from which no mail is sent (RFC 7208, RFC 7489)."""


def zone(settings: Settings) -> do.Domain | None:
    """The zone, where it is this stack's to make."""
    if settings.dns is None or not settings.dns.create:
        return None
    return do.Domain("zone", name=settings.dns.zone, opts=pulumi.ResourceOptions(protect=settings.protect))


def records(settings: Settings, made: do.Domain | None, balancer: do.LoadBalancer) -> None:
    """What stands in the zone; nothing where the site's name is served elsewhere."""
    dns = settings.dns
    if dns is None:
        return
    at: pulumi.Input[str] = made.name if made else dns.zone
    name = settings.domain.removesuffix(dns.zone).rstrip(".") or "@"
    do.DnsRecord("site", domain=at, type="A", name=name, value=balancer.ip, ttl=TTL)
    for authority in dns.authorities:
        value = f"{authority}."
        do.DnsRecord(
            f"caa-{authority}", domain=at, type="CAA", name="@", value=value, flags=0, tag="issue", ttl=TTL
        )
    if made and not dns.mail:
        for host, text in NO_MAIL.items():
            do.DnsRecord(f"txt-{host}", domain=at, type="TXT", name=host, value=text, ttl=TTL)
