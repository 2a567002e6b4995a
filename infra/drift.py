"""Who is told of drift, and which strangers in the account are known: ``seawall:drift`` of the settings.

The infra program only checks it; ``seawall drift`` reads it. Its manual is ``Pulumi.prod.example.yaml``.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints, model_validator

from infra.flows import STRICT

Kind = Literal[
    "droplet", "firewall", "load-balancer", "certificate", "ssh-key", "vpc", "tag", "domain", "record", "volume",
    "snapshot", "reserved-ip",
]  # fmt: skip
Sentence = Annotated[str, StringConstraints(min_length=5, strip_whitespace=True)]
Secret = Annotated[Path, Field(description="A file that holds it, readable by its owner only")]


class _Part(BaseModel):
    model_config = STRICT


class Known(_Part):
    """Things of an account shared with others that no code of ours manages. ``name`` may be a pattern."""

    kind: Kind
    name: Annotated[str, StringConstraints(min_length=1)]
    reason: Sentence
    owner: Annotated[str, StringConstraints(min_length=2)]

    def covers(self, kind: str, name: str) -> bool:
        return kind == self.kind and fnmatch.fnmatchcase(name, self.name)


class Webhook(_Part):
    """A Slack-compatible webhook. Its address is a secret."""

    url_file: Secret


class Email(_Part):
    """By SMTP with STARTTLS (RFC 3207), which is never left out when a password is sent."""

    host: str
    port: int = Field(default=587, ge=1, le=65535)
    sender: str
    to: Annotated[tuple[str, ...], Field(min_length=1)]
    user: str = ""
    password_file: Secret | None = None
    starttls: bool = True

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Email:
        if self.password_file and not self.starttls:
            raise ValueError("a password needs starttls: true, or it would cross the network in the clear")
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and passwordFile go together")
        return self


class Syslog(_Part):
    """The controller's own syslog (``/dev/log``), which its rsyslog forwards to the collector, or ``host``:``port``."""

    path: str = "/dev/log"
    host: str = ""
    port: int = Field(default=514, ge=1, le=65535)
    protocol: Literal["tcp", "udp"] = "tcp"


class Tell(_Part):
    """Where to. Each is told of every change once."""

    webhook: Webhook | None = None
    email: Email | None = None
    syslog: Syslog | None = None


class Drift(_Part):
    """All of it."""

    known: tuple[Known, ...] = ()
    tell: Tell = Tell()
    remind_hours: int = Field(default=24, ge=1, le=24 * 30)
    """After how many hours what lasts is told again."""
