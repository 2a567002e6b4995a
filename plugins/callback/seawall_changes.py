"""Writes what each task changed, or in check mode would, as JSON lines: host, task, why. No file's content."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: seawall_changes
type: notification
short_description: Changed tasks as JSON lines
description: Appends to the file named by SEAWALL_CHANGES_FILE; without it does nothing.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "seawall_changes"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result):
        said = getattr(result, "result", None) or result._result
        path = os.environ.get("SEAWALL_CHANGES_FILE")
        if not said.get("changed") or not path:
            return
        task = result.task if hasattr(result, "task") else result._task
        host = result.host if hasattr(result, "host") else result._host
        diffs = said.get("diff") or []
        files = [
            d.get("after_header") or d.get("before_header")
            for d in (diffs if isinstance(diffs, list) else [diffs])
        ]
        why = [
            str(each) for each in said.get("why") or [f"{file} is not as declared" for file in files if file]
        ]
        line = {"host": host.get_name(), "task": task.get_name(), "why": why}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
