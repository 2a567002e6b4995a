"""The site's certificate at the load balancer."""

from __future__ import annotations

import hashlib

import pulumi
import pulumi_digitalocean as do

from infra.settings import LetsEncryptCertificate, Settings
from infra.stack import Stack


def site(stack: Stack, settings: Settings, zone: do.Domain | None) -> do.Certificate:
    """DigitalOcean can't replace a certificate in use: its name holds its content's digest, so that a new one is
    created beside it, the load balancer changes over, and only then the old one goes. ``zone``: Let's Encrypt's proof
    is made in it, so it comes first."""
    # The name is ours, so the provider would delete the old one first: the load balancer still holds it.
    opts = pulumi.ResourceOptions(delete_before_replace=False, depends_on=[zone] if zone else None)
    wanted = settings.certificate
    if isinstance(wanted, LetsEncryptCertificate):
        name = _named(stack, *wanted.domains)
        domains = list(wanted.domains)
        return do.Certificate("site", name=name, type="lets_encrypt", domains=domains, opts=opts)
    leaf, chain = wanted.leaf.text, wanted.chain.text if wanted.chain else None
    return do.Certificate(
        "site",
        name=_named(stack, leaf, chain or ""),
        type="custom",
        leaf_certificate=leaf,
        certificate_chain=chain,
        private_key=pulumi.Output.secret(wanted.private_key.text),
        opts=opts,
    )


def _named(stack: Stack, *content: str) -> str:
    return f"{stack.name}-{hashlib.sha256('|'.join(content).encode()).hexdigest()[:8]}"
