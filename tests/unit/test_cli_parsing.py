"""What we read from other programs' output: literal samples of what they print."""

from __future__ import annotations

from pathlib import Path

from infra.said import FAILED_CONTROLS
from seawall.playbook import Played, Recap, failures, recaps
from seawall.pulumi import counts, diagnosis, readable

UP = """\
Updating (lab):
 +  pulumi:pulumi:Stack seawall-lab creating (0s)
 +  digitalocean:index:Vpc network creating (0s)
 +  digitalocean:index:Vpc network created (0.33s)
 ~  digitalocean:index:Firewall app updating (0s) [diff: ~inboundRules]
Resources:
    + 14 created
    ~ 1 updated
    +-2 replaced
    - 1 deleted
    3 unchanged

Duration: 9s
"""

FAILED = """\
 +  digitalocean:index:Vpc network creating (0s)
@ updating....
 +  digitalocean:index:Vpc network creating (1s) error: 422
Diagnostics:
  digitalocean:index:Vpc (network):
    error: DigitalOcean refused the VPC: range overlaps. Choose another vpcRange.

  pulumi:pulumi:Stack (seawall-lab):
    error: update failed

Resources:
    + 1 created

Duration: 1s
"""


def test_resources_are_counted_by_verb():
    assert counts(UP.splitlines()) == {
        "created": 14,
        "updated": 1,
        "replaced": 2,
        "deleted": 1,
        "unchanged": 3,
    }


def test_a_line_of_progress_reads_without_ornaments():
    assert readable(UP.splitlines()[2]) == "Vpc network creating (0s)"
    assert readable("@ updating....") == "updating"


def test_a_failure_is_told_once_and_says_where_the_rest_lies():
    told = diagnosis(FAILED.splitlines(), "up", Path("/log"))
    assert told == (
        "`pulumi up` stopped. error: DigitalOcean refused the VPC: range overlaps. Choose another vpcRange. "
        "(all it printed: /log)"
    )


def test_a_failure_without_diagnostics_tells_its_errors():
    told = diagnosis(["error: no stack named 'lab' found"], "up", Path("/log"))
    assert "no stack named 'lab' found" in told


HARDENING = """\
Diagnostics:
  seawall:index:Hardening (app-1):
    will be hardened again: role sshd
    error: app-1 failed its controls and gets no traffic: control sshd-auth-tries failed.
  seawall:index:Hardening (app-2):
    will be hardened again: role sshd
"""


def test_why_a_droplet_is_hardened_again_is_no_failure():
    told = diagnosis(HARDENING.splitlines(), "up", Path("/log"))
    assert "error: app-1 failed its controls" in told
    assert "again" not in told
    assert FAILED_CONTROLS in told


RECAP = """\
PLAY RECAP *********************************************************************
app-1                      : ok=41   changed=3    unreachable=0    failed=0    skipped=2    rescued=0    ignored=0
logs-1                     : ok=9    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0
""".splitlines()


def test_the_recap_is_read_per_host():
    assert recaps(RECAP) == [Recap("app-1", 41, 3, 0, 0), Recap("logs-1", 9, 0, 0, 1)]


def test_a_failing_task_is_told_with_its_host_and_message():
    lines = [
        "TASK [sshd : The candidate configuration is what sshd accepts] ****",
        'fatal: [app-1]: FAILED! => {"changed": false, "msg": "Bad SSH2 cipher spec \\"x\\"", "rc": 255}',
    ]
    assert failures(lines) == [
        'app-1: sshd : The candidate configuration is what sshd accepts: Bad SSH2 cipher spec "x"'
    ]


def test_an_unreachable_host_is_told():
    lines = [
        "TASK [Gathering Facts] ***",
        'fatal: [app-2]: UNREACHABLE! => {"changed": false, "msg": "timed out"}',
    ]
    assert failures(lines) == ["app-2: Gathering Facts: timed out"]


BROKEN = """\
@ previewing update....
Policies:
    ❌ seawall@v0.0.1 (local: policy)
        - [mandatory]  firewall-public-egress  (digitalocean:index:Firewall: app)
          Outward to everywhere go names, packages and time only
          app: 25/tcp may go to 0.0.0.0/0, ::/0. Name the destination's range.
        - [advisory]  droplet-backups  (digitalocean:index:Droplet: app-1)
          A droplet that holds what nobody could make again has backups
          app-1: backups are off.

Diagnostics:
  pulumi:pulumi:Stack (seawall-lab):
    error: preview failed
"""


def test_a_broken_rule_is_named_and_advice_is_not():
    told = diagnosis(BROKEN.splitlines(), "up", Path("/log"))
    assert "1 rule of the policy pack forbids it, so nothing was changed" in told
    assert "[firewall-public-egress] app: 25/tcp may go to 0.0.0.0/0" in told
    assert "droplet-backups" not in told


def test_each_host_of_a_play_has_its_own_end():
    played = Played(
        2, recaps(RECAP), ["logs-1: nginx : started: no", "logs-10: sshd : moved: no"], Path("/log")
    )
    assert played.well == ["app-1"]
    assert played.why("logs-1") == "logs-1: nginx : started: no (all it printed: /log)"
    assert "nginx" in played.why("app-9")
