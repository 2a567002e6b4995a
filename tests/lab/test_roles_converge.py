"""The whole playbook on three new droplets: check mode tells the truth, one run converges, the next changes nothing."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from lab import instance
from lab.network import plan
from tests.lab import roles_lab
from tests.lab.roles_host import Host, eventually

EVERYONE = ("--limit", "all")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def app(roles: roles_lab.RolesLab) -> Host:
    return roles.host("app-1")


@pytest.fixture(scope="module")
def logs(roles: roles_lab.RolesLab) -> Host:
    return roles.host("logs-1")


@pytest.fixture(scope="module")
def converged(app: Host) -> Host:
    """The first runs: looked at untouched hosts, then changed them, then found nothing left to do."""
    looked = app.harden(*EVERYONE, "--check")
    assert not looked.failed, looked.said
    assert looked.changed() > 0
    assert "seawall" not in app.ssh("ls /usr/local/lib /etc/ssh/sshd_config.d | grep -v first-contact; true")
    first = app.harden(*EVERYONE)
    assert not first.failed, first.said
    assert first.changed() == looked.changed()
    return app


def test_the_second_run_changes_nothing(converged: Host) -> None:
    second = converged.harden(*EVERYONE)
    assert (second.failed, second.changed()) == (False, 0), second.said


@pytest.mark.skipif(not roles_lab.MIXED, reason="part of make soak")
def test_debian_13_is_among_the_hosts_and_its_sshd_no_longer_waits_for_a_socket(
    converged: Host, roles: roles_lab.RolesLab
) -> None:
    """Its ssh.socket, enabled before as Ubuntu has it, would keep sshd from listening where it is told to."""
    app_2 = roles.host("app-2")
    assert app_2.ssh("cat /etc/debian_version").startswith("13")
    states = app_2.ssh(
        "for unit in ssh.socket ssh.service; do systemctl is-active $unit; systemctl is-enabled $unit; done; true"
    )
    assert states.split() == ["inactive", "disabled", "active", "enabled"]


def test_check_mode_on_a_hardened_host_finds_nothing(converged: Host) -> None:
    looked = converged.harden(*EVERYONE, "--check")
    assert (looked.failed, looked.changed()) == (False, 0), looked.said


# What somebody does by hand, and what a look (check mode) has to say about it.
ASTRAY = {
    "ufw allow 9999/tcp": "stranger: -A ufw-user-input -p tcp -m tcp --dport 9999 -j ACCEPT",
    "iptables -I INPUT -p tcp --dport 9998 -j ACCEPT": "stranger: -A INPUT -p tcp -m tcp --dport 9998 -j ACCEPT",
    "echo ssh-ed25519 AAAA stranger >> /home/ops/.ssh/authorized_keys": "authorized_keys is not as declared",
    "echo 'nobody ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/zz": "/etc/sudoers.d/zz is not as declared",
    "useradd eve && gpasswd -a eve sshusers": "gpasswd --delete eve sshusers",
    "echo PermitRootLogin yes > /etc/ssh/sshd_config.d/00-seawall.conf": "ssh runs with an older configuration",
    "systemctl stop nginx": "nginx is inactive",
    "mount -o remount,bind,exec /tmp": "/tmp is not mounted nosuid,nodev,noexec",
    "systemctl disable --now seawall-integrity.timer": "seawall-integrity.timer is inactive",
    "touch /etc/systemd/journald.conf.d/seawall.conf": "systemd-journald runs with an older configuration",
    "systemctl disable --now rsyslog": "rsyslog is disabled",
    "echo > /etc/apt/apt.conf.d/20auto-upgrades": "20auto-upgrades is not as declared",
    "systemctl disable --now apt-daily.timer": "apt-daily.timer is inactive",
}


def test_what_went_astray_is_seen_and_put_right(converged: Host) -> None:
    for command in ASTRAY:
        converged.ssh(f"sudo sh -c {shlex.quote(command)}")
    looked = converged.harden("--check", "-v")
    assert not looked.failed, looked.said
    assert [word for word in ASTRAY.values() if word not in looked.said] == []
    assert not converged.harden().failed
    assert converged.harden().changed() == 0


def test_the_one_use_host_key_is_refused(converged: Host, roles: roles_lab.RolesLab) -> None:
    """Neither served by the host nor trusted by the controller any longer."""
    alias = converged.variables["seawall_host_key_alias"]
    one_use = converged.variables["seawall_first_contact_host_key"]
    assert one_use not in (roles.directory / "known_hosts").read_text()
    only_old = roles.directory / "only-old"
    only_old.write_text(f"{alias} {one_use}\n")
    argv = [
        "ssh",
        "-o",
        f"UserKnownHostsFile={only_old}",
        "-o",
        f"HostKeyAlias={alias}",
        "-o",
        "BatchMode=yes",
    ]
    argv += ["-o", "StrictHostKeyChecking=yes", "-i", str(roles.key), "-p", "2222"]
    argv += [f"ops@{converged.variables['ansible_host']}", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 255
    assert "verification failed" in done.stderr


def test_who_guesses_is_shut_out_and_an_administrator_never(
    converged: Host, roles: roles_lab.RolesLab
) -> None:
    """Both guess alike; the stranger gets to sshd only because ufw is told so for the length of this test."""
    place = instance.find(roles.instance)
    assert place
    administrator, stranger = place.address(plan.ADMINISTRATOR), place.address(plan.OUTSIDE)
    elsewhere = ["ip", "netns", "exec", place.namespace("outside")]
    guess = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-p", "2222"]
    guess += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    guess += [f"guest@{converged.variables['ansible_host']}"]

    def answer(*argv: str) -> str:
        """What ssh said; one that was under way when its address was shut out hears nothing more, and is ended."""
        done = subprocess.run(["timeout", "10", *argv], capture_output=True, text=True, check=False)
        assert done.returncode in (255, 124)
        return done.stderr

    way_in = f"INPUT -s {stranger} -p tcp --dport 2222 -j ACCEPT"
    converged.ssh(f"sudo iptables -I {way_in}")
    try:
        for _ in range(6):
            assert "Permission denied" in answer(*guess)
        assert "Connection refused" not in answer(*elsewhere, *guess), "it has not begun shut out"
        eventually(lambda: "Connection refused" in answer(*elsewhere, *guess), 60, "the stranger is shut out")
        # Read in the journal's order: by now the administrator's guesses have been counted, or rather not.
        said = converged.ssh("sudo cat /var/log/fail2ban.log; sudo fail2ban-client get sshd banned")
        assert said.count(f"Ignore {administrator} by ip") >= 6
        assert said.splitlines()[-1] == f"['{stranger}']"
        assert "Permission denied" in answer(*guess)
    finally:
        converged.ssh(f"sudo iptables -D {way_in}; sudo fail2ban-client unban --all")


def test_a_line_logged_here_is_filed_there_under_its_peer(converged: Host, logs: Host) -> None:
    converged.ssh("logger -t marker round-trip")
    eventually(
        lambda: "round-trip" in logs.try_ssh("sudo cat /var/log/remote/app-1/marker.log").stdout,
        30,
        "the line is filed at the collector",
    )


def test_security_events_of_the_application_arrive_as_json(converged: Host, logs: Host) -> None:
    post = (
        "python3 -c \"import ssl,urllib.request as u; u.urlopen('https://127.0.0.1/login', b'user=mallory', "
    )
    converged.try_ssh(post + 'context=ssl._create_unverified_context())"')
    eventually(
        lambda: (
            '"event": "login_attempt"'
            in logs.try_ssh("sudo cat /var/log/remote/app-1/example-app.log").stdout
        ),
        30,
        "the event is filed at the collector",
    )


soak = pytest.mark.skipif(
    not os.environ.get("SEAWALL_SOAK"), reason="make soak: each look walks the whole host"
)


def _logins(folder: Path, keys: list[str]) -> Path:
    """A play of the two roles that the watch's account concerns."""
    play = {"hosts": "app-1", "become": True, "gather_facts": False, "roles": ["accounts", "sshd"]}
    path = folder / "logins.json"
    path.write_text(json.dumps([{**play, "vars": {"accounts_reader_keys": keys}}]))
    return path


@soak
def test_the_watchs_account_can_gather_and_nothing_else(converged: Host, tmp_path: Path) -> None:
    key = tmp_path / "watch"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    run = converged.play(_logins(tmp_path, [Path(f"{key}.pub").read_text().strip()]))
    assert (run.failed, run.changed()) == (False, 2), run.said  # accounts and sshd

    def watch(*words: str, options: tuple[str, ...] = (), said: str = "") -> subprocess.CompletedProcess:
        argv = [
            "ssh",
            "-q",
            "-i",
            str(key),
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
            "-p",
            "2222",
        ]
        argv += [
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]
        argv += [*options, f"seawall-drift@{converged.variables['ansible_host']}", *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, input=said)

    gathered = json.loads(watch().stdout)
    assert gathered
    assert "PRIVATE KEY" not in json.dumps(gathered), "no file's content leaves the host"
    other = watch("touch /tmp/broken-out; sudo -n touch /tmp/broken-out").stdout
    assert json.loads(other).keys() == gathered.keys(), "the forced command ran, not this one"
    watch(options=("-tt",), said="touch /tmp/broken-out\nexit\n")
    assert converged.try_ssh("test -e /tmp/broken-out").returncode == 1
    forward = ("-o", "ExitOnForwardFailure=yes", "-W", "127.0.0.1:2222")
    assert watch(options=forward).returncode != 0
    as_it = "sudo -u seawall-drift "
    for refused in ("sudo -n id", "sudo -n /usr/local/lib/seawall/drift-gather --more", "sudo -n -s",
                    "touch /var/lib/seawall-drift/.ssh/authorized_keys", "cat /etc/shadow"):  # fmt: skip
        assert converged.try_ssh(as_it + refused).returncode != 0, refused
    # A script that somebody changed does not run: sudo compares its digest.
    converged.ssh("echo '# changed' | sudo tee -a /usr/local/lib/seawall/drift-gather")
    changed = watch()
    assert (changed.returncode, changed.stdout) == (1, "")


@soak
def test_without_a_key_the_watchs_account_is_gone(converged: Host, tmp_path: Path) -> None:
    run = converged.play(_logins(tmp_path, []))
    assert (run.failed, run.changed()) == (False, 2), run.said
    left = converged.ssh(
        "getent passwd seawall-drift; sudo find /etc/sudoers.d /usr/local/lib/seawall -name '*drift*'; "
        "sudo find /var/lib/seawall-drift -type f; sudo sshd -T | grep -i allowgroups"
    )
    assert left.strip() == "allowgroups sshusers"


STAND_IN = """#!/bin/sh
cd /srv/seawall/.seawall
echo "$(id -un) $* $(cat $DIGITALOCEAN_TOKEN_FILE)" >> calls
touch /etc/written 2>/dev/null && echo "wrote to /etc" >> calls
exit $(cat answer)
"""


@soak
def test_the_watch_looks_with_its_own_token_and_somebody_notices_when_it_stops(
    converged: Host, tmp_path: Path
) -> None:
    """On a droplet, with a stand-in for the program: what systemd makes of the role is what is looked at."""
    converged.ssh(
        "sudo useradd --system watcher; sudo mkdir -p /srv/seawall/.venv/bin /srv/seawall/.seawall /etc/seawall; "
        "sudo chown watcher /srv/seawall/.seawall; echo TOKEN | sudo tee /etc/seawall/token; "
        f"sudo chmod 0400 /etc/seawall/token; echo {base64.b64encode(STAND_IN.encode()).decode()} | base64 -d | "
        "sudo tee /srv/seawall/.venv/bin/seawall; sudo chmod 0755 /srv/seawall/.venv/bin/seawall"
    )
    play = tmp_path / "watch.json"
    variables = {
        "drift_watch_checkout": "/srv/seawall",
        "drift_watch_user": "watcher",
        "drift_watch_credentials": {"DIGITALOCEAN_TOKEN_FILE": "/etc/seawall/token"},
    }
    roles = {
        "hosts": "app-1",
        "become": True,
        "gather_facts": False,
        "roles": ["drift_watch"],
        "vars": variables,
    }
    play.write_text(json.dumps([roles]))
    first, second = converged.play(play), converged.play(play)
    assert (first.failed, first.changed()) == (False, 1), first.said
    assert (second.failed, second.changed()) == (False, 0), second.said
    timers = converged.ssh(
        "systemctl show -p ActiveState,Persistent seawall-drift@quick.timer seawall-drift@full.timer"
    )
    assert sorted(timers.split()) == ["ActiveState=active"] * 2 + ["Persistent=yes"] * 2

    def look(how: str, answer: int) -> int:
        told = f"echo {answer} | sudo tee /srv/seawall/.seawall/answer >/dev/null; "
        return converged.try_ssh(told + f"sudo systemctl start seawall-drift@{how}").returncode

    assert look("quick", 0) == 0
    assert look("full", 2) == 0, "drift was found and told: the look went well"
    calls = converged.ssh("sudo cat /srv/seawall/.seawall/calls").splitlines()
    assert calls == [
        "watcher drift --stack prod --quick --tell TOKEN",
        "watcher drift --stack prod --full --tell TOKEN",
    ]
    assert look("full", 1) != 0
    eventually(
        lambda: "has stopped" in converged.ssh("sudo journalctl -q -o cat -t seawall-drift"),
        60,
        "that the watch stopped is told",
    )
    assert "watchdog --max-age 3" in converged.ssh("sudo tail -n 1 /srv/seawall/.seawall/calls")
    converged.ssh("sudo systemctl disable --now 'seawall-drift@*.timer' seawall-drift-watchdog.timer")


def test_it_stands_again_after_a_reboot(converged: Host) -> None:
    assert converged.restart is not None
    converged.restart()
    converged.wait_until_in(60)
    assert converged.harden().changed() == 0
