"""What only the account can tell, asked before anything is created: does the token open it, is there such a region,
size and image, is the VPC's range free? Reading only; a few small requests."""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Callable, Iterable
from typing import Any

import httpx

from infra.flows import PROXY_PORT, Port
from infra.patience import Patient
from infra.settings import LetsEncryptCertificate, Settings

OFFICIAL = "https://api.digitalocean.com"
TIMEOUT = 20.0
"""Seconds for one answer."""

Ask = Callable[[str], dict[str, Any]]


class Unanswered(Exception):
    """The account could not be asked: one paragraph."""


def client(token: str | None, address: str | None, transport: httpx.BaseTransport | None = None) -> Ask:
    """A function that GETs a path of the API. ``Unanswered`` if there is no token, or no usable answer.

    ``token`` and ``address`` come from the stack's settings and default to the provider's own variables.
    """
    token = token or os.environ.get("DIGITALOCEAN_TOKEN") or os.environ.get("DIGITALOCEAN_ACCESS_TOKEN")
    address = (address or os.environ.get("DIGITALOCEAN_API_URL") or OFFICIAL).rstrip("/")
    if not token:
        raise Unanswered(
            "There is no DigitalOcean token, so nothing can be asked or created. Set it as a secret of the stack with "
            "`pulumi config set --secret digitalocean:token`, or export DIGITALOCEAN_TOKEN; for the lab, "
            '`eval "$(seawall env)"` does it.'
        )
    http = httpx.Client(
        base_url=address,
        headers={"Authorization": f"Bearer {token}"},
        timeout=TIMEOUT,
        transport=transport or Patient(),
    )

    def ask(path: str) -> dict[str, Any]:
        try:
            answer = http.get(path)
        except httpx.HTTPError as error:
            raise Unanswered(
                f"DigitalOcean's API at {address} does not answer ({error}). If this is the lab, `seawall up` starts "
                "it; else look at your network, and at DIGITALOCEAN_API_URL if you set it."
            ) from None
        if answer.status_code in (401, 403):
            raise Unanswered(
                f"DigitalOcean refused the token ({answer.status_code} for {path}): it is mistyped, expired, or lacks "
                "the scope to read this. README, 'With a DigitalOcean account', names the scopes it needs."
            )
        if answer.is_error:
            raise Unanswered(
                f"DigitalOcean's API answered {answer.status_code} for {path}. Try again in a minute."
            )
        return answer.json()

    return ask


def faults(settings: Settings, own: str, ask: Ask) -> list[str]:
    """Why the account can't hold ``settings``, one paragraph each. ``own``: its VPC and balancer's name."""
    regions = {region["slug"]: region for region in ask("/v2/regions?per_page=200")["regions"]}
    region = regions.get(settings.region)
    found = []
    if region is None or not region["available"]:
        open_ones = [slug for slug, each in regions.items() if each["available"]]
        return [
            f"seawall:region: there is no region {settings.region} to create in. {_choose(settings.region, open_ones)}"
        ]
    images = {
        image["slug"]
        for image in ask("/v2/images?type=distribution&per_page=200")["images"]
        if image["slug"] and settings.region in image["regions"]
    }
    for name, tier in settings.tiers.items():
        for what, slug, offered in (("size", tier.size, set(region["sizes"])), ("image", tier.image, images)):
            if slug not in offered:
                found.append(
                    f"seawall:tiers.{name}.{what}: region {settings.region} has no {what} {slug}. "
                    f"{_choose(slug, offered)}"
                )
    found += _without_zone(settings, ask) + _switched_too_early(settings, own, ask)
    wanted = ipaddress.ip_network(settings.vpc_range)
    for vpc in ask("/v2/vpcs?per_page=200")["vpcs"]:
        if vpc["name"] != own and wanted.overlaps(ipaddress.ip_network(vpc["ip_range"])):
            found.append(
                f"seawall:vpcRange: {wanted} overlaps {vpc['ip_range']} of the VPC {vpc['name']} in this account, and "
                "DigitalOcean keeps them apart. Choose another range."
            )
    return found


def _without_zone(settings: Settings, ask: Ask) -> list[str]:
    """Names that would need a zone which the account doesn't have: Let's Encrypt's proof, and the site's record."""
    names = {settings.domain} if settings.dns else set()
    if isinstance(settings.certificate, LetsEncryptCertificate):
        names |= set(settings.certificate.domains)
    if not names:
        return []
    zones = {zone["name"] for zone in ask("/v2/domains?per_page=200")["domains"]}
    zones |= {settings.dns.zone} if settings.dns and settings.dns.create else set()
    why = "the site's record" if settings.dns else "a certificate of Let's Encrypt"
    return [
        f"{name} lies in no zone of this account, and DigitalOcean has to serve its DNS for {why}. Make the zone with "
        "seawall:dns `create: true` and point the registrar to ns1.digitalocean.com, or bring your own certificate."
        for name in sorted(names)
        if not any(name == zone or name.endswith(f".{zone}") for zone in zones)
    ]


def _switched_too_early(settings: Settings, name: str, ask: Ask) -> list[str]:
    """The load balancer changes over between two ports. Droplets have to take requests on both before, and go on doing
    so until after, or those under way are lost: so the ports are opened, and closed, by an update of their own."""
    balancers = [
        each for each in ask("/v2/load_balancers?per_page=200")["load_balancers"] if each["name"] == name
    ]
    if not balancers or bool(balancers[0].get("enable_proxy_protocol")) == settings.proxy_protocol:
        return []
    port = Port.parse(PROXY_PORT)
    opened = any(
        balancers[0]["id"] in (rule["sources"].get("load_balancer_uids") or [])
        and rule["ports"] == port.span()
        for firewall in ask("/v2/firewalls?per_page=200")["firewalls"]
        for rule in firewall["inbound_rules"]
    )
    if not opened and not settings.proxy_protocol:
        return []  # somebody switched it on by hand, to where no droplet answers: the sooner it is off the better
    if not opened:
        done, remedy = "closed", "and run `up` first; then switch"
    elif not all(PROXY_PORT in ports for ports in settings.derived.balanced().values()):
        done, remedy = "to be closed", "until that is done"
    else:
        return []
    return [
        f"seawall:proxyProtocol is to be switched {'on' if settings.proxy_protocol else 'off'} while {PROXY_PORT} is "
        f"{done}, and requests would be lost. Let the flow from the load balancer say `ports: [443/tcp, {PROXY_PORT}]` "
        f"{remedy}."
    ]


def _choose(wanted: str, offered: Iterable[str]) -> str:
    """What to write instead: the most similar names, or the first few there are."""
    offered = sorted(offered)
    near = difflib.get_close_matches(wanted, offered, n=6, cutoff=0.5) or offered[:12]
    return f"Choose one it has, e.g. {', '.join(near)}."
