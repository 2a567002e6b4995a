"""The load balancer: TLS in, TLS on, and nothing in the clear but a redirect."""

from policy.cloud import Cloud, Hardening, LoadBalancer
from policy.rule import rule

TLS = {"https", "http2", "http3"}


@rule(
    "loadbalancer-https",
    "Every entry is TLS, or port 80 that only redirects",
    on=LoadBalancer,
    severity="critical",
    requirements=["pci-4.2.1"],
    remedy="Make the entry https or http2 with a certificate; keep http on 80 only with redirect_http_to_https.",
)
def https(balancer):
    for entry in balancer.forwarding:
        # A plain port 80 whose every request is answered with a redirect carries nothing worth hiding (RFC 6797, 7.2).
        redirected = entry.entry == "http" and entry.port == 80 and balancer.redirects
        if entry.entry not in TLS and not entry.passthrough and not redirected:
            yield f"port {entry.port} takes {entry.entry} in the clear"


@rule(
    "loadbalancer-redirect",
    "Port 80, where it is open, answers with a redirect",
    on=LoadBalancer,
    severity="high",
    requirements=["pci-4.2.1"],
    remedy="Set redirect_http_to_https.",
)
def redirect(balancer):
    if balancer.redirects is False and any(entry.entry == "http" for entry in balancer.forwarding):
        yield "redirect_http_to_https is off"


@rule(
    "loadbalancer-tls-policy",
    "The load balancer offers strong TLS only",
    on=LoadBalancer,
    severity="high",
    requirements=["pci-4.2.1", "pci-2.2.7"],
    remedy="Set tls_cipher_policy to STRONG.",
)
def tls_policy(balancer):
    terminates = any(entry.entry in TLS and not entry.passthrough for entry in balancer.forwarding)
    if terminates and balancer.tls_policy not in (None, "STRONG"):
        yield f"tls_cipher_policy is {balancer.tls_policy}"


@rule(
    "loadbalancer-backend-tls",
    "What came in over TLS goes on over TLS",
    on=LoadBalancer,
    severity="high",
    requirements=["pci-4.2.1"],
    remedy="Make the target protocol https or http2, or pass TLS through.",
)
def backend_tls(balancer):
    for entry in balancer.forwarding:
        if entry.entry in TLS and not entry.passthrough and entry.target not in TLS:
            yield f"port {entry.port} goes on to the droplets as {entry.target}"


@rule(
    "loadbalancer-vpc",
    "The load balancer is in the VPC of its droplets",
    on=LoadBalancer,
    severity="high",
    requirements=["pci-1.4.1"],
    remedy="Give vpc_uuid; changing it replaces the load balancer.",
)
def vpc(balancer):
    if balancer.in_vpc is False:
        yield "it is in the default VPC, or in none"


@rule(
    "loadbalancer-members",
    "The load balancer has droplets, each named",
    on=LoadBalancer,
    severity="medium",
    requirements=["pci-1.4.2"],
    remedy="Give droplet_ids: whoever only carries a tag would get traffic before it is hardened.",
)
def members(balancer):
    if balancer.by_tag:
        yield "its droplets are chosen by a tag"
    elif balancer.members is False:
        yield "it has no droplets"


@rule(
    "loadbalancer-hardened",
    "Nobody gets traffic before it is hardened and its controls passed",
    on=Cloud,
    severity="critical",
    requirements=["pci-2.2.1"],
    remedy="Take each member's id from its Hardening (seawall:harden), so that the load balancer waits for that.",
    unseen="the API does not tell who is hardened; `seawall verify` asks the hosts",
    advisory=True,
)
def hardened(cloud):
    passed = [each.droplet for each in cloud.every(Hardening)]
    for balancer in cloud.every(LoadBalancer):
        strangers = [each for each in balancer.droplets if each is not None and each not in passed]
        if strangers:
            yield balancer, f"nothing hardens its droplet {', '.join(strangers)}"
        elif balancer.droplets.count(None) > passed.count(None):
            yield balancer, "nothing hardens some of the droplets it is to have"


@rule(
    "loadbalancer-keepalive",
    "Connections to the droplets are kept",
    on=LoadBalancer,
    severity="low",
    remedy="Set enable_backend_keepalive.",
    advisory=True,
)
def keepalive(balancer):
    if balancer.keepalive is False:
        yield "enable_backend_keepalive is off"
