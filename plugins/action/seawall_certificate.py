"""A certificate for a host from the kit's own authority; the host's private key never leaves it.

The host shows what it has; this side decides whether that is good for another `renew_days`, and if not has the
host make a request, signs it with the declared names, and hands the certificate back. Options: those of the
module of the same name.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from ansible.plugins.action import ActionBase

# Ansible puts module_utils on a host's path, not on the controller's.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "controller"))
import seawall_authority as authority
import seawall_known_hosts as known_hosts


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        options = self._task.args
        names, addresses = options["names"], options.get("addresses") or []
        has = self._module(task_vars, stage="look")
        if has.get("failed"):
            return has
        directory = Path(known_hosts.seawall_dir()) / "ca"
        by_key, revoked = options.get("fingerprint"), options.get("revoked") or []
        shown = authority.fingerprint(authority.public(has["public_key"])) if has["public_key"] else ""
        if self._task.check_mode and not (directory / "ca.pem").exists():
            return {"changed": True, "why": ["the kit has no certificate authority yet"]}
        # The hosts of a play are worked on by as many processes; the first makes the authority.
        with known_hosts.locked(str(directory / "ca.pem")):
            ours = authority.load_or_create(directory)
        why = authority.why_new(
            has["certificate"],
            has["public_key"],
            ours[0],
            [*names, shown] if by_key else names,
            addresses,
            int(options.get("renew_days") or 30),
            datetime.now(UTC),
        )
        if not why and has["authority"] != authority.pem(ours[0]):
            why = "the authority's certificate is not there"
        if shown in revoked:
            why = "the key is revoked"
        if not why and by_key and not self._task.check_mode:
            self._keep(directory, names[0], shown)
        if not why or self._task.check_mode:
            return {"changed": bool(why), "why": [why] if why else []}
        asked = self._module(task_vars, stage="request", anew=shown in revoked)
        if asked.get("failed"):
            return asked
        signed = authority.fingerprint(authority.requested(asked["request"]))
        texts = {
            "authority": authority.pem(ours[0]),
            "certificate": authority.sign(
                asked["request"], ours, [*names, signed] if by_key else names, addresses
            ),
        }
        installed = self._module(task_vars, stage="install", pem=texts)
        if by_key and not installed.get("failed"):
            self._keep(directory, names[0], signed)
        return {**installed, "why": [why]}

    @staticmethod
    def _keep(directory, name, fingerprint):
        record = str(directory / authority.RECORD)
        known_hosts.update(record, lambda text: authority.kept(text, name, fingerprint))

    def _module(self, task_vars, **stage):
        role = self._task._role.get_name() if self._task._role else ""
        arguments = {**self._task.args, **stage, "role": role}
        return self._execute_module(module_args=arguments, task_vars=task_vars)
