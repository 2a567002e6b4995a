"""Hosts: what the last hardening left against what is; in a full look also what the roles would change.

``compare`` decides, and asks nobody. What a host's own package manager did unattended is no drift: a package whose
newer version unattended-upgrades recorded, and its files as long as they are what dpkg recorded of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from seawall.connection import Route, Unreachable
from seawall.drift import baseline, check
from seawall.drift.baseline import Baseline
from seawall.drift.difference import Difference, unasked
from seawall.drift.gather import Facts, gather, version
from seawall.drift.run import Look
from seawall.findings import Subject
from seawall.problem import Problem
from seawall.session import Session

LAYER = "hosts"


@dataclass(frozen=True)
class Section:
    """A section of a host's facts: how an entry is called, what it serves, how it is put right."""

    called: str
    requirements: tuple[str, ...]
    remedy: str
    secret: bool = False


_ROLES = "`seawall harden --host {host}` puts back what the roles manage"
SECTIONS = {
    "files": Section("file {}", ("pci-11.5.2", "pci-2.2.1"), _ROLES + "; else restore or `rm` {key}."),
    "programs": Section("program {}", ("pci-11.5.2",), "On {host}: `dpkg -S {key}`, then `apt-get install --reinstall` "
                        "of its package; `rm {key}` where none owns it."),
    "privileges": Section("privileged file {}", ("pci-7.2.1", "pci-11.5.2"), "On {host}: `ls -l {key}`; `chmod ug-s`, "
                          "`setcap -r`, or `rm` unless a package put it there."),
    "devices": Section("device node {}", ("pci-2.2.1",), "On {host}: `rm {key}`."),
    "packages": Section("package {}", ("pci-6.3.3", "pci-2.2.4"), "On {host}: `apt-get purge {key}`, `apt-get install "
                        "{key}` or `apt-mark unhold {key}`, whichever undoes it."),
    "users": Section("user {}", ("pci-8.2.1", "pci-7.2.1"), _ROLES + "; `userdel {key}` an account nobody declared."),
    "groups": Section("group {}", ("pci-7.2.1",), _ROLES + "; `gpasswd -d USER {key}` a member nobody declared."),
    "units": Section("unit {}", ("pci-2.2.4", "pci-10.7.2"), _ROLES + "; else `systemctl unmask|enable --now|disable "
                     "--now {key}`."),
    "daemons": Section("running {}", ("pci-2.2.1",), "On {host}: `systemctl restart` it, with its files as declared; "
                       "`seawall harden --host {host}` does so for what the roles manage."),
    "effective": Section("setting {}", ("pci-2.2.1", "pci-2.2.7"), _ROLES + "."),
    "listening": Section("listening {}", ("pci-1.2.6", "pci-2.2.4"), "On {host}: `ss -lntup` names the process; stop "
                         "its unit, or declare a flow for it."),
    "rules": Section("firewall {}", ("pci-1.2.8", "pci-1.3.1"), _ROLES + "; a rule put in beside ufw goes with "
                     "`ufw reload`."),
    "network": Section("network {}", ("pci-1.2.8", "pci-1.4.1"), "On {host}: `ip link|address|route|rule|neigh` takes "
                       "it away; `networkctl reload` or a reboot sets what the files say."),
    "strays": Section("process {}", ("pci-2.2.4", "pci-11.5.2"), "On {host}: `ls -l /proc/*/exe` finds it, `ps -o "
                      "user,lstart,args` says whose it is and since when; end it."),
    "sysctls": Section("sysctl {}", ("pci-2.2.1",), "On {host}: `sysctl --system` loads what the files say."),
    "mounts": Section("mount {}", ("pci-2.2.1",), "On {host}: `umount {key}`, or mount it as before."),
    "certificates": Section("certificate on {}", ("pci-4.2.1.1", "pci-4.2.1"), _ROLES + "."),
    "sources": Section("time source {}", ("pci-10.6.2",), "On {host}: `systemctl restart chrony`."),
}  # fmt: skip

TOUCHES = (
    (r"/etc/ssh/|authorized_keys|/\.ssh/", ("pci-2.2.7", "pci-8.2.4")),
    (r"/etc/sudoers", ("pci-7.2.1", "pci-7.2.2")),
    (r"/etc/pam\.d|/etc/security", ("pci-8.3.4",)),
    (r"/etc/(cron|anacron)|/var/spool/(cron|at)", ("pci-2.2.4",)),
    (r"/etc/rsyslog|/etc/systemd/journald", ("pci-10.3.3",)),
    (r"/etc/nginx|/etc/ssl", ("pci-4.2.1",)),
    (r"/etc/apt|unattended", ("pci-6.3.3",)),
    (r"/etc/ufw|/etc/nftables|/etc/iptables", ("pci-1.2.8",)),
    (r"/etc/chrony|timesyncd|/etc/ntp", ("pci-10.6.2",)),
    (r"/etc/audit", ("pci-10.2.1",)),
)
"""Requirements that a file touches besides its section's, by its path."""

GENERATED = re.compile(
    r"^/etc/(ld\.so\.cache|ssl/certs/.*|alternatives/.*|rc[0-6S]\.d/.*)$|^/boot/|^/usr/lib/(locale|modules)/|"
    r"^/usr/share/(mime|glib-2\.0|info)/|^/var/www/html/index\.nginx-debian\.html$|^/(vmlinuz|initrd\.img)(\.old)?$"
)
"""Made by packages' own triggers, so that dpkg has no digest of them: theirs where they changed during an upgrade."""


def look(looking: Look) -> Iterable[Difference]:
    """Every host's quick pass side by side; in a full look then what Ansible's check mode would change."""
    session = looking.session
    kept = session.outputs
    # A quick look goes by what the last command read of the stack; asking Pulumi takes longer than asking a host.
    outputs = (
        json.loads(kept.read_text()) if looking.mode == "quick" and kept.exists() else session.standing()
    )
    ways = baseline.routes(session, outputs, looking.hosts)
    # Each judged as it answers: what a host tells is a megabyte, what differs a line.
    with ThreadPoolExecutor(baseline.AT_ONCE) as pool:
        for found in pool.map(lambda way: _one(session, *way), ways.items()):
            yield from found
    if looking.mode == "full":
        yield from check.look(looking)


def _one(session: Session, name: str, way: Route) -> list[Difference]:
    """One host asked and judged, and what was seen of its logs kept for the next look."""
    stack = session.stack.name
    try:
        answer = gather(way)
    except Unreachable as why:
        return [_unasked(name, str(why), f"`seawall ssh {name}`, `seawall doctor`; then look again.")]
    try:
        left = baseline.read(session.where, stack, name)
    except Problem as problem:
        return [_unasked(name, str(problem))]
    before = baseline.seen_logs(session.where, stack, name)
    altered = list(logs(name, before, answer["logs"]))
    # A log that was altered stays at what was seen of it before, so that it goes on differing.
    stuck = {each.what.removeprefix("log ") for each in altered}
    seen = answer["logs"] | {path: before[path] for path in stuck if path in before}
    found = [*judged(name, left, way, answer), *altered]
    baseline.write_logs(session.where, stack, name, seen)
    return found


def quick(host: Route, left: Baseline) -> list[Difference]:
    """One host, one round trip: what differs from its baseline. Raises ``Unreachable``."""
    return list(judged(host.name, left, host, gather(host)))


def judged(name: str, left: Baseline | None, way: Route, now: Facts) -> list[Difference]:
    if left is None or left.droplet != way.alias or left.by != version():
        why = (
            "it was never hardened from here"
            if left is None
            else f"the baseline is of {left.droplet}"
            if left.droplet != way.alias
            else "another version of Seawall took the baseline"
        )
        return [
            _unasked(name, f"There is nothing to compare it with: {why}.", f"`seawall harden --host {name}`.")
        ]
    return compare(name, left.facts, now)


def _unasked(name: str, why: str, remedy: str = "") -> Difference:
    return unasked(LAYER, Subject(kind="droplet", name=name), why, remedy)


# --- Deciding: pure ------------------------------------------------------------------------------------


def compare(name: str, was: Facts, now: Facts) -> list[Difference]:
    """Entry by entry, what of ``now`` is not what it ``was``."""
    found = []
    for section, about in SECTIONS.items():
        if not isinstance(was.get(section), dict) or not isinstance(now.get(section), dict):
            what = about.called.format("").split()[0]
            why = f"The host could not tell its section {section}: a command failed there or took too long."
            found.append(
                _unasked(name, why, "Look again when it has less to do.").model_copy(
                    update={"what": f"every {what}"}
                )
            )
            continue
        found += [_difference(name, section, key, was, now) for key in differing(section, was, now)]
    return found


def differing(section: str, was: Facts, now: Facts) -> list[str]:
    """The keys of a section whose entries differ and need explaining."""
    old, new = was[section], now[section]
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return [
        key for key in keys if not _LEGITIMATE.get(section, _never)(key, old.get(key), new.get(key), was, now)
    ]


def renewed(old: Facts, was: Facts, now: Facts) -> Facts:
    """The baseline after a hardening run that found ``was`` and left ``now``: drift it did not touch stays drift."""
    kept = {
        name: dict(now[name]) if name in SECTIONS else now[name]
        for name in now
        if name not in ("logs", "changed", "who")
    }
    for section in SECTIONS:
        for key in differing(section, old, now):
            earlier = was.get(section)
            if earlier is None or earlier.get(key) == now[section].get(key):
                if key in old[section]:
                    kept[section][key] = old[section][key]
                else:
                    kept[section].pop(key, None)
    return kept


Entry = str | None
Judge = Callable[[str, Entry, Entry, Facts, Facts], bool]


def _never(key: str, old: Entry, new: Entry, was: Facts, now: Facts) -> bool:
    return False


def upgraded(was: Facts, now: Facts) -> dict[str, Any]:
    """Packages whose version unattended-upgrades recorded since the baseline."""
    found = {}
    for package, record in (now.get("upgrades") or {}).items():
        for called in (package, package.partition(":")[0]):
            version = str(now["packages"].get(called, "")).partition(" ")[0]
            ours = record["by"] == "unattended-upgrades" and version == record["version"]
            if ours and was["packages"].get(called) != now["packages"][called]:
                found[called] = record
    return found


def _package(key: str, old: Entry, new: Entry, was: Facts, now: Facts) -> bool:
    """A newer version by unattended-upgrades, wholly installed."""
    return key in upgraded(was, now) and str(new).endswith(" ii")


def _file(key: str, old: Entry, new: Entry, was: Facts, now: Facts) -> bool:
    done = upgraded(was, now)
    if not done:
        return False
    if script := re.match(r"/var/lib/dpkg/info/([^/:]+)[^/]*\.[^./]+$", key):
        return script[1] in {package.partition(":")[0] for package in done}
    if any(key in record["files"] for record in done.values()):
        return True
    if new is None:  # nothing tells when it went
        return bool(GENERATED.match(key)) or key not in was.get("files", {})
    at = _changed_at(key, new, now)
    during = (record["during"] for record in done.values())
    return bool(GENERATED.match(key)) and any(begin <= at <= end for begin, end in during)


def _changed_at(key: str, new: str, now: Facts) -> float:
    """Seconds since the epoch; 0 where it is not known. A program's entry ends with it, in microseconds."""
    at: float | None = (now.get("changed") or {}).get(key)
    last = new.rpartition(" ")[2]
    return at if at is not None else int(last) / 1e6 if last.isdecimal() else 0


def _daemon(key: str, old: Entry, new: Entry, was: Facts, now: Facts) -> bool:
    """A daemon that stopped or was started is its unit's difference; one older than files is told by what it reads."""
    if old is None or new is None:
        return True
    if key.endswith(": configuration"):
        return (
            new == "as on disk"
            or old != "as on disk"
            or _file(new.removeprefix("older than "), "", "", was, now)
        )
    if key.endswith(": program") and new.removesuffix(" (deleted)") == old.removesuffix(" (deleted)"):
        return True
    return key.endswith(": program") and " (deleted) " in f"{new} " and bool(upgraded(was, now))


def _certificate(key: str, old: Entry, new: Entry, was: Facts, now: Facts) -> bool:
    return old is None or new is None  # whether the port listens is told elsewhere


_LEGITIMATE: Mapping[str, Judge] = {
    "packages": _package,
    "files": _file,
    "programs": _file,
    "privileges": _file,
    "daemons": _daemon,
    "certificates": _certificate,
}


def _difference(name: str, section: str, key: str, was: Facts, now: Facts) -> Difference:
    about, old, new = SECTIONS[section], was[section].get(key), now[section].get(key)
    expected, seen = _said(section, old), _said(section, new)
    if section == "rules" and old and new:
        expected, seen = _lines(old, new)
    changed = (now.get("changed") or {}).get(key)
    if changed and new is not None:
        seen += f" (changed {datetime.fromtimestamp(changed, UTC):%Y-%m-%d %H:%M:%S}Z)"
    touched = next((more for pattern, more in TOUCHES if re.search(pattern, key)), ())
    return Difference(
        layer=LAYER,
        subject=Subject(kind="droplet", name=name),
        what=about.called.format(key),
        expected=expected,
        seen=seen,
        who=_who(section, key, now),
        requirements=tuple(dict.fromkeys((*about.requirements, *touched))),
        remedy=about.remedy.format(host=name, key=key),
    )


def _said(section: str, entry: Entry) -> str:
    """An entry in words; empty where there is none. Digests are cut to what tells two apart."""
    if entry is None:
        return ""
    if section == "programs":
        if entry.endswith(" directory"):
            return "mode {}, owner {}, {}".format(*entry.split(" "))
        mode, owner, size, modified, changed = entry.split(" ")
        times = " and ".join(
            f"{verb} {datetime.fromtimestamp(int(at) / 1e6, UTC):%Y-%m-%d %H:%M:%S}Z"
            for verb, at in (("written", modified), ("changed", changed))
        )
        return f"mode {mode}, owner {owner}, {size} bytes, {times}"
    if section == "files":
        mode, owner, rest = entry.split(" ", 2)
        content, comma, more = rest.partition(",")
        content = "sha256 " + content[:16] if re.fullmatch("[0-9a-f]{64}", content) else content
        return f"mode {mode}, owner {owner}, {content}{comma}{more}"
    if section == "certificates":
        return f"sha256 {entry[:16]}"
    return entry.strip().replace("\n", "; ")[:600]


def _lines(old: str, new: str) -> tuple[str, str]:
    """Only what one side has and the other has not; all of it where just the order differs."""
    before, after = old.splitlines(), new.splitlines()
    gone, come = (
        [line for line in one if line not in other] for one, other in ((before, after), (after, before))
    )
    if not gone and not come:
        gone, come = before, after
    return "; ".join(gone)[:600], "; ".join(come)[:600]


def _who(section: str, key: str, now: Facts) -> str:
    """Who, where sudo's or apt's record names the thing; the last one who did."""
    if section == "packages" and (record := (now.get("upgrades") or {}).get(key)):
        return f"{record['by']} (apt, {record['at'].replace('  ', ' ')})"
    words = {
        key,
        key.partition(":")[0],
        key.rpartition("/")[2] if section in ("files", "programs", "privileges") else key,
    }
    named = [word for word in words if len(word) > 3]
    for at, user, command in reversed(now.get("who") or []):
        if any(re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", command) for word in named):
            return f"{user} (sudo, {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}Z)"
    return "unknown"


def logs(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Logs that no longer begin as they were seen to, shrank, are gone without having been rotated, or that others may
    write to now.

    A log that was rotated is found again under another name by its inode or its beginning.
    """
    found = []
    known = {each["inode"]: each for each in now.values()}
    whole = {digest for each in now.values() for digest in (each.get("beginnings") or {}).values()}
    for path, old in was.items():
        new, said = now.get(path), ""
        beginnings = old.get("beginnings") or {}
        last = beginnings.get(str(old["size"])) or beginnings.get(old["size"])
        moved = known.get(old["inode"])
        if (
            new
            and new["inode"] == old["inode"]
            and new.get("mode") != (mode := old.get("mode", new.get("mode")))
        ):
            found.append(_log(name, path, str(mode), new["mode"]))
            continue
        if old["size"] == 0 or (last and last in whole):
            continue
        if (new is not None and _continues(old, new)) or (moved is not None and _continues(old, moved)):
            continue
        rotated = any(
            other.startswith(path + ".") or other.startswith(path + "-") for other in now.keys() - was.keys()
        )
        if new is None:
            # Compressed on rotation, or aged out by logrotate: a rotated file has a number or a date.
            if rotated or re.search(r"\.(\d+|gz|xz|zst)$|-\d{8}", path):
                continue
            said = "gone"
        elif new["size"] < old["size"]:
            if rotated or re.search(r"\.\d+(\.gz)?$", path):
                continue
            said = f"{new['size']} bytes"
        else:
            said = "another beginning"
            if rotated or re.search(r"\.\d+(\.gz)?$", path):
                continue
        found.append(_log(name, path, f"the {old['size']} bytes seen before, and whatever was added", said))
    return found


def _log(name: str, path: str, expected: str, seen: str) -> Difference:
    return Difference(
        layer=LAYER,
        subject=Subject(kind="droplet", name=name),
        what=f"log {path}",
        expected=expected,
        seen=seen,
        requirements=("pci-10.3.2", "pci-10.3.4"),
        remedy=f"On {name}: compare {path} with the sender's own log or a backup; find out who wrote to it. "
        f"`seawall harden --host {name}` after removing its baseline accepts it.",
    )


def _continues(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether ``new`` begins as ``old`` was, as far as both have told."""
    if new["size"] < old["size"]:
        return False
    one, other = ({int(at): d for at, d in (each.get("beginnings") or {}).items()} for each in (old, new))
    return all(other[at] == digest for at, digest in one.items() if at in other)
