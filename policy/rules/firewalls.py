"""Cloud firewalls: nobody from everywhere, everywhere for packages only."""

from collections.abc import Iterator

from policy.cloud import Firewall, Rule
from policy.rule import rule

SSH, RDP = {22, 2222}, {3389}
DATABASES = {1433, 1521, 3306, 5432, 5984, 6379, 9042, 9200, 9300, 11211, 27017, 27018, 27019}
OUTWARD = {53, 80, 123, 443}
"""Names, packages and time: what a hardened host asks of the world, and what has no fixed addresses."""


def worldwide(firewall: Firewall, direction: str) -> Iterator[Rule]:
    return (each for each in firewall.rules or () if each.direction == direction and each.worldwide)


@rule(
    "firewall-public-ingress",
    "No cloud firewall lets the whole internet in: the load balancer is the only door",
    on=Firewall,
    severity="critical",
    requirements=["pci-1.3.1", "pci-1.4.2"],
    remedy="Name the load balancer, a tag or your own ranges as the source instead of 0.0.0.0/0 and ::/0.",
)
def public_ingress(firewall):
    for each in worldwide(firewall, "in"):
        if each.port.protocol != "icmp":
            yield f"{each.port} is open to {', '.join(sorted(each.peers))}"


@rule(
    "firewall-public-administration",
    "SSH and remote desktop are never open to the internet",
    on=Firewall,
    severity="critical",
    requirements=["pci-1.3.1", "pci-2.2.7"],
    remedy="Let only the ranges you administer from reach the port; with no fixed range, use a bastion or a VPN.",
)
def public_administration(firewall):
    yield from _open(firewall, SSH | RDP)


@rule(
    "firewall-public-database",
    "No database port is open to the internet",
    on=Firewall,
    severity="critical",
    requirements=["pci-1.4.4"],
    remedy="Name the application's tag as the source.",
)
def public_database(firewall):
    yield from _open(firewall, DATABASES)


def _open(firewall: Firewall, ports: set[int]) -> Iterator[str]:
    for each in worldwide(firewall, "in"):
        reached = sorted(port for port in ports if each.port.first <= port <= each.port.last)
        if each.port.protocol == "tcp" and reached:
            yield f"{each.port} is open to the internet, and with it {', '.join(map(str, reached))}"


@rule(
    "firewall-all-ports",
    "A rule names the ports it needs, whoever it lets in",
    on=Firewall,
    severity="medium",
    requirements=["pci-1.2.5", "pci-1.3.1"],
    remedy="Name the ports that the flow needs.",
)
def all_ports(firewall):
    for each in firewall.rules or ():
        if each.direction == "in" and each.allows and each.port.everything:
            yield f"{each.port} is open to {', '.join(sorted(each.peers)) or 'tags, droplets or load balancers'}"


@rule(
    "firewall-public-egress",
    "Outward to everywhere go names, packages and time only",
    on=Firewall,
    severity="high",
    requirements=["pci-1.3.2"],
    remedy="Name the destination's range, or open only 53, 80, 123 and 443 to the world.",
)
def public_egress(firewall):
    for each in worldwide(firewall, "out"):
        if each.port.protocol != "icmp" and not each.port.within(OUTWARD):
            yield f"{each.port} may go to {', '.join(sorted(each.peers))}"


@rule(
    "firewall-attached",
    "A firewall protects something",
    on=Firewall,
    severity="low",
    requirements=["pci-1.2.7"],
    remedy="Give it tags or droplets, or delete it.",
    advisory=True,
)
def attached(firewall):
    if firewall.attached is False:
        yield "it has neither tags nor droplets"
