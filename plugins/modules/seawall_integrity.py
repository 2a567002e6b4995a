#!/usr/bin/python
"""AIDE's database of the hardened host."""

from __future__ import annotations

import hashlib
import os
import re

from ansible.module_utils import seawall_host as host
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: seawall_integrity
short_description: AIDE's database holds the host as it was last hardened, and the controller keeps its digest
description:
  - Run through the action of the same name, in stages. C(build) makes a new database beside the old one where
    Seawall or the package manager has changed something since, and logs what differs from the old one, so that a
    change cannot slip in along with a hardening run unseen. C(promote) puts it in place, once the controller has
    recorded its digest.
  - A database other than the recorded one was written by somebody else, and is never replaced without being told.
options:
  stage: {type: str, choices: [look, build, promote], default: look}
  recorded: {type: str, default: "", description: The digest (SHA-256) that the controller has}
"""

DATABASE = "/var/lib/aide/aide.db"
NEW = DATABASE + ".new"
CONFIG = "/etc/aide/aide.conf"
CAUSES = (host.CHANGED, CONFIG, "/var/lib/dpkg/status")
"""What changes the host's files with right: Seawall, its own configuration, the package manager."""


def main():
    module = AnsibleModule(
        argument_spec={
            "stage": {"type": "str", "choices": ["look", "build", "promote"], "default": "look"},
            "recorded": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    stages = {"look": look, "build": build, "promote": promote}
    try:
        module.exit_json(**stages[module.params["stage"]](module.params["recorded"]))
    except (host.HostError, OSError) as error:
        module.fail_json(msg=str(error))


def digest(path):
    """SHA-256 of a file; "" where there is none."""
    content = host.read(path)
    return "" if content is None else hashlib.sha256(content).hexdigest()


def reasons(now, new, recorded, database_at, causes):
    """Why a new database is due: ``now`` and ``new`` are digests of the one in use and of one not yet in use,
    ``causes`` when each of what may change files last did (0: never). Raises if somebody has tampered. Pure."""
    if not now:
        return ["there is no database yet"]
    if recorded and recorded not in (now, new):
        raise host.HostError(
            f"The database of file digests ({DATABASE}) is not the one that was recorded when this host was last "
            f"hardened: SHA-256 {now}, recorded {recorded}. Somebody with root's rights has written it, or the host "
            "was restored from a snapshot. Look into it first (`journalctl -t seawall-integrity` at the collector); "
            "then remove the host's file in .seawall/integrity on the controller and harden again."
        )
    if not recorded:
        return ["its digest is not recorded on this controller"]
    if recorded != now:
        return ["a run was interrupted before the new database came into use"]
    return [f"{path} is newer than the database" for path, at in causes.items() if at > database_at]


def look(recorded):
    """What is there, and why it should not stay; changes nothing."""
    causes = {path: os.stat(path).st_mtime for path in CAUSES if os.path.exists(path)}
    database_at = os.stat(DATABASE).st_mtime if os.path.exists(DATABASE) else 0
    why = reasons(digest(DATABASE), digest(NEW), recorded, database_at, causes)
    return {"changed": bool(why), "why": why, "digest": digest(DATABASE)}


def build(recorded):
    """A new database beside the old one; its digest, and what differs."""
    os.makedirs(os.path.dirname(DATABASE), mode=0o700, exist_ok=True)
    first = not os.path.exists(DATABASE)
    os.umask(0o077)
    verb = "--init" if first else "--update"
    made = host.run(["aide", verb, "--config", CONFIG], timeout=1800)
    # 1, 2 and 4, summed, say that files were added, removed and changed.
    if made.returncode > 7:
        raise host.HostError(
            f"aide {verb} failed ({made.returncode}): {(made.stderr or made.stdout)[-1000:]}"
        )
    accepted = [] if first else re.findall(r"^\S+: (/.*)$", made.stdout, re.MULTILINE)
    for path in accepted:
        host.run(
            ["logger", "-t", "seawall-integrity", "-p", "auth.notice", f"accepted by hardening path={path}"]
        )
    return {"changed": True, "digest": digest(NEW), "accepted": accepted}


def promote(recorded):
    """The new database comes into use, if it is the recorded one."""
    if digest(NEW) == recorded:
        os.rename(NEW, DATABASE)
        host.fsync_directory(os.path.dirname(DATABASE))
        # Its time is when it came into use: what changed while it was being made is for the next run to see.
    if digest(DATABASE) != recorded:
        raise host.HostError(
            f"{NEW} changed between being made and being used. Run again; if it stays so, look who writes there."
        )
    return {"changed": True}


if __name__ == "__main__":
    main()
