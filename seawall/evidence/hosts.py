"""What each droplet tells for the lists auditors ask for, over the connection and facts that controls use.

Never a secret: of a password only whether there is one, of a key only its public half.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from seawall.connection import Unreachable, connect, routes
from seawall.facts import Machine
from seawall.facts.sockets import Listener


@dataclass(frozen=True)
class User:
    """An account, for 7.2.4 and 8.2: ``password`` is locked, empty or set; ``keys`` are SHA256: fingerprints."""

    name: str
    uid: int
    shell: str
    can_log_in: bool
    password: str
    groups: tuple[str, ...]
    sudo: bool
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Package:
    """An installed Debian package and the source package it was built from (what security trackers speak of)."""

    name: str
    version: str
    architecture: str
    source: str


@dataclass(frozen=True)
class Upgrade:
    """A package for which the host's own lists know a newer version. ``security``: from a security suite."""

    name: str
    installed: str
    candidate: str
    origin: str
    security: bool


@dataclass(frozen=True)
class Patches:
    """Patch state (6.3.3). Times are None where the host has no record of such a thing."""

    pending: tuple[Upgrade, ...]
    lists_updated: datetime | None
    """When the package lists were last fetched: what ``pending`` is as fresh as."""
    last_upgrade: datetime | None
    """The last time dpkg upgraded anything."""
    last_unattended_run: datetime | None
    booted: datetime | None
    reboot_required: bool


@dataclass(frozen=True)
class Certificate:
    """An X.509 certificate in a file of the host (4.2.1.1). ``key`` like "RSA 3072" or "EC secp256r1"."""

    path: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    serial: str
    not_before: datetime
    not_after: datetime
    key: str
    signature: str
    fingerprint: str
    """SHA-256 of the certificate, hexadecimal."""


@dataclass(frozen=True)
class LogFile:
    """A file under a collector's /var/log/remote: ``sender`` is the folder it lies in (10.5.1)."""

    path: str
    sender: str
    bytes: int
    changed: datetime


@dataclass(frozen=True)
class HostFacts:
    """One droplet. Where ``unreachable`` says something, nothing else does."""

    name: str
    unreachable: str = ""
    os: str = ""
    os_id: str = ""
    """Like ``debian-12``."""
    kernel: str = ""
    users: tuple[User, ...] = ()
    packages: tuple[Package, ...] = ()
    patches: Patches | None = None
    certificates: tuple[Certificate, ...] = ()
    listeners: tuple[Listener, ...] = ()
    ciphers: Mapping[str, str] = field(default_factory=dict)
    """Setting → value (12.3.3), as the daemons themselves say: ``ssh ciphers``, ``nginx ssl_protocols`` …"""
    logs: tuple[LogFile, ...] = ()
    """Only on a collector."""
    log_days: tuple[int, int] | None = None
    """On a collector: for how many days a log is kept, and for how many uncompressed."""


PATIENCE = 120
"""Seconds a droplet may take over one of these: apt reads every package list there is, on the smallest size."""

COMMANDS = {
    "release": "cat /etc/os-release; uname -r",
    "packages": r"dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}|${Architecture}|${source:Package}\n'",
    "upgrades": "apt-get -s -o Debug::NoLocking=1 dist-upgrade 2>/dev/null | grep '^Inst '; true",
    "stamps": (
        "for f in /var/lib/apt/lists /var/lib/apt/periodic/update-success-stamp "
        "/var/lib/apt/periodic/upgrade-stamp /var/lib/apt/periodic/unattended-upgrades-stamp; do "
        'stat -c "%Y $f" "$f" 2>/dev/null; done; sed -n "s/^btime \\(.*\\)/\\1 booted/p" /proc/stat; '
        '[ -e /run/reboot-required ] && echo "0 reboot-required"; true'
    ),
    "upgraded": "zcat -f /var/log/dpkg.log* 2>/dev/null | grep ' upgrade ' | sort | tail -n 1; true",
    "certificates": (
        "find /etc -xdev -type f -size -64k \\( -name '*.pem' -o -name '*.crt' -o -name '*.cer' \\) "
        "-not -path '/etc/ssl/certs/*' -not -path '/etc/ca-certificates/*' | sort | while read -r f; do "
        'c=$(openssl x509 -in "$f" 2>/dev/null) && printf "# %s\\n%s\\n" "$f" "$c"; done; true'
    ),
    "nginx": "nginx -T 2>/dev/null | grep -E '^ *ssl_(protocols|ciphers|ecdh_curve|conf_command) ' | sort -u; true",
    "logs": r"find /var/log/remote -type f -printf '%T@ %s %p\n' 2>/dev/null; true",
    "archive": "cat /etc/seawall/archive.json 2>/dev/null; true",
}
"""What is asked beside the facts controls have: each ends with 0, changes nothing, and is one round trip."""


def gather(
    variables: Mapping[str, Mapping[str, Any]], progress: Callable[[str], None] = lambda line: None
) -> dict[str, HostFacts]:
    """Facts of every host of the inventory (name → Ansible variables), all asked at once."""
    backends = connect(routes(variables), ThreadPoolExecutor(32))
    machines = {name: Machine(backend, variables[name], ["all"]) for name, backend in backends.items()}
    found = {}
    try:
        for backend in backends.values():
            for command in COMMANDS.values():
                backend.ask(command, seconds=PATIENCE)
        for name, machine in machines.items():
            progress(name)
            try:
                found[name] = _facts(machine)
            except (Unreachable, TimeoutError, AssertionError) as failure:
                found[name] = HostFacts(name, unreachable=" ".join(str(failure).split())[:300])
    finally:
        for backend in backends.values():
            backend.close()
    return found


def _facts(machine: Machine) -> HostFacts:
    said = {what: machine.check_output(command, seconds=PATIENCE) for what, command in COMMANDS.items()}
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', said["release"], re.MULTILINE))
    return HostFacts(
        name=machine.name,
        os=release.get("PRETTY_NAME", ""),
        os_id=f"{release.get('ID', '')}-{release.get('VERSION_ID', '')}",
        kernel=said["release"].splitlines()[-1],
        users=tuple(_users(machine)),
        packages=tuple(packages(said["packages"])),
        patches=patches(said["upgrades"], said["stamps"], said["upgraded"]),
        certificates=tuple(certificates(said["certificates"])),
        listeners=tuple(sorted(machine.sockets, key=str)),
        ciphers=_ciphers(machine, said["nginx"]),
        logs=tuple(log_files(said["logs"])),
        log_days=log_days(said["archive"]),
    )


def _users(machine: Machine) -> Iterable[User]:
    accounts = machine.accounts
    sudoers, keys = accounts.sudoers, accounts.authorized_keys
    for user in sorted(accounts.users, key=lambda user: user.uid):
        groups = tuple(sorted(group.name for group in accounts.groups if user.name in group.members))
        yield User(
            name=user.name,
            uid=user.uid,
            shell=user.shell,
            can_log_in=user.can_log_in,
            password=user.password,
            groups=groups,
            sudo=user.name in sudoers or "ALL" in sudoers or any(f"%{group}" in sudoers for group in groups),
            keys=tuple(sorted(fingerprint(key) for key in keys.get(user.name, ()))),
        )


def _ciphers(machine: Machine, nginx: str) -> dict[str, str]:
    found = {
        f"ssh {name}": str(machine.sshd[name])
        for name in ("kexalgorithms", "ciphers", "macs", "hostkeyalgorithms", "pubkeyacceptedalgorithms")
    }
    for line in nginx.splitlines():
        name, _, value = line.strip().removesuffix(";").partition(" ")
        key = f"nginx {name}"
        found[key] = f"{found[key]}; {value.strip()}" if key in found else value.strip()
    return found


# --- Reading answers: pure ----------------------------------------------------------------------------------


def fingerprint(key: str) -> str:
    """``type base64`` as ssh-keygen -l names it: the type and SHA256:…"""
    kind, blob = key.split()
    return f"{kind} SHA256:{base64.b64encode(sha256(base64.b64decode(blob)).digest()).decode().rstrip('=')}"


def packages(text: str) -> Iterable[Package]:
    """Installed ones of `dpkg-query -W`, in the order of ``COMMANDS``."""
    for line in text.splitlines():
        state, name, version, architecture, source = line.split("|")
        if state[1:2] == "i":
            yield Package(name, version, architecture, source or name)


def patches(upgrades: str, stamps: str, upgraded: str) -> Patches:
    """From `apt-get -s dist-upgrade`, the times of apt's stamps (``SECONDS NAME`` a line) and dpkg's log."""
    times = {name: int(seconds) for seconds, name in (line.split(" ", 1) for line in stamps.splitlines())}

    def at(*names: str) -> datetime | None:
        known = [times[name] for name in names if name in times]
        return datetime.fromtimestamp(max(known), UTC) if known else None

    day = re.match(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) ", upgraded)
    apt = "/var/lib/apt"
    return Patches(
        pending=tuple(pending(upgrades)),
        lists_updated=at(f"{apt}/periodic/update-success-stamp", f"{apt}/lists"),
        last_upgrade=datetime.strptime(f"{day[1]}+0000", "%Y-%m-%d %H:%M:%S%z") if day else None,
        last_unattended_run=at(f"{apt}/periodic/upgrade-stamp", f"{apt}/periodic/unattended-upgrades-stamp"),
        booted=at("booted"),
        reboot_required="reboot-required" in times,
    )


def pending(text: str) -> Iterable[Upgrade]:
    """`Inst name [installed] (candidate Origin:suite [arch])`; one without ``[installed]`` would be new, no upgrade."""
    for line in text.splitlines():
        if found := re.match(r"Inst (\S+) \[(\S+)\] \((\S+) (.+?) \[\w+\]", line):
            name, installed, candidate, origin = found.groups()
            yield Upgrade(name, installed, candidate, origin, "security" in origin.lower())


def certificates(text: str) -> Iterable[Certificate]:
    """PEM certificates, each after a line ``# path``."""
    for path, pem in re.findall(
        r"^# ([^\n]+)\n(-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----)",
        text,
        re.MULTILINE | re.DOTALL,
    ):
        held = x509.load_pem_x509_certificate(pem.encode())
        try:
            names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            alternatives = tuple(str(name.value) for name in names)
        except x509.ExtensionNotFound:
            alternatives = ()
        yield Certificate(
            path=path,
            subject=held.subject.rfc4514_string(),
            issuer=held.issuer.rfc4514_string(),
            names=alternatives,
            serial=f"{held.serial_number:x}",
            not_before=held.not_valid_before_utc,
            not_after=held.not_valid_after_utc,
            key=_key(held.public_key()),
            signature=held.signature_algorithm_oid._name,
            fingerprint=held.fingerprint(SHA256()).hex(),
        )


def _key(key: Any) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


def log_days(text: str) -> tuple[int, int] | None:
    """Days kept, and kept plain, of the archive's settings."""
    try:
        held = json.loads(text)
        return int(held["keep_days"]), int(held["plain_days"])
    except (ValueError, KeyError, TypeError):
        return None


def log_files(text: str) -> Iterable[LogFile]:
    """`find /var/log/remote -printf '%T@ %s %p'`."""
    for line in sorted(text.splitlines(), key=lambda line: line.split(" ", 2)[2]):
        changed, size, path = line.split(" ", 2)
        sender = path.removeprefix("/var/log/remote/").partition("/")[0]
        yield LogFile(path, sender, int(size), datetime.fromtimestamp(float(changed), UTC))
