#!/usr/bin/python
"""What a role put on this host, gone; what was there before, back."""

from __future__ import annotations

from ansible.module_utils import seawall_host as host
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: seawall_removed
short_description: What a role put on this host, gone, and what was there before, back
description:
  - Goes by the book that the modules keep (/var/lib/seawall/installed.json) and the originals beside it. Daemons that
    did not run before are stopped; those that did are restarted with their old files. Packages stay.
  - Where it could lock people out it arms commit-confirm and returns confirm_id; run it through seawall_confirmed.
options:
  role: {type: str, required: true}
"""


def main():
    module = AnsibleModule(
        argument_spec={"role": {"type": "str", "required": True}}, supports_check_mode=True
    )
    try:
        module.exit_json(**converge(module.params["role"], module.check_mode))
    except (host.HostError, OSError) as error:
        module.fail_json(msg=str(error))


def units_to_stop(units):
    """Of a role's units those that did not run before it: unit → (state, at boot) as they were. Pure."""
    return [
        name for name, (active, _) in units.items() if active not in ("active", "reloading", "activating")
    ]


def converge(role, checking):
    """Look, decide, and (unless ``checking``) act; the module's result."""
    host.wait_until_settled()
    book = host.book()
    held = book.pop(role, None)
    if not held:
        return {"changed": False, "why": []}
    # What another role reads too (the authority's certificate) is the other's now.
    shared = {path for other in book.values() for path in other["files"]}
    paths = [path for path in held["files"] if path not in shared]
    files = host.changes(host.originals(paths, held.get("edited", False)))
    why = [f"{file.path} {'goes' if file.content is None else 'becomes what it was'}" for file in files]
    stop = units_to_stop(held["units"])
    why += [f"{name} {'stops' if name in stop else 'reads its old files'}" for name in held["units"]]
    what = f"what the role {role} put here"
    result = {"changed": True, "why": why, "diff": host.diff(files), "what": what}
    if checking:
        return result
    if held.get("confirm"):
        # All of the role's files, not only those about to differ: the steps (ufw disable) write to them too.
        paths = [host.INSTALLED, "/etc/pam.d", "/var/lib/pam", *held["files"]]
        result["confirm_id"] = host.arm(what, paths, held.get("undo", []))
    try:
        _remove(held, files, stop)
        host.forget(role)
    except (host.HostError, OSError) as error:
        if "confirm_id" not in result:
            raise
        host.revert(str(error))
        raise host.HostError(f"{error} Everything is back.") from None
    return result


def _remove(held, files, stop):
    for argv in held.get("before", []):
        host.must(argv, "It could not be removed")
    for name in stop:
        # Before its unit file goes: afterwards systemd knows of nothing to stop.
        if host.show(name).get("LoadState") == "loaded":
            host.must(["systemctl", "stop", name], f"{name} could not be stopped")
            if held["units"][name][1] not in ("enabled", "static", "alias"):
                host.run(["systemctl", "disable", name])
    host.install(files)
    host.must(["systemctl", "daemon-reload"], "systemd could not read its unit files")
    for name in held["units"]:
        if name not in stop and host.show(name).get("LoadState") == "loaded":
            host.must(["systemctl", "restart", name], f"{name} does not start with its old files")
    for argv in held.get("after", []):
        host.must(argv, "It could not be removed")


if __name__ == "__main__":
    main()
