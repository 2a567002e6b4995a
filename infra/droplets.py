"""Droplets, who may log in to them, and what they are told at their first boot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_digitalocean as do
import yaml

from infra import credentials
from infra.hostkey import HostKey
from infra.settings import Administrator, Backups, Settings, Tier
from infra.stack import Stack

LOGIN_GROUP = "sshusers"


@dataclass(frozen=True)
class Machine:
    """A droplet with the public half of the key by which its first contact is known."""

    name: str
    tier: str
    droplet: do.Droplet
    host_key: pulumi.Output[str]
    reserved: do.ReservedIp | None = None


def ssh_keys(stack: Stack, administrators: Iterable[Administrator]) -> list[pulumi.Input[str]]:
    """The administrators' keys in the account. Without one, DigitalOcean would mail a root password."""
    found: list[pulumi.Input[str]] = []
    for person in administrators:
        for number, key in enumerate(person.public_keys, 1):
            if person.registered:
                found.append(credentials.fingerprint(key))
            else:
                name = person.name if number == 1 else f"{person.name}-{number}"
                found.append(do.SshKey(name, name=f"{stack.name}-{name}", public_key=key).fingerprint)
    return found


def create(
    stack: Stack,
    settings: Settings,
    vpc: do.Vpc,
    tags: Mapping[str, do.Tag],
    firewalls: Mapping[str, Sequence[do.Firewall]],
    way_out: do.VpcNatGateway | None = None,
) -> list[Machine]:
    """All tiers' droplets, each once its tier's firewalls stand, and its way out if it has no address of its own."""
    before = {
        name: [*firewalls[name], *([way_out] if way_out and not tier.public_networking else [])]
        for name, tier in settings.tiers.items()
    }
    keys = ssh_keys(stack, settings.administrators)
    return [
        _machine(f"{name}-{number}", name, tier, settings, vpc, keys, tags, before[name])
        for name, tier in settings.tiers.items()
        for number in range(1, tier.count + 1)
    ]


def _machine(
    name: str,
    tier_name: str,
    tier: Tier,
    settings: Settings,
    vpc: do.Vpc,
    keys: list[pulumi.Input[str]],
    tags: Mapping[str, do.Tag],
    before: Sequence[pulumi.Resource],
) -> Machine:
    # Resizing in place switches a machine off. Where the stack hardens, a new one is made beside it, of the same name,
    # and takes over once it is hardened.
    replacing = ["size"] if settings.harden else []
    # A key is used for one machine's first contact. What replaces the machine replaces the key.
    anew = [tier.image, settings.region, vpc.id, *(tier.size for _ in replacing)]
    host_key = HostKey(name, host=name, opts=pulumi.ResourceOptions(replacement_trigger=anew))
    droplet = do.Droplet(
        name,
        name=name,
        region=settings.region,
        size=tier.size,
        image=tier.image,
        vpc_uuid=vpc.id,
        public_networking=None if tier.public_networking else False,
        ssh_keys=keys,
        tags=[tags["all"].name, tags[tier_name].name],
        user_data=pulumi.Output.all(host_key.private_key, host_key.public_key).apply(
            lambda pair: user_data(settings, *pair)
        ),
        monitoring=True if settings.alerts else None,
        backups=True if tier.backups else None,
        backup_policy=_backup_policy(tier.backups),
        droplet_agent=False,  # the web console's, which logs in as root
        opts=pulumi.ResourceOptions(
            depends_on=list(before),
            protect=settings.protect,
            # Both speak at the first boot only; from then on the roles see to accounts and sshd. Without this, a new
            # administrator or another ssh port would replace every machine. A replacement takes them as they are then.
            ignore_changes=["userData", "sshKeys"],
            replace_on_changes=replacing,
        ),
    )
    return Machine(name, tier_name, droplet, host_key.public_key, _reserved(name, tier, settings, droplet))


def _reserved(name: str, tier: Tier, settings: Settings, droplet: do.Droplet) -> do.ReservedIp | None:
    """An address that stays when the droplet is replaced: two resources, so that only the assignment is made anew."""
    if not tier.reserved_addresses:
        return None
    # A refresh reads back what the assignment did, which the address itself was never told.
    opts = pulumi.ResourceOptions(protect=settings.protect, ignore_changes=["dropletId"])
    address = do.ReservedIp(name, region=settings.region, opts=opts)
    do.ReservedIpAssignment(name, ip_address=address.ip_address, droplet_id=droplet.id.apply(int))
    return address


def _backup_policy(wanted: Backups | None) -> do.DropletBackupPolicyArgs | None:
    if wanted is None:
        return None
    return do.DropletBackupPolicyArgs(plan=wanted.plan, weekday=wanted.weekday, hour=wanted.hour)


def user_data(settings: Settings, private_key: str, public_key: str) -> str:
    """What cloud-init does before sshd first starts: port 22 and root never answer, and the controller knows the key
    that does. Any process on the droplet can read this for as long as it lives: ``private_key``, which the first
    hardening makes worthless, is the only secret in it. The same settings give the same bytes.
    """
    sshd = {
        "Port": settings.ssh_port,
        "HostKey": "/etc/ssh/ssh_host_ed25519_key",
        "PermitRootLogin": "no",
        "AllowGroups": LOGIN_GROUP,
        "AuthenticationMethods": "publickey",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "X11Forwarding": "no",
    }
    document: dict[str, Any] = {
        "disable_root": True,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": private_key, "ed25519_public": public_key},
        "ssh_publish_hostkeys": {"enabled": False},
        "manage_etc_hosts": "localhost",  # else sudo can't resolve the host's own name
        "groups": [LOGIN_GROUP],
        "users": [
            {
                "name": person.name,
                "groups": [LOGIN_GROUP],
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": list(person.public_keys),
            }
            for person in settings.administrators
        ],
        "write_files": [
            {
                "path": "/etc/ssh/sshd_config.d/00-seawall-first-contact.conf",
                "permissions": "0600",
                "content": "".join(f"{keyword} {value}\n" for keyword, value in sshd.items()),
            }
        ],
        # Ubuntu starts sshd by a socket, which ignores Port and listens on 22. Debian's is not enabled.
        "bootcmd": [
            "systemctl is-enabled --quiet ssh.socket && systemctl disable --now ssh.socket"
            " && systemctl enable ssh.service || true"
        ],
        "runcmd": [["systemctl", "start", "ssh.service"]],
    }
    return "#cloud-config\n" + yaml.safe_dump(document, sort_keys=False, width=10_000)
