"""Wait until a host answers, then see that it has room to work in.

    - seawall_answers:
        seconds: 120      # how long a host that boots is waited for

One command over ssh, without a module: those need room themselves, and a full disk would be a traceback of theirs. The
connection that is there is used and not made anew, as wait_for_connection would.
"""

from __future__ import annotations

import time

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

ROOM = 32  # MiB; what a run writes at most besides packages, for which apt sees to it itself
LOOK = "df -Pk / /etc /home /tmp /var"


class ActionModule(ActionBase):
    _VALID_ARGS = frozenset(("seconds",))

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        seconds = float(self._task.args.get("seconds") or 120)
        deadline = time.monotonic() + seconds
        while True:
            try:
                done = self._low_level_execute_command(LOOK)
                break
            except AnsibleConnectionFailure as error:
                if time.monotonic() > deadline:
                    raise AnsibleConnectionFailure(f"No answer within {seconds:.0f} s: {error}") from None
                # A master connection from before a reboot would go on failing.
                self._connection.reset()
                time.sleep(1)
        if full := cramped(done["stdout"]):
            return {
                **result,
                "failed": True,
                "msg": f"No space left on device: {', '.join(full)}. A run begins with {ROOM} MiB at least. "
                "Make room (`journalctl --vacuum-size=200M`, `apt-get clean`, `du -xh / | sort -h`) and run again.",
            }
        return {**result, "changed": False}


def cramped(said):
    """File systems with less than ``ROOM`` left, by what `df -Pk` said. Pure."""
    found = {}
    for line in said.splitlines():
        words = line.split()
        if len(words) == 6 and words[3].isdigit() and int(words[3]) < ROOM * 1024:
            found[words[5]] = f"{words[5]} has {int(words[3])} KiB"
    return list(found.values())
