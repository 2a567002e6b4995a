"""Nobody is locked out, whatever is declared: each wrong change is put back within 60 seconds, and said so.

Every case ends the same way: the administrator logs in on a new connection, and all that decides who gets in is
what it was before. The last test is the next correct run.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.roles_host import Host, eventually, first_host

BACK_WITHIN = 60  # seconds; the promise of docs and design
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with first_host(tmp_path_factory) as one:
        first = one.harden()
        assert not first.failed, first.said
        whole[one.name] = one.ssh(WHO_GETS_IN)
        yield one


# All that decides who gets in, as text that is the same as long as that is. Counters and times are left out.
WHO_GETS_IN = (
    "sudo sh -c 'cat /etc/passwd /etc/shadow /etc/group /etc/ufw/user*.rules /etc/ufw/ufw.conf /etc/default/ufw; "
    "grep -r . /etc/ssh /etc/sudoers.d /root/.ssh /home/*/.ssh; sshd -T; "
    'for save in iptables-save ip6tables-save; do $save -t filter | sed "/^#/d; s/\\[[0-9:]*\\]//" | sort; done\''
)
whole: dict[str, str] = {}


def assert_still_whole(host: Host) -> None:
    """In by a new connection, nothing armed, and everything that decides who gets in is as it was."""
    assert host.ssh("sudo id -u").strip() == "0"
    assert '"armed": null' in host.ssh("sudo /usr/local/lib/seawall/commit-confirm status")
    assert host.ssh(WHO_GETS_IN) == whole[host.name]


REFUSED_BY_THE_CONNECTION = {
    "a cipher no client speaks": {"sshd_extra_settings": {"Ciphers": ["aes128-cbc"]}},
    "groups without the administrator": {"sshd_groups": ["nogroup"]},
    "ranges without the controller": {"sshd_ranges": ["192.0.2.0/24"]},
    "a firewall without ssh": {"ufw_rules": []},
    "a port no firewall admits": {"sshd_port": 2200},
    "another's key": {
        "accounts_administrators": [
            {
                "name": "ops",
                "public_keys": [
                    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUbQFP1Wm9x1W0mVqjD3vuhLtu6wXjOdkFcN9DJlC1T other"
                ],
            }
        ]
    },
}


@pytest.mark.parametrize("change", REFUSED_BY_THE_CONNECTION.values(), ids=REFUSED_BY_THE_CONNECTION)
def test_a_change_that_would_lock_out_is_put_back(host: Host, change: dict) -> None:
    run = host.harden(**change)
    assert run.failed
    assert "refused, and put back" in run.said
    assert (seconds := int(re.search(r"since (\d+) s after the change", run.said)[1])) <= BACK_WITHIN, seconds
    assert_still_whole(host)


def test_the_administrators_group_is_kept(host: Host) -> None:
    """Another administrator only, and nobody else: the one who is connected would be out."""
    other = [{"name": "zoe", "public_keys": host.variables["accounts_administrators"][0]["public_keys"]}]
    run = host.harden(accounts_administrators=other)
    assert run.failed
    assert "refused, and put back" in run.said
    assert_still_whole(host)
    assert "zoe" not in host.ssh("getent passwd")


REFUSED_BEFORE_ANY_CHANGE = {
    "an unknown cipher": (
        {"sshd_extra_settings": {"Ciphers": ["nonsense"]}},
        "knows none of the declared Ciphers",
    ),
    "an unknown keyword": ({"sshd_extra_settings": {"Nonsense": "1"}}, "Bad configuration option"),
    "a value that is none": ({"sshd_extra_settings": {"LoginGraceTime": "soon"}}, "invalid time value"),
    "no administrator": ({"accounts_administrators": []}, "No administrator is declared"),
    "a key that is none": (
        {"accounts_administrators": [{"name": "ops", "public_keys": ["ssh-ed25519 no key\nat all"]}]},
        "needs at least one public key",
    ),
    "a broken sudo rule": (
        {"accounts_files": [{"path": "/etc/sudoers.d/seawall", "content": "nonsense\n"}]},
        "visudo",
    ),
    "no port": (
        {"ufw_rules": [{"direction": "in", "protocol": "tcp", "ports": "0", "addresses": ["::/0"]}]},
        "65535",
    ),
}


@pytest.mark.parametrize(
    ("change", "word"), REFUSED_BEFORE_ANY_CHANGE.values(), ids=REFUSED_BEFORE_ANY_CHANGE
)
def test_what_cannot_work_is_refused_before_anything_changes(host: Host, change: dict, word: str) -> None:
    changed_at = "sudo stat -c %z /etc/ssh/sshd_config.d /etc/ufw /etc/shadow /etc/sudoers.d"
    before = host.ssh(changed_at)
    run = host.harden(**change)
    assert run.failed
    assert word in run.said
    assert host.ssh(changed_at) == before
    assert_still_whole(host)


def test_an_sshd_that_does_not_start_is_replaced_by_the_old_one(host: Host) -> None:
    """Valid to `sshd -t`, but its port is taken."""
    host.ssh("sudo systemd-run --unit squatter python3 -m http.server --bind :: 2201")
    try:
        run = host.harden(sshd_port=2201)
        assert run.failed
        assert "The old sshd is back" in run.said
        assert_still_whole(host)
    finally:
        host.ssh("sudo systemctl stop squatter")


HARMFUL = {"sshd_groups": ["nogroup"]}


@contextlib.contextmanager
def left_between_change_and_confirmation(host: Host) -> Iterator[Callable[[str], bool]]:
    """The controller is killed after the harmful change took effect; a connection made before stays open."""
    with host.kept_connection() as over:
        run = host.start(**HARMFUL)
        armed = "sudo test -e /var/lib/seawall/commit-confirm/armed && sudo sshd -T | grep -qx 'allowgroups nogroup'"
        eventually(lambda: over(armed), 60, "the harmful change is armed and written")
        eventually(lambda: host.try_ssh("true").returncode != 0, 10, "new connections are refused")
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        yield over


def test_a_killed_controller_leaves_nobody_out(host: Host) -> None:
    with left_between_change_and_confirmation(host):
        host.wait_until_in(deadline=BACK_WITHIN)
    assert_still_whole(host)


def test_a_reboot_in_between_boots_into_the_old_state(host: Host) -> None:
    with left_between_change_and_confirmation(host):
        if host.restart is None:
            pytest.skip("this host cannot be restarted from here")
        host.restart()
    host.wait_until_in(deadline=BACK_WITHIN)
    said = host.ssh("sudo journalctl -b -u seawall-revert-boot -o cat --no-pager")
    assert "before the host was restarted" in said
    assert_still_whole(host)


def test_two_runs_at_once_end_in_one_of_the_two_states(host: Host) -> None:
    with ThreadPoolExecutor() as both:
        first, second = both.map(
            lambda sessions: host.harden(sshd_extra_settings={"MaxSessions": sessions}), (7, 8)
        )
    assert not (first.failed and second.failed), first.said + second.said
    assert host.ssh("sudo sshd -T | grep -i maxsessions").strip() in ("maxsessions 7", "maxsessions 8")


def test_the_next_correct_run_converges(host: Host) -> None:
    assert not host.harden().failed
    assert host.harden().changed() == 0
    assert_still_whole(host)
