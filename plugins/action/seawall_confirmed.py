"""Run a module whose change could lock people out, and let it stand only if a new connection gets in.

    - seawall_confirmed:
        module: seawall_sshd          # plans in check mode; arms commit-confirm before it changes anything
        options: {…}
        port: 2222                    # where sshd listens afterwards; default: as now

The module looks first; where nothing would change nothing is armed. Otherwise it arms the host, changes it and
returns `confirm_id`. A *new* TCP connection with the new settings (no multiplexing, the pinned host keys) then
runs `commit-confirm confirm`. If that fails the host is put back, at once over the old connection or by its
own timer, and the play fails saying what was refused and why. If this process dies, the timer does the same.

A module may first return `host_keys` from a run with `stage: prepare` (only if its plan says `prepare`): keys
that exist on the host but are not served yet. They are pinned beside the old ones before the change and
instead of them after it, so that there is no moment in which a killed controller knows neither.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible puts module_utils on a host's path, not on the controller's.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "controller"))
import seawall_known_hosts as known_hosts

COMMIT_CONFIRM = "/usr/local/lib/seawall/commit-confirm"
TRY_FOR = 15  # seconds a new connection is given to get in
BACK_WITHIN = 75  # seconds until the old settings answer again: the host's 45, and patience
# What sshd says when it turns somebody away, among what it says of sessions that go well.
REFUSAL = re.compile("not allowed|Unable to negotiate|no matching|Failed|refused|denied|error:|Invalid user")


class ActionModule(ActionBase):
    _requires_connection = True
    _VALID_ARGS = frozenset(("module", "options", "port"))

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        self.vars = task_vars
        self.module, self.options = self._task.args["module"], dict(self._task.args.get("options") or {})
        # Whose files these are, so that they can be listed and taken away again.
        if self._task._role:
            self.options["role"] = self._task._role.get_name()
        self.port = int(self._task.args.get("port") or self._connection.get_option("port") or 22)
        self.user = self._who()
        checking = self._task.check_mode
        plan = self._module(check=True)
        if checking or plan.get("failed"):
            return plan
        if not plan.get("changed"):
            self._forget_all_but(plan.get("host_keys"))
            # Nothing to change, but the host's book doesn't know of it yet.
            return self._module() if plan.get("unrecorded") else plan
        keys = self._prepare() if plan.get("prepare") else []
        result = self._module()
        if result.get("failed") or not result.get("confirm_id"):
            return result
        began = time.monotonic()
        refused = self._confirm(result["confirm_id"], keys)
        if refused:
            raise AnsibleActionFail(self._put_back(result, refused, began))
        if keys:
            known_hosts.update(
                self._known_hosts(), lambda text: known_hosts.pinned(text, self._alias(), keys)
            )
        result["diff"] = plan.get("diff", [])
        return result

    def _who(self):
        """Who has to get in: whoever is connected; for root, whom `accounts` switches off, the first administrator."""
        now = self._connection.get_option("remote_user")
        administrators = self._templar.template(self.vars.get("accounts_administrators")) or []
        return administrators[0]["name"] if now == "root" and administrators else now

    def _module(self, check=False, **extra):
        before = self._task.check_mode
        self._task.check_mode = check
        try:
            return self._execute_module(
                module_name=self.module, module_args={**self.options, **extra}, task_vars=self.vars
            )
        finally:
            self._task.check_mode = before

    def _prepare(self):
        """Have the new host keys made, and trust them beside the old ones."""
        answer = self._module(stage="prepare")
        if answer.get("failed"):
            raise AnsibleActionFail(f"New host keys could not be made: {answer.get('msg')}")
        keys = answer["host_keys"]
        if self._alias():
            known_hosts.update(
                self._known_hosts(),
                lambda text: known_hosts.pinned(
                    text,
                    self._alias(),
                    list(dict.fromkeys([*known_hosts.keys_of(text, self._alias()), *keys])),
                ),
            )
        return keys

    def _forget_all_but(self, keys):
        """Drop keys that are pinned but no longer served: what a run killed after its confirmation leaves."""
        path, alias = self._known_hosts(), self._alias()
        trusted = known_hosts.keys_of(known_hosts.current(path), alias) if keys and alias else []
        if set(trusted) > (still := set(trusted) & set(keys or [])) and still:
            known_hosts.update(
                path, lambda text: known_hosts.pinned(text, alias, [key for key in trusted if key in still])
            )

    def _alias(self):
        return self.vars.get("seawall_host_key_alias")

    def _known_hosts(self):
        return os.path.join(known_hosts.seawall_dir(), "known_hosts")

    def _confirm(self, confirm_id, keys):
        """Get in anew and disarm; empty, or what the last attempt was told."""
        with tempfile.NamedTemporaryFile("w", prefix="seawall-known-hosts-") as trusted:
            options = []
            if keys and self._alias():
                # Only the new keys: a connection that the old one vouches for proves nothing.
                trusted.write(known_hosts.pinned("", self._alias(), keys))
                trusted.flush()
                options = ["-o", f"UserKnownHostsFile={trusted.name}"]
            argv = self._ssh(
                self.port,
                *options,
                user=self.user,
                command=["sudo", "-n", COMMIT_CONFIRM, "confirm", confirm_id],
            )
            deadline = time.monotonic() + TRY_FOR
            while True:
                ok, said = _try(argv)
                if ok or time.monotonic() > deadline:
                    return "" if ok else said
                time.sleep(1)

    def _put_back(self, result, refused, began):
        """Revert over the old connection if it lives, else wait for the host's timer; then say what happened."""
        old = int(self._connection.get_option("port") or 22)
        revert = [
            "sudo",
            "-n",
            COMMIT_CONFIRM,
            "revert",
            "--reason",
            shlex.quote("a new connection was refused"),
        ]
        log = [
            "sudo",
            "-n",
            "journalctl",
            "-q",
            "--no-pager",
            "-o",
            "cat",
            "-n",
            "4",
            "-t",
            "sshd",
            "-p",
            "info",
        ]
        over_old = ["-o", f"ControlPath={self._control_path()}"]
        _, lines = _try(self._ssh(old, *over_old, command=log))
        host_says = next(
            (line for line in reversed(lines.splitlines()) if REFUSAL.search(line)), "nothing about it"
        )
        _try(self._ssh(old, *over_old, command=revert))
        deadline = began + BACK_WITHIN
        what = result.get("what", self.module)
        while time.monotonic() < deadline:
            for user in dict.fromkeys((self._connection.get_option("remote_user"), self.user)):
                ok, said = _try(self._ssh(old, user=user, command=["sudo", "-n", COMMIT_CONFIRM, "status"]))
                if ok:
                    break
            if ok and not (status := json.loads(said))["armed"]:
                told = (
                    f"A new connection to port {self.port} as {self.user} was told: {refused} "
                    f"sshd's log says: {host_says}."
                )
                return verdict(what, told, status["last"], result["confirm_id"], time.monotonic() - began)
            time.sleep(0.5)
        return (
            f"{what}: refused ({refused}), and the old settings did not answer within {BACK_WITHIN} s. Look from "
            "the provider's recovery console: `journalctl -u seawall-revert`, `commit-confirm status`."
        )

    def _control_path(self):
        """The multiplexing socket of the connection that Ansible itself holds open."""
        option = self._connection.get_option
        directory = os.path.expanduser(option("control_path_dir"))
        return (option("control_path") or "%(directory)s/%%C") % {"directory": directory}

    def _ssh(self, port, *options, command, user=None):
        """An ssh command line with this host's own settings; ``options`` come first, so they win."""
        option = self._connection.get_option
        argv = ["ssh", *options, "-o", "ControlPath=none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
        if key := option("private_key_file"):
            argv += ["-i", os.path.expanduser(key), "-o", "IdentitiesOnly=yes"]
        for name in ("ssh_common_args", "ssh_extra_args"):
            argv += shlex.split(option(name) or "")
        return [*argv, "-p", str(port), "-l", user or option("remote_user"), option("host"), *command]


def verdict(what, told, last, confirm_id, seconds):
    """What became of a refused change, by the host's own report of its last revert. Pure."""
    last = last or {}
    if last.get("id") != confirm_id:
        return (
            f"{what}: refused, and what became of it is not known. {told} The host reports no revert of this change. "
            f"Look there: `journalctl -u seawall-revert`, `{COMMIT_CONFIRM} status`; then run again."
        )
    if problems := last.get("problems"):
        return (
            f"{what}: refused, but not put back whole. {told} The old files are back; what should load them failed: "
            f"{'; '.join(problems)}. You still get in as before. Mend that on the host, then run again."
        )
    return (
        f"{what}: refused, and put back. {told} The old settings have been in force again "
        f"since {seconds:.0f} s after the change. Correct the setting and run again."
    )


def _try(argv):
    """Whether the command succeeded within 10 seconds, and what it said."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return False, "nothing within 10 s"
    said = done.stdout if done.returncode == 0 else done.stderr or done.stdout
    lines = [line for line in said.strip().splitlines() if line.strip()]
    # The banner comes on standard error too; what ssh itself says comes last.
    return done.returncode == 0, "\n".join(lines if done.returncode == 0 else lines[-2:])
