"""The module of the same name, told which role its files belong to, so that they can be listed and taken away again."""

from __future__ import annotations

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        role = self._task._role.get_name() if self._task._role else ""
        return self._execute_module(module_args={**self._task.args, "role": role}, task_vars=task_vars)
