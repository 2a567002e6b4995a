"""The stack's settings: typed, checked as one, refused before anything is created.

``Settings.load`` is pure but for reading the key and certificate files that the settings name; it knows nothing of
Pulumi. What only the account can tell (is there such a size? is the range free?) asks ``account.py``.
The settings' manual is ``Pulumi.prod.example.yaml``.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from infra import credentials, reach
from infra.credentials import Pem
from infra.drift import Drift
from infra.flows import ENDPOINTS, PROXY_PORT, STRICT, Flow, Flows, cardholder_faults, faults, some

PRIVATE = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
TAKEN_PORTS = {22: "the port everybody tries", 80: "HTTP", 443: "HTTPS", 6514: "the log collector"}
SYSTEM_ACCOUNTS = """
    root daemon bin sys sync games man lp mail news uucp proxy backup list irc nobody systemd-network systemd-resolve
    systemd-timesync messagebus sshd www-data syslog _apt polkitd tss
""".split()  # noqa: SIM905
RESERVED_TIERS = ENDPOINTS | {"ungrouped", "localhost", "collectors"}


class Refused(Exception):
    """Settings that can't be built: ``problems`` are paragraphs, each with what, why and what next."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Model(BaseModel):
    """Part of the settings, read as strictly as the flows."""

    model_config = STRICT


def _private_range(text: str) -> str:
    network = _network(text, "10.20.0.0/20")
    if network.version != 4 or not any(network.subnet_of(private) for private in PRIVATE):  # type: ignore[arg-type]
        raise ValueError(
            f"{text} is not private: a VPC's range has to lie within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 "
            "(RFC 1918). Choose one there, e.g. 10.20.0.0/20"
        )
    if not 16 <= network.prefixlen <= 28:
        raise ValueError(
            f"{text} is {'larger' if network.prefixlen < 16 else 'smaller'} than a VPC can be. DigitalOcean takes "
            "/16 (65,536 addresses) to /28 (16); 10.20.0.0/20 is a usual choice"
        )
    return str(network)


def _trusted_range(text: str) -> str:
    network = _network(text, "198.51.100.7/32")
    if network.prefixlen < (8 if network.version == 4 else 29):
        raise ValueError(
            f"{text} is {'the whole world' if not network.prefixlen else 'a large part of the world'}, and whoever "
            "is in a trusted range may try to log in. Name the addresses you administer from, e.g. your office's "
            "or VPN's 198.51.100.7/32 (at most a /8, or /29 in IPv6)"
        )
    return str(network)


def _network(text: str, example: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address range ({error}). Write it like {example}") from None


def _hostname(text: str) -> str:
    if len(text) > 253 or not re.fullmatch(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", text):
        raise ValueError(f"{text!r} is not a domain name. Write it in lower case, like www.example.com")
    return text


def _slug(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", text):
        raise ValueError(f"{text!r} is not one of DigitalOcean's slugs, which look like fra1 or s-1vcpu-1gb")
    return text


def _from_config(value: Any) -> Any:
    """Pulumi hands lists and maps over as JSON text."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


Slug = Annotated[str, AfterValidator(_slug)]
Hostname = Annotated[str, AfterValidator(_hostname)]
ExistingFile = Annotated[Path, AfterValidator(lambda path, info: resolve(path, info))]


class Administrator(Model):
    """Somebody who may log in: an account on every host, with these keys and no others.

    ``registered``: the keys are already in the DigitalOcean account, which holds each key once only.
    """

    name: str
    public_keys: tuple[str, ...] = ()
    registered: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read_key_files(cls, value: Any, info: ValidationInfo) -> Any:
        """``publicKeyFiles``, as written in settings, become keys."""
        if not isinstance(value, Mapping):
            return value
        value = dict(value)
        keys = list(value.pop("publicKeys", value.pop("public_keys", ())))
        for name in value.pop("publicKeyFiles", ()):
            keys.append(credentials.read(resolve(Path(name), info)).decode(errors="replace"))
        return value | {"publicKeys": keys}

    @field_validator("name")
    @classmethod
    def _is_an_account(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", name):
            raise ValueError(
                f"{name!r} can't be an account: use up to 32 lower-case letters, digits, - and _, a letter first"
            )
        if name in SYSTEM_ACCOUNTS:
            raise ValueError(
                f"{name} is an account of the system's own. Choose a person's name or a role, e.g. ops"
            )
        return name

    @field_validator("public_keys")
    @classmethod
    def _are_keys(cls, keys: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not keys:
            raise ValueError(
                "there is no public key, and passwords are never accepted. Give `publicKeys` or `publicKeyFiles`"
            )
        return tuple(credentials.public_key(key) for key in keys)


class Tier(Model):
    """Droplets of one kind, named ``<tier>-1`` and up. ``serves`` says what they are for: web, logs or neither."""

    count: int = Field(default=1, ge=1, le=99)
    size: Slug
    image: Slug
    serves: tuple[Literal["web", "logs"], ...] = ()
    cardholder_data: Literal["stored", "handled"] | None = None
    """Whether account data is kept here, or passes through; the other tiers' scope follows from the flows."""
    public_networking: bool = True
    """Whether its droplets have public addresses. Those without are reached through the bastion, and reach package
    sources and resolvers through a NAT gateway."""
    reserved_addresses: bool = False
    """Whether each has a second public address that outlives it."""
    backups: Backups | None = None


class Backups(Model):
    """When a tier's droplets are backed up. ``hour`` begins a window of four hours, UTC."""

    plan: Literal["daily", "weekly"]
    weekday: Literal["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] | None = None
    hour: Literal[0, 4, 8, 12, 16, 20] = 0

    @model_validator(mode="after")
    def _has_a_day_if_weekly(self) -> Backups:
        if (self.plan == "weekly") != (self.weekday is not None):
            raise ValueError("a weekly backup needs a `weekday` like SUN, and a daily one has none")
        return self


class Dns(Model):
    """The zone, at DigitalOcean, that the site's name lies in. ``create``: it is this stack's own."""

    zone: Hostname
    create: bool = False
    mail: bool = False
    """Whether mail is sent from the zone: if not, and it is this stack's, its records say so."""
    authorities: tuple[Hostname, ...] = ()
    """Who may issue certificates for it (CAA records); anybody if empty."""


class Slack(Model):
    """A Slack channel with the file of its webhook's address."""

    channel: str
    url_file: ExistingFile


def _address(text: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text):
        raise ValueError(f"{text!r} is not an e-mail address")
    return text


class Alerts(Model):
    """Who is told, and from what on. DigitalOcean's metrics agent is installed on every droplet for it."""

    emails: tuple[Annotated[str, AfterValidator(_address)], ...] = ()
    slack: Slack | None = None
    cpu_percent: int = Field(default=90, ge=1, le=100)
    memory_percent: int = Field(default=90, ge=1, le=100)
    disk_percent: int = Field(default=80, ge=1, le=100)
    certificate_days: int = Field(default=21, ge=1, le=90)

    @model_validator(mode="after")
    def _reach_somebody(self) -> Alerts:
        if not self.emails and self.slack is None:
            raise ValueError("nobody would be told. Give `emails` or `slack`")
        return self


class Project(Model):
    """A project of DigitalOcean's, by name; made by this stack."""

    name: str = Field(min_length=1, max_length=175)
    environment: Literal["Development", "Staging", "Production"] = "Production"


def _pem(value: Any, info: ValidationInfo) -> Any:
    """PEM itself, as a secret of the stack's settings holds it; ``env:NAME``, a variable that does; or a file of it."""
    if not isinstance(value, str):
        return value
    if "-----BEGIN " in value:
        # Pulumi drops a secret's last line end, and another text would be another certificate.
        return Pem(value.strip() + "\n", f"seawall:certificate.{to_camel(info.field_name or '')}")
    if value.startswith("env:"):
        name = value.removeprefix("env:")
        if not (held := os.environ.get(name)):
            raise ValueError(
                f'the environment has no variable {name}. Set it for `up`: {name}="$(cat FILE)"; export {name}'
            )
        return Pem(held.strip() + "\n", f"${name}")
    path = resolve(Path(value), info)
    return Pem(credentials.read(path).decode(errors="replace"), str(path), path)


PemText = Annotated[Pem, BeforeValidator(_pem)]


class CustomCertificate(Model):
    """A certificate of your own, in PEM: files, variables of the environment, or secrets among the settings. A file's
    permissions must keep the key from others."""

    kind: Literal["custom"]
    leaf: PemText
    chain: PemText | None = None
    private_key: PemText


class LetsEncryptCertificate(Model):
    """DigitalOcean obtains and renews it; the domains' DNS has to be with DigitalOcean."""

    kind: Literal["letsEncrypt"]
    domains: Annotated[tuple[Hostname, ...], AfterValidator(some)]


class EvidenceStore(Model):
    """A bucket of Spaces for evidence. Its name is shared by everybody in a region; ``region``: the stack's own.

    ``keep_days``: how long what was deleted or overwritten stays as a version (PCI DSS 10.5.1: a year at least).
    """

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]
    region: Slug | None = None
    keep_days: int = Field(default=396, ge=365, le=3650)


class Settings(Model):
    """One stack, whole."""

    region: Slug
    vpc_range: Annotated[str, AfterValidator(_private_range)]
    trusted_ranges: tuple[Annotated[str, AfterValidator(_trusted_range)], ...]
    ssh_port: int = Field(default=2222, ge=1, le=65535)
    administrators: Annotated[tuple[Administrator, ...], AfterValidator(some)]
    tiers: Annotated[dict[str, Tier], AfterValidator(some)]
    flows: Annotated[tuple[Flow, ...], AfterValidator(some)]
    bastion: str | None = None
    """The tier whose one droplet others are logged in to through."""
    domain: Hostname
    certificate: Annotated[
        CustomCertificate | LetsEncryptCertificate, Field(discriminator="kind"), BeforeValidator(_from_config)
    ]
    idle_seconds: int = Field(default=60, ge=30, le=600)
    """How long a connection at the load balancer may say nothing."""
    proxy_protocol: bool = False
    """Whether the load balancer tells who connects by the PROXY protocol, on ``PROXY_PORT``, beside HTTP's headers."""
    dns: Annotated[Dns | None, BeforeValidator(_from_config)] = None
    alerts: Annotated[Alerts | None, BeforeValidator(_from_config)] = None
    project: Annotated[Project | None, BeforeValidator(_from_config)] = None
    harden: bool = False
    """Whether hardening is part of the stack, so that the load balancer waits for it. Else `seawall harden` does it."""
    protect: bool = False
    """Whether Pulumi refuses to delete or replace VPC, droplets, load balancer and the bucket of evidence."""
    policies: Literal["mandatory", "advisory"] = "mandatory"
    """Whether a broken rule of the policy pack stops ``seawall up`` or is only told."""
    evidence_store: Annotated[EvidenceStore | None, BeforeValidator(_from_config)] = None
    """The bucket that ``seawall evidence push`` goes to; none unless declared."""
    drift: Annotated[Drift, BeforeValidator(_from_config)] = Drift()
    """What ``seawall drift`` goes by; nothing is built from it."""

    @classmethod
    def load(
        cls,
        values: Mapping[str, Any],
        base: Path,
        *,
        seawall_dir: Path | None = None,
        now: datetime | None = None,
    ) -> Settings:
        """Settings from ``values`` (name → value, lists and maps as JSON text or as they are), or ``Refused``.

        Relative paths are below ``base``; a leading ``.seawall`` is ``seawall_dir`` (default: ``$SEAWALL_DIR``,
        else ``base/.seawall``).
        """
        seawall_dir = seawall_dir or Path(os.environ.get("SEAWALL_DIR") or base / ".seawall")
        try:
            settings = cls.model_validate(
                {name: _from_config(value) for name, value in values.items()},
                context={"base": base, "seawall": seawall_dir},
            )
        except ValidationError as error:
            raise Refused([_paragraph(dict(fault)) for fault in error.errors()]) from None
        if problems := settings._contradictions(now or datetime.now(UTC)):
            raise Refused(problems)
        return settings

    @property
    def derived(self) -> Flows:
        """The flows with what they are about: the source of every rule."""
        return Flows(self.flows, tuple(self.tiers), self.trusted_ranges, self.vpc_range)

    @property
    def holding(self) -> dict[str, str]:
        """The tiers with account data, and whether it is stored there or handled."""
        return {name: tier.cardholder_data for name, tier in self.tiers.items() if tier.cardholder_data}

    @field_validator("trusted_ranges")
    @classmethod
    def _somebody_is_trusted(cls, ranges: tuple[str, ...]) -> tuple[str, ...]:
        if not ranges:
            raise ValueError(
                "nobody is trusted, so nobody could log in to harden a host. Name the addresses you administer from, "
                "e.g. 198.51.100.7/32"
            )
        return ranges

    @field_validator("ssh_port")
    @classmethod
    def _is_its_own(cls, port: int) -> int:
        if port in TAKEN_PORTS:
            raise ValueError(f"{port} is {TAKEN_PORTS[port]}. Give sshd a port of its own, e.g. 2222")
        return port

    @field_validator("tiers")
    @classmethod
    def _are_hostnames(cls, tiers: dict[str, Tier]) -> dict[str, Tier]:
        for name, tier in tiers.items():
            if not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", name):
                raise ValueError(
                    f"{name!r} can't be a tier: its droplets are hosts of that name ({name}-1), so use up to 40 "
                    "lower-case letters, digits and -, a letter first and no - last"
                )
            if name in RESERVED_TIERS or (name == "web" and "web" not in tier.serves):
                raise ValueError(
                    f"{name} means something else in flows or in the inventory. Give the tier another name"
                )
        return tiers

    @property
    def private_tiers(self) -> list[str]:
        """The tiers whose droplets have no public address."""
        return [name for name, tier in self.tiers.items() if not tier.public_networking]

    def _bastion_faults(self) -> list[str]:
        """What keeps the bastion from being one, and the private tiers from being reached."""
        if self.bastion is None:
            return [
                f"Tier {name} has no public address, and there is no bastion to reach it through. Declare a tier of "
                "one droplet for it, name that in seawall:bastion, and let a flow lead from it to the ssh port of "
                f"{name}."
                for name in self.private_tiers
            ]
        tier = self.tiers.get(self.bastion)
        if tier is None:
            return [
                f"seawall:bastion names {self.bastion}, and there is no such tier. Declare it in seawall:tiers."
            ]
        found = []
        if tier.count != 1 or not tier.public_networking or tier.serves or tier.cardholder_data:
            found.append(
                f"seawall:bastion is tier {self.bastion}, and a bastion is one droplet with a public address that "
                "serves nothing else and has no account data. Give it a tier of its own: `count: 1`, no `serves`, no "
                "`cardholderData`, no `publicNetworking: false`."
            )
        for name in self.private_tiers:
            if not reach.administered(self.flows, name, self.ssh_port, by=self.bastion):
                found.append(
                    f"Tier {name} has no public address, and no flow lets the bastion log in to it. Add a flow "
                    f"`from: {self.bastion}`, `to: {name}`, `ports: [{self.ssh_port}/tcp]`."
                )
        return found

    def _contradictions(self, now: datetime) -> list[str]:
        """What each setting alone can't tell."""
        found = self._bastion_faults()
        serving = {name: tier.serves for name, tier in self.tiers.items()}
        found += faults(self.flows, serving, self.ssh_port, self.bastion)
        found += cardholder_faults(self.flows, self.holding)
        vpc = ipaddress.ip_network(self.vpc_range)
        for text in self.trusted_ranges:
            if ipaddress.ip_network(text).overlaps(vpc):
                found.append(
                    f"The trusted range {text} overlaps the VPC's {vpc}: every droplet could try to log in to every "
                    "other. Choose a seawall:vpcRange that your own network doesn't use."
                )
        # Network and broadcast address, the gateway, and the load balancer's own.
        wanted, room = sum(tier.count for tier in self.tiers.values()), vpc.num_addresses - 4
        if wanted > room:
            found.append(
                f"seawall:vpcRange {vpc} has room for {room} droplets, and the tiers ask for {wanted}. Choose a larger "
                "range now: a VPC's can't be changed later."
            )
        if self.dns and self.domain != self.dns.zone and not self.domain.endswith(f".{self.dns.zone}"):
            found.append(
                f"seawall:dns.zone is {self.dns.zone}, and the site's name {self.domain} does not lie in it. Name the "
                "zone that holds it."
            )
        found += [
            f"Tier {name} asks for reserved addresses, and its droplets have no public interface to send them to. Take "
            "`reservedAddresses` or `publicNetworking: false` out."
            for name in self.private_tiers
            if self.tiers[name].reserved_addresses
        ]
        found += [
            f"seawall:proxyProtocol is on, and no flow leads from the load balancer to the port on which {tier} takes "
            f"that, {PROXY_PORT}. Let the flow `from: loadbalancer`, `to: {tier}` say `ports: [443/tcp, {PROXY_PORT}]`."
            for tier, ports in self.derived.balanced().items()
            if self.proxy_protocol and PROXY_PORT not in ports
        ]
        names = [person.name for person in self.administrators]
        if len(set(names)) < len(names):
            found.append(
                "seawall:administrators has a name twice. Each person has one account; give it all the keys."
            )
        keys = [credentials.bare(key) for person in self.administrators for key in person.public_keys]
        if len(set(keys)) < len(keys):
            found.append(
                "seawall:administrators has a key twice. A shared key can't tell who logged in (PCI DSS 8.2.2): give "
                "each person a key of their own."
            )
        if isinstance(self.certificate, CustomCertificate):
            found += credentials.certificate_faults(
                self.domain,
                self.certificate.leaf,
                self.certificate.chain,
                self.certificate.private_key,
                now,
            )
        elif self.domain not in self.certificate.domains:
            found.append(
                f"seawall:certificate is for {', '.join(self.certificate.domains)}, and the site is {self.domain}. Add "
                "the site's name to `domains`."
            )
        return found


def resolve(path: Path, info: ValidationInfo) -> Path:
    """An absolute path; see ``Settings.load`` for what it is relative to."""
    context = info.context or {}
    if path.parts[:1] == (".seawall",):
        path = context["seawall"] / Path(*path.parts[1:])
    found = (context["base"] / path.expanduser()).absolute()
    if not found.is_file():
        raise ValueError(f"there is no file {found}. Relative paths begin at the checkout")
    return found


def _paragraph(fault: dict[str, Any]) -> str:
    """A pydantic error as what a person reads."""
    where = "seawall:" + ".".join(str(part) for part in fault["loc"] if part not in ("custom", "letsEncrypt"))
    if fault["type"] == "missing":
        what = "is not set. What it means stands in Pulumi.prod.example.yaml"
    elif fault["type"] == "extra_forbidden":
        what = "is not a setting (a typing error?). All of them stand in Pulumi.prod.example.yaml"
    elif fault["type"] == "value_error":
        what = str(fault["ctx"]["error"])
    else:
        what = fault["msg"][:1].lower() + fault["msg"][1:]
    return f"{where}: {what}." if not where.endswith(":") else f"{what}."
