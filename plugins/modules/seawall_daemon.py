#!/usr/bin/python
"""Files as declared, and the daemons that read them, as one state."""

from __future__ import annotations

import os
import time
from fnmatch import fnmatch

from ansible.module_utils import seawall_host as host
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: seawall_daemon
short_description: Files as declared, and the daemons that read them, as one state
description:
  - Writes whole files (drop-ins) and removes others, after the checks have accepted the complete effective
    configuration in a copy of /etc; then (re)starts or reloads the units.
  - The state includes what runs. A unit that is stopped, disabled, or was started before the newest change of a
    file it reads is loaded again, so an interrupted run leaves nothing for a lost handler.
  - If a unit does not come up, or a probe fails, the old files are put back and loaded.
  - What a command of C(live) finds wrong is put right by loading the units again.
options:
  files: {type: list, elements: dict, description: "path, content, mode (0644), owner and group (root)"}
  absent: {type: list, elements: str, description: Files that should not exist; globs}
  checks: {type: list, elements: raw, description: Commands that judge the candidate; each a list of words}
  needs: {type: list, elements: str, description: Files that an earlier task makes and the checks read}
  units: {type: list, elements: dict, description: "name, reads (globs), on_change (restart or reload)"}
  enabled: {type: list, elements: str, description: Units to start at boot only}
  role: {type: str, default: "", description: Whose files these are; the action plugin says it}
  before_removal: {type: list, elements: raw, description: Commands that undo what units did when the role goes}
  probes: {type: list, elements: raw, description: Commands that must succeed once the units have loaded}
  live: {type: list, elements: raw, description: Commands that look whether what runs is as declared (exit status 0)}
  own_kernel: {type: str, description: Why this is skipped where the host shares another host's kernel (a container)}
"""

PROBE_FOR = 10  # seconds a service is given to answer after it was loaded


def main():
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "default": []},
            "absent": {"type": "list", "elements": "str", "default": []},
            "checks": {"type": "list", "elements": "raw", "default": []},
            "needs": {"type": "list", "elements": "str", "default": []},
            "units": {"type": "list", "elements": "dict", "default": []},
            "enabled": {"type": "list", "elements": "str", "default": []},
            "before_removal": {"type": "list", "elements": "raw", "default": []},
            "probes": {"type": "list", "elements": "raw", "default": []},
            "role": {"type": "str", "default": ""},
            "live": {"type": "list", "elements": "raw", "default": []},
            "own_kernel": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if module.params["own_kernel"] and host.in_container():
        module.exit_json(changed=False, skipped=True, msg=module.params["own_kernel"])
    try:
        module.exit_json(**converge(module.params, module.check_mode))
    except (host.HostError, OSError) as error:
        module.fail_json(msg=str(error))


def converge(options, checking):
    """Look, decide, and (unless ``checking``) act; the module's result."""
    files = host.declared(options["files"])
    files += host.absent(options["absent"], keep={file.path for file in files})
    units = [
        host.Unit(u["name"], tuple(u.get("reads", ())), u.get("on_change", "restart"))
        for u in options["units"]
    ]
    wrong = host.changes(files)
    why = [f"{file.path} is not as declared" for file in wrong]
    stale = []
    for unit in units:
        reasons = host.reasons_to_load(unit)
        if reasons or any(_reads(unit, file.path) for file in wrong):
            stale.append(unit)
            why += reasons
    if astray := host.astray(options["live"]):
        stale, why = units, why + astray
    disabled = [name for name in options["enabled"] if host.show(name).get("UnitFileState") != "enabled"]
    why += [f"{name} is not enabled" for name in disabled]
    result = {"changed": bool(why), "why": why, "diff": host.diff(wrong)}
    if not checking:
        steps = {"before": options["before_removal"]} if options["before_removal"] else {}
        host.remember(options["role"], files, [unit.name for unit in units] + options["enabled"], **steps)
    if not why:
        return result
    to_come = [path for path in options["needs"] if not os.path.exists(path)] if checking else []
    if to_come:
        return {**result, "why": [*why, f"not judged, {', '.join(to_come)} is yet to be made"]}
    if refused := host.refusals(wrong, options["checks"]):
        raise host.HostError("Nothing was changed: " + "; ".join(refused))
    if checking:
        return result
    old = host.current(wrong)
    try:
        host.install(wrong)
        host.load(stale)
        for name in disabled:
            host.must(["systemctl", "enable", name], f"{name} could not be enabled")
        if stale:
            _probe(options["probes"])
            if still := host.astray(options["live"]):
                raise host.HostError(f"Loaded, but what runs is not as declared: {'; '.join(still)}.")
    except host.HostError as error:
        host.install(old)
        try:
            host.load([unit for unit in stale if host.show(unit.name).get("LoadState") == "loaded"])
        except host.HostError as again:
            raise host.HostError(f"{error} The old files are back, but: {again}") from None
        raise host.HostError(f"{error} The old files are back.") from None
    return result


def _reads(unit, path):
    """Whether a unit reads a file, which may not exist yet."""
    return any(fnmatch(path, pattern) for pattern in unit.reads)


def _probe(probes):
    """Each probe must succeed before its time is out."""
    deadline = time.monotonic() + PROBE_FOR
    for argv in probes:
        while (done := host.run(argv)).returncode:
            if time.monotonic() > deadline:
                said = done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}"
                raise host.HostError(f"Loaded, but {' '.join(argv)} said: {said[-800:]}.")
            time.sleep(0.2)


if __name__ == "__main__":
    main()
