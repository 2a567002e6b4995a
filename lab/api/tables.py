"""What the API remembers, one table a noun.

Columns hold what was *declared* and what an effect has *reported*; a status that follows from the two (a
firewall's, a load balancer's, a certificate's) is computed where it is answered and never kept.
Lists that no query looks into (rules, ids, settings) are JSON.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, ForeignKey, String, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Utc(TypeDecorator[datetime]):
    """An aware UTC time; SQLite itself keeps no zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.replace(tzinfo=UTC) if value else None


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {datetime: Utc, dict: JSON, list: JSON}


class Account(Base):
    """The one account. The token itself is not kept."""

    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str]
    token_sha256: Mapped[str]
    public_range: Mapped[str]
    droplet_limit: Mapped[int]
    created_at: Mapped[datetime]


class Vpc(Base):
    __tablename__ = "vpcs"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str]
    region: Mapped[str]
    ip_range: Mapped[str] = mapped_column(unique=True)
    default: Mapped[bool]
    created_at: Mapped[datetime]


class Tag(Base):
    __tablename__ = "tags"

    name: Mapped[str] = mapped_column(String(255, collation="NOCASE"), primary_key=True)


class Tagging(Base):
    """A tag on a droplet. ``id`` keeps the order, for a tag's ``last_tagged_uri``."""

    __tablename__ = "taggings"
    __table_args__ = (UniqueConstraint("tag", "droplet_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tag: Mapped[str] = mapped_column(
        String(255, collation="NOCASE"), ForeignKey("tags.name", ondelete="CASCADE"), index=True
    )
    droplet_id: Mapped[int] = mapped_column(ForeignKey("droplets.id", ondelete="CASCADE"), index=True)


class Droplet(Base):
    """A machine. ``powered`` is what it should be, ``status`` what it was last seen to be."""

    __tablename__ = "droplets"
    __table_args__ = (UniqueConstraint("vpc_id", "private_ipv4"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    region: Mapped[str]
    image: Mapped[str]
    size: Mapped[str]
    disk: Mapped[int]
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    public_ipv4: Mapped[str | None] = mapped_column(unique=True)  # None: no public networking
    private_ipv4: Mapped[str]
    status: Mapped[str]  # new, active, off
    powered: Mapped[bool]
    destroying: Mapped[bool]
    features: Mapped[list]
    user_data: Mapped[str]
    public_keys: Mapped[list]
    backup_policy: Mapped[dict | None] = mapped_column(default=None)
    created_at: Mapped[datetime]
    taggings: Mapped[list[Tagging]] = relationship(
        order_by=Tagging.id, passive_deletes=True, cascade="all, delete-orphan", lazy="selectin"
    )

    @property
    def tags(self) -> list[str]:
        """The names of its tags, in the order they were put on."""
        return [tagging.tag for tagging in self.taggings]


class Action(Base):
    """Something under way, or done, on a droplet. A droplet with one in progress is locked."""

    __tablename__ = "actions"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str]
    status: Mapped[str] = mapped_column(index=True)  # in-progress, completed, errored
    started_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
    resource_id: Mapped[int] = mapped_column(index=True)
    region: Mapped[str]
    message: Mapped[str] = mapped_column(default="")


class Firewall(Base):
    """``applied`` is the digest of what last stood on the network, for ``applied_ids``."""

    __tablename__ = "firewalls"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    inbound: Mapped[list]
    outbound: Mapped[list]
    droplet_ids: Mapped[list]
    tags: Mapped[list]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    applied: Mapped[str] = mapped_column(default="")
    applied_ids: Mapped[list] = mapped_column(default=list)
    error: Mapped[str] = mapped_column(default="")


class LoadBalancer(Base):
    """``settings`` is the validated request; ``activated_at`` when it first stood on the network."""

    __tablename__ = "load_balancers"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    region: Mapped[str]
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    public_ipv4: Mapped[str] = mapped_column(unique=True)
    private_ipv4: Mapped[str]
    settings: Mapped[dict]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    activated_at: Mapped[datetime | None]
    applied: Mapped[str] = mapped_column(default="")
    error: Mapped[str] = mapped_column(default="")


class NatGateway(Base):
    """The way out of a VPC for droplets without public networking."""

    __tablename__ = "nat_gateways"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    region: Mapped[str]
    size: Mapped[int]
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    default_gateway: Mapped[bool]
    public_ipv4: Mapped[str] = mapped_column(unique=True)
    private_ipv4: Mapped[str]
    timeouts: Mapped[dict]
    created_at: Mapped[datetime]


class ReservedIp(Base):
    """A public address that stays while droplets come and go."""

    __tablename__ = "reserved_ips"

    ip: Mapped[str] = mapped_column(primary_key=True)
    region: Mapped[str]
    droplet_id: Mapped[int | None] = mapped_column(
        ForeignKey("droplets.id", ondelete="SET NULL"), unique=True
    )


class Certificate(Base):
    """A certificate, custom or of the lab's authority. ``private_key`` is answered to nobody."""

    __tablename__ = "certificates"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    type: Mapped[str]
    leaf: Mapped[str]
    chain: Mapped[str]
    private_key: Mapped[str]
    dns_names: Mapped[list]
    sha1_fingerprint: Mapped[str]
    not_after: Mapped[datetime]
    created_at: Mapped[datetime]


class SshKey(Base):
    __tablename__ = "ssh_keys"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    fingerprint: Mapped[str] = mapped_column(unique=True)
    public_key: Mapped[str]


class Kept(Base):
    """What the lab keeps as it was told and does nothing with: domains, records, volumes, alerts, uptime checks."""

    __tablename__ = "kept"

    kind: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    within: Mapped[str] = mapped_column(default="", index=True)
    body: Mapped[dict]


class UnknownRoute(Base):
    """A request no service answers: what a client wanted that the lab does not have."""

    __tablename__ = "unknown_routes"

    method: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    last_seen: Mapped[datetime]
