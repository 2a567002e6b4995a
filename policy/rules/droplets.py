"""Droplets: walled, known, and reached by keys."""

from policy.cloud import Cloud, Droplet, Firewall
from policy.rule import rule

IMAGES = {"debian-12-x64", "debian-13-x64", "ubuntu-22-04-x64", "ubuntu-24-04-x64"}
"""What the roles harden."""


@rule(
    "droplet-firewall",
    "Every droplet stands behind a cloud firewall",
    on=Cloud,
    severity="critical",
    requirements=["pci-1.4.1", "pci-1.2.8"],
    remedy="Give the droplet the tag of a tier, or name it in a firewall.",
)
def firewall(cloud):
    walls = cloud.every(Firewall)
    tags = {tag for wall in walls for tag in wall.tags}
    ids = {droplet for wall in walls for droplet in wall.droplets}
    for droplet in cloud.every(Droplet):
        # Before anything is created, tags that are resources are not known yet; nor are ids.
        if droplet.tags is not None and not droplet.tags & tags and droplet.id not in ids:
            yield droplet, "no cloud firewall names it or one of its tags"


@rule(
    "droplet-ssh-key",
    "A droplet is made with an SSH key: without one a root password is mailed",
    on=Droplet,
    severity="high",
    requirements=["pci-8.3.1", "pci-2.2.2"],
    remedy="Give ssh_keys.",
    unseen="the API does not tell which keys a droplet was made with; the hosts' own controls do",
)
def ssh_key(droplet):
    if droplet.keys == 0:
        yield "it has no SSH key"


@rule(
    "droplet-vpc",
    "A droplet is in a VPC made for its network, not in the region's default one",
    on=Droplet,
    severity="high",
    requirements=["pci-1.4.1", "pci-1.2.1"],
    remedy="Give vpc_uuid; changing it replaces the droplet.",
)
def vpc(droplet):
    if droplet.in_vpc is False:
        yield "it is in the default VPC, with every droplet of the account that nobody placed"


@rule(
    "droplet-image",
    "A droplet runs a distribution whose hardening is known",
    on=Droplet,
    severity="medium",
    requirements=["pci-2.2.1"],
    remedy=f"Use one of {', '.join(sorted(IMAGES))}.",
    advisory=True,
)
def image(droplet):
    if droplet.image is not None and droplet.image not in IMAGES:
        yield f"its image is {droplet.image or 'a custom one or a snapshot'}"


@rule(
    "droplet-tags",
    "A droplet's tags say which tier it belongs to",
    on=Droplet,
    severity="medium",
    requirements=["pci-12.5.1"],
    remedy="Tag it with its stack and tier.",
)
def tags(droplet):
    if droplet.tags is not None and not droplet.tags:
        yield "it has no tag"


@rule(
    "droplet-backups",
    "A droplet that holds what nobody could make again has backups",
    on=Droplet,
    severity="low",
    requirements=["pci-10.5.1"],
    remedy="Set backups where state lives; a droplet that `up` makes anew needs none: waive it, with that reason.",
    advisory=True,
)
def backups(droplet):
    if droplet.backups is False:
        yield "backups are off"


@rule(
    "droplet-monitoring",
    "A droplet reports its load, so that alerts can be set",
    on=Droplet,
    severity="low",
    requirements=["pci-10.7.2"],
    remedy="Set monitoring; it installs DigitalOcean's metrics agent.",
    advisory=True,
)
def monitoring(droplet):
    if droplet.monitoring is False:
        yield "monitoring is off"
