"""AIDE's database of a host, its digest kept on the controller, so that a host cannot rewrite what it is judged by.

The digest is recorded before the new database comes into use: a run that is killed in between leaves a database
that the next run can still tell from an intruder's. Options: those of the module of the same name.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

# Ansible puts module_utils on a host's path, not on the controller's.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "controller"))
import seawall_known_hosts as known_hosts


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        record = Path(known_hosts.seawall_dir()) / "integrity" / task_vars["seawall_host_key_alias"]
        recorded = record.read_text().strip() if record.exists() else ""
        found = self._stage(task_vars, "look", recorded)
        if found.get("failed") or self._task.check_mode or not found["changed"]:
            return found
        built = self._stage(task_vars, "build", recorded)
        if built.get("failed"):
            return built
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = record.with_suffix(".draft")
        draft.write_text(built["digest"] + "\n")
        draft.rename(record)
        return {**built, **self._stage(task_vars, "promote", built["digest"]), "why": found["why"]}

    def _stage(self, task_vars, stage, recorded):
        return self._execute_module(module_args={"stage": stage, "recorded": recorded}, task_vars=task_vars)
