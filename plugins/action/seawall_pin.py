"""Pin each host's first-contact key in the kit's known_hosts, where no key is pinned for that host yet.

Runs on the controller, once, over all hosts of the inventory that declare `seawall_host_key_alias` and
`seawall_first_contact_host_key`. A key already pinned is never replaced here: only a hardening run, over a
connection that the old key vouches for, does that.
"""

from __future__ import annotations

import os
import sys

from ansible.plugins.action import ActionBase

# Ansible puts module_utils on a host's path, not on the controller's.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "controller"))
import seawall_known_hosts as known_hosts


def with_first_contacts(text: str, first_contacts: dict[str, str]) -> str:
    """``text`` with a line for each alias that has none yet."""
    for alias, key in first_contacts.items():
        if not known_hosts.keys_of(text, alias):
            text = known_hosts.pinned(text, alias, [key])
    return text


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        hosts = task_vars["hostvars"]
        first_contacts = {
            hosts[name]["seawall_host_key_alias"]: hosts[name]["seawall_first_contact_host_key"]
            for name in task_vars["groups"]["all"]
            if "seawall_first_contact_host_key" in hosts[name]
        }
        path = os.path.join(known_hosts.seawall_dir(), "known_hosts")
        # In check mode too: without it no host could be looked at, and it changes none of them.
        changed = known_hosts.update(path, lambda text: with_first_contacts(text, first_contacts))
        return {**result, "changed": changed}
