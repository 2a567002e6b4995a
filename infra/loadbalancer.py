"""The load balancer: the one door to the world."""

from __future__ import annotations

from collections.abc import Iterable

import pulumi
import pulumi_digitalocean as do

from infra.flows import PROXY_PORT, TLS_PORT, WORLD, Port
from infra.settings import Settings
from infra.stack import Stack


def create(
    stack: Stack,
    settings: Settings,
    vpc: do.Vpc,
    certificate: do.Certificate,
    members: Iterable[pulumi.Output[str]],
) -> do.LoadBalancer:
    """TLS 1.2 and newer in, TLS on to the droplets. Its ``members`` are ids, never a tag: whoever only carries a tag
    would get traffic before it is hardened."""
    callers = settings.derived.callers()
    port = Port.parse(PROXY_PORT if settings.proxy_protocol else TLS_PORT).first
    return do.LoadBalancer(
        "loadbalancer",
        name=stack.name,
        region=settings.region,
        vpc_uuid=vpc.id,
        droplet_ids=[member.apply(int) for member in members],
        forwarding_rules=[
            do.LoadBalancerForwardingRuleArgs(
                entry_protocol="http2",  # HTTP/1.1 too, for clients that don't offer h2
                entry_port=443,
                target_protocol="https",
                target_port=port,
                certificate_name=certificate.name,
            ),
            # Only so that port 80 is there to be redirected: nothing is ever forwarded, and no flow opens 80 inside.
            do.LoadBalancerForwardingRuleArgs(
                entry_protocol="http", entry_port=80, target_protocol="http", target_port=80
            ),
        ],
        redirect_http_to_https=True,
        tls_cipher_policy="STRONG",
        healthcheck=do.LoadBalancerHealthcheckArgs(
            protocol="https",
            port=port,
            path="/healthz",
            check_interval_seconds=5,
            response_timeout_seconds=3,
            unhealthy_threshold=3,
            healthy_threshold=2,
        ),
        # An empty list admits everybody, which is what a flow from the whole internet says.
        firewall=None
        if set(WORLD) <= set(callers)
        else do.LoadBalancerFirewallArgs(allows=[f"cidr:{caller}" for caller in callers]),
        http_idle_timeout_seconds=settings.idle_seconds,
        enable_backend_keepalive=True,
        # Health checks begin with its header as well. Port and header change over in one update of the load balancer.
        enable_proxy_protocol=True if settings.proxy_protocol else None,
        # Else DigitalOcean writes the site's record into the zone by itself, where it is ours.
        disable_lets_encrypt_dns_records=True if settings.dns else None,
        opts=pulumi.ResourceOptions(protect=settings.protect),
    )
