"""Who can be somebody on the host: passwd, shadow, group, sudo and authorised keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seawall.facts import Machine

NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false", "/bin/sync")


@dataclass(frozen=True)
class Account:
    """A line of /etc/passwd with its field of /etc/shadow. ``hash`` is never printed; ask ``password``."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    hash: str

    @property
    def password(self) -> str:
        """``locked``, ``empty`` or ``set``."""
        if self.hash == "":
            return "empty"
        return "locked" if self.hash.startswith(("!", "*")) else "set"

    @property
    def can_log_in(self) -> bool:
        return self.shell not in NO_LOGIN


@dataclass(frozen=True)
class Group:
    """A line of /etc/group, with those whose first group it is among its members."""

    name: str
    gid: int
    members: frozenset[str]


class Accounts:
    """``host.accounts``: read from the files themselves, so that two lines of one name are two accounts."""

    def __init__(self, host: Machine) -> None:
        self.host = host

    @cached_property
    def users(self) -> list[Account]:
        shadow: dict[str, str] = {}
        for line in self._lines("/etc/shadow"):
            shadow.setdefault(line[0], line[1])
        return [
            # Without a shadow line the password field of passwd itself counts; "x" then matches no password.
            Account(name, int(uid), int(gid), home, shell, shadow.get(name, "" if field == "" else "!"))
            for name, field, uid, gid, _, home, shell in self._lines("/etc/passwd")
        ]

    @cached_property
    def groups(self) -> list[Group]:
        return [
            Group(
                name,
                int(gid),
                frozenset(filter(None, members.split(",")))
                | {user.name for user in self.users if user.gid == int(gid)},
            )
            for name, _, gid, members in self._lines("/etc/group")
        ]

    def _lines(self, path: str) -> list[list[str]]:
        return [line.split(":") for line in self.host.check_output("cat %s", path).splitlines() if line]

    def user(self, name: str) -> Account | None:
        return next((user for user in self.users if user.name == name), None)

    def members(self, group: str) -> frozenset[str]:
        """Nobody where there is no such group."""
        return next((found.members for found in self.groups if found.name == group), frozenset())

    @cached_property
    def authorized_keys(self) -> dict[str, frozenset[str]]:
        """``type base64`` of every key in a file sshd would look in, by account; only accounts that have any."""
        patterns = self.host.sshd["authorizedkeysfile"]
        homes = {user.home: user.name for user in self.users}
        files = {}
        for pattern in str(patterns).split():
            for user in self.users:
                path = pattern.replace("%h", user.home).replace("%u", user.name).replace("%U", str(user.uid))
                files[path if path.startswith("/") else f"{user.home}/{path}"] = homes[user.home]
        listed = " ".join(files)
        text = self.host.run(
            f'for file in {listed}; do [ -s "$file" ] && echo "# $file" && cat "$file"; done'
        ).stdout
        return keys_by_account(text, files)

    def unused(self, days: int) -> set[str] | None:
        """Accounts nobody has logged in to for so many days and that are no younger; None where no record is kept."""
        told = self.host.run(
            "last=$(command -v lastlog || command -v lastlog2) || exit 9; "
            f"$last -b {days}; echo --; getent shadow | cut -d: -f1,3; echo --; date +%s"
        )
        if told.rc == 9:
            return None
        listed, set_on, now = told.stdout.split("--\n")
        born = dict(line.split(":") for line in set_on.splitlines())
        return unused(listed, born, int(now) // 86400, days)

    @cached_property
    def _sudo(self) -> dict:
        """Every rule sudo reads, includes and aliases resolved, as `cvtsudoers` gives them."""
        return json.loads(self.host.check_output("cvtsudoers -e -f json /etc/sudoers 2>/dev/null"))

    @property
    def sudo_defaults(self) -> dict[str, str | bool]:
        """The settings that hold for everybody."""
        return {
            name: value
            for default in self._sudo.get("Defaults", [])
            if "Binding" not in default
            for option in default["Options"]
            for name, value in option.items()
        }

    @property
    def sudoers(self) -> set[str]:
        """Whom sudo grants anything: users and ``%group``."""
        return set(grants(self._sudo, without_password=False))

    @property
    def sudo_without_password(self) -> set[str]:
        """Whom sudo grants anything without asking for a password."""
        return set(grants(self._sudo, without_password=True))


def unused(listed: str, born: dict[str, str], today: int, days: int) -> set[str]:
    """Of `lastlog -b`'s table the accounts older than ``days``: one made yesterday has not been unused for long.

    ``born``: the day (since 1970) each account's password field was set, which is when it was made.
    """
    names = {line.split()[0] for line in listed.splitlines()[1:] if line.split()}
    return {name for name in names if today - int(born.get(name) or 0) > days}


def keys_by_account(text: str, files: dict[str, str]) -> dict[str, frozenset[str]]:
    """Keys of concatenated authorized_keys files, each after a line ``# path``; options and comments dropped."""
    found: dict[str, set[str]] = {}
    account = ""
    for line in text.splitlines():
        if line.startswith("# ") and line[2:] in files:
            account = files[line[2:]]
            continue
        words = line.split()
        kind = next((i for i, word in enumerate(words) if word.startswith(("ssh-", "ecdsa-", "sk-"))), None)
        if kind is not None and not line.startswith("#") and len(words) > kind + 1:
            found.setdefault(account, set()).add(f"{words[kind]} {words[kind + 1]}")
    return {name: frozenset(keys) for name, keys in found.items()}


def grants(sudo: dict, *, without_password: bool) -> Iterator[str]:
    """Users and ``%group`` of the rules of `cvtsudoers -f json`: all, or only those with ``NOPASSWD``."""
    for spec in sudo.get("User_Specs", []):
        options = [option for held in spec["Cmnd_Specs"] for option in held.get("Options", [])]
        if without_password and {"authenticate": False} not in options:
            continue
        for who in spec["User_List"]:
            for kind, name in who.items():
                if kind != "negated":
                    yield f"%{name}" if kind == "usergroup" else str(name)
