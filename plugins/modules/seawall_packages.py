#!/usr/bin/python
"""Debian packages present and absent, in one apt transaction each."""

from __future__ import annotations

import fcntl
import os
import re
import time

from ansible.module_utils import seawall_host as host
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: seawall_packages
short_description: Debian packages present and absent, in one apt transaction each
description:
  - Asks dpkg first and calls apt only for what is missing.
  - No daemon starts from being installed; the role that configures it starts it, so nothing ever listens with a
    distribution's default configuration.
  - What should be absent is purged, unless something declared present would go with it.
options:
  names: {type: list, elements: str, required: true}
  own_kernel: {type: list, elements: str, description: Present too, but of no use where the kernel is another host's}
  absent: {type: list, elements: str, description: Purged where installed}
  lock_timeout: {type: int, default: 300, description: Seconds to wait for another apt to finish}
"""

LOCK = "/var/lib/dpkg/lock-frontend"
POLICY = "/usr/sbin/policy-rc.d"
# Denies starting only while this very process lives: a run that is killed leaves nothing behind that acts.
POLICY_TEXT = (
    "#!/bin/sh\n# Seawall: daemons start once they are configured.\n[ -d /proc/{pid} ] && exit 101\nexit 0\n"
)


def main():
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "own_kernel": {"type": "list", "elements": "str", "default": []},
            "absent": {"type": "list", "elements": "str", "default": []},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    options = module.params
    names = set(options["names"]) | (set() if host.in_container() else set(options["own_kernel"]))
    try:
        status = dpkg_status(sorted(names | set(options["absent"])))
        absent = missing(sorted(names), status)
        unwanted = surplus(options["absent"], status)
        if absent and not module.check_mode:
            install(absent, options["lock_timeout"])
        if unwanted and not module.check_mode:
            purge(unwanted, names, options["lock_timeout"])
    except (host.HostError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(absent or unwanted), installed=absent, purged=unwanted)


def dpkg_status(names):
    """dpkg's word on each package it knows: name → status."""
    lines = host.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\\n", *names]
    ).stdout.splitlines()
    return dict(line.split(None, 1) for line in lines if " " in line)


def missing(names, status):
    """Those of ``names`` that are not installed whole ("ii", also where held: "hi")."""
    return [name for name in names if status.get(name, "").strip() not in ("ii", "hi")]


def surplus(unwanted, status):
    """Those of ``unwanted`` that are installed, whole or half, or left their configuration behind ("rc")."""
    return sorted(name for name in unwanted if status.get(name, "un ")[1:2] not in ("n", ""))


def purge(unwanted, names, lock_timeout):
    """Remove packages with their configuration; refused where that takes away what is declared present."""
    argv = ["apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={lock_timeout}", "purge", *unwanted]
    tried = host.must([*argv, "--simulate"], "The unwanted packages can't be removed", timeout=300)
    going = set(re.findall(r"^(?:Remv|Purg) (\S+)", tried, re.MULTILINE))
    if needed := sorted(going & names):
        raise host.HostError(
            f"{', '.join(unwanted)} should be absent, but {', '.join(needed)} would go with it. Nothing was removed. "
            "Take either out of its list (packages_absent, packages_names)."
        )
    host.note_change()
    os.environ.update(DEBIAN_FRONTEND="noninteractive", NEEDRESTART_SUSPEND="1")
    host.must(argv, "The unwanted packages could not be removed", timeout=900)


def install(names, lock_timeout):
    """Refresh the lists and install; a half-configured dpkg from an interrupted run is finished first."""
    host.note_change()
    patience = ["-q", "-o", f"DPkg::Lock::Timeout={lock_timeout}"]
    present = host.read(POLICY)
    ours = present is None or b"# Seawall" in present
    if ours:
        host.install([host.File(POLICY, POLICY_TEXT.format(pid=os.getpid()).encode(), 0o755)])
    os.environ.update(DEBIAN_FRONTEND="noninteractive", NEEDRESTART_SUSPEND="1")
    try:
        wait_for_dpkg(lock_timeout)
        host.must(
            ["dpkg", "--configure", "-a"], "An interrupted package run could not be finished", timeout=900
        )
        update = ["apt-get", *patience, "-o", "APT::Update::Error-Mode=any", "update"]
        host.must(update, "The package lists could not be refreshed", timeout=900)
        keep = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
        argv = ["apt-get", *patience, *keep, "-y", "--no-install-recommends", "install", *names]
        host.must(argv, "The packages could not be installed", timeout=1800)
    finally:
        if ours:
            host.install([host.File(POLICY, None)])


def wait_for_dpkg(seconds):
    """Wait until no other apt or dpkg works: dpkg itself gives up at once, apt alone knows patience."""
    deadline = time.monotonic() + seconds
    with open(LOCK, "w") as lock:
        while True:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise host.HostError(
                        f"Another apt has held dpkg's lock ({LOCK}) for more than {seconds} s, so nothing was "
                        "installed. See who: `fuser -v " + LOCK + "`; then run again."
                    ) from None
                time.sleep(0.5)


if __name__ == "__main__":
    main()
