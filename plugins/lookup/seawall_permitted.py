"""Who may send logs: `query('seawall_permitted', names, revoked)`, what the collector permits of hosts of these names.

Asked when it is used, after the play's certificates were made: the fingerprints they bear are on record here.
"""

from __future__ import annotations

import os
import sys

from ansible.plugins.lookup import LookupBase

# Ansible puts module_utils on a host's path, not on the controller's.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "controller"))
import seawall_authority as authority
import seawall_known_hosts as known_hosts


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        names, revoked = terms
        record = os.path.join(known_hosts.seawall_dir(), "ca", authority.RECORD)
        return authority.permitted(names, authority.held(known_hosts.current(record)), revoked)
