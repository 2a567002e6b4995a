"""sshd as it would judge a login, and as it answers on its port."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seawall.facts import Machine

MANY = {
    "port",
    "hostkey",
    "listenaddress",
    "allowusers",
    "allowgroups",
    "denyusers",
    "denygroups",
    "acceptenv",
}
"""Settings `sshd -T` prints once for each value."""


class Sshd:
    """``host.sshd["permitrootlogin"]`` is the effective value, as `sshd -T` says it: every include and default."""

    def __init__(self, host: Machine) -> None:
        self.host = host

    @cached_property
    def effective(self) -> dict[str, str | list[str]]:
        return parse(self.host.check_output("sshd -T"))

    def __getitem__(self, setting: str) -> str | list[str]:
        return self.effective.get(setting, [] if setting in MANY else "")

    def number(self, setting: str) -> int:
        """A setting that counts; 0 where it isn't set, which for sshd mostly means "no limit"."""
        value = self[setting]
        return int(value) if isinstance(value, str) and value.isdigit() else 0

    def algorithms(self, setting: str) -> list[str]:
        value = self[setting]
        return value.split(",") if isinstance(value, str) else value

    def judging(self, *, user: str, address: str) -> dict[str, str | list[str]]:
        """The effective settings for a login of ``user`` from ``address``, ``Match`` blocks applied."""
        return parse(self.host.check_output("sshd -T -C user=%s,host=%s,addr=%s", user, address, address))

    @cached_property
    def host_keys(self) -> dict[str, int]:
        """Bits of each host key by type: ``{"ED25519": 256, "RSA": 3072}``."""
        files = " ".join(f"{path}.pub" for path in self["hostkey"])
        lines = self.host.check_output(f"for key in {files}; do ssh-keygen -lf $key; done").splitlines()
        return {line.rsplit("(", 1)[1].rstrip(")"): int(line.split()[0]) for line in lines}


def parse(text: str) -> dict[str, str | list[str]]:
    """What `sshd -T` prints: one lower-case keyword and its value a line."""
    found: dict[str, str | list[str]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        if keyword in MANY:
            found.setdefault(keyword, []).extend(value.split())  # type: ignore[union-attr]
        else:
            found[keyword] = value
    return found
