"""The whole playbook on three new droplets: check mode tells the truth, one run converges, the next changes nothing."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.lab import roles_lab
from tests.lab.roles_host import Host, eventually

EVERYONE = ("--limit", "all")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[roles_lab.RolesLab]:
    if os.geteuid() != 0 or not shutil.which("systemd-nspawn"):
        pytest.skip("machines need root and systemd-nspawn")
    with roles_lab.running(tmp_path_factory.mktemp("roles")) as running:
        yield running


@pytest.fixture(scope="module")
def app(lab: roles_lab.RolesLab) -> Host:
    return Host("app-1", lab.inventory, lab.directory, restart=lambda: lab.restart("app-1"))


@pytest.fixture(scope="module")
def logs(lab: roles_lab.RolesLab) -> Host:
    return Host("logs-1", lab.inventory, lab.directory)


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


def test_the_one_use_host_key_is_refused(converged: Host, lab: roles_lab.RolesLab) -> None:
    """Neither served by the host nor trusted by the controller any longer."""
    alias = converged.variables["seawall_host_key_alias"]
    one_use = converged.variables["seawall_first_contact_host_key"]
    assert one_use not in (lab.directory / "known_hosts").read_text()
    only_old = lab.directory / "only-old"
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
    argv += ["-o", "StrictHostKeyChecking=yes", "-i", str(lab.key), "-p", "2222"]
    argv += [f"ops@{converged.variables['ansible_host']}", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 255
    assert "verification failed" in done.stderr


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


def test_it_stands_again_after_a_reboot(converged: Host) -> None:
    assert converged.restart is not None
    converged.restart()
    converged.wait_until_in(60)
    assert converged.harden().changed() == 0
