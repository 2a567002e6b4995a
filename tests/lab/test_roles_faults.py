"""What goes wrong in the middle: a reboot, a killed run, a held apt lock, half a package, lost packets, a full disk.

Each ends the same way: the next run converges, and the host is what an undisturbed one is.
"""

from __future__ import annotations

import contextlib
import os
import random
import shlex
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.lab.roles_host import Host, eventually, given_host
from tests.lab.roles_lab import RolesLab

SOAK = bool(os.environ.get("SEAWALL_SOAK"))
SEED = int(os.environ.get("SEAWALL_SEED") or random.randrange(10**6))
KILLS = int(os.environ.get("SEAWALL_KILLS") or 20)
"""Tasks at which a run is killed, picked by the seed, which is printed; SEAWALL_SEED repeats one."""
pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not SOAK, reason="takes a host apart for half an hour: make soak"),
]

# What the roles manage, and what runs, as text that is the same on a host that is the same. What differs by chance is
# left out: when keys and certificates were made, counters, and apt's and dpkg's own records.
STATE = (
    "cd /; find etc/ssh etc/ufw etc/default/ufw etc/sudoers.d etc/pam.d etc/security etc/apt/apt.conf.d etc/sysctl.d "
    "etc/modprobe.d etc/needrestart etc/nginx etc/rsyslog.d etc/systemd etc/profile.d usr/local/lib/seawall "
    'opt/example-app usr/share/pam-configs etc/seawall home/ops/.ssh ! -name "*.pyc" ! -type d '
    '-printf "%p %m %u %l\\n" | sort; '
    "find etc/ssh etc/ufw etc/sudoers.d etc/pam.d etc/apt/apt.conf.d etc/sysctl.d etc/nginx etc/rsyslog.d "
    "usr/local/lib/seawall -type f | sort | xargs sha256sum; getent passwd; getent group; sshd -T; "
    "nginx -T 2>/dev/null; "
    "sysctl -a -r '^net.ipv4.conf.*(redirects|source_route|rp_filter|martians)' 2>/dev/null; "
    "for unit in ssh ufw nginx rsyslog example-app apt-daily.timer seawall-kernel seawall-integrity.timer; do "
    "systemctl is-active $unit; systemctl is-enabled $unit; done; "
    "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n'; "
    'for save in iptables-save ip6tables-save; do $save -t filter | sed "/^#/d; s/\\[[0-9:]*\\]//"; done'
)

# What a run has to put right again, in places that every role reads. sshd's file keeps its port: whatever is armed
# and put back must let somebody in.
BREAK = (
    "cd /etc; sed -i s/VERBOSE/INFO/ ssh/sshd_config.d/00-seawall.conf; rm -f nginx/conf.d/seawall.conf "
    "apt/apt.conf.d/52seawall-* rsyslog.d/10-seawall.conf systemd/system/example-app.service issue.net "
    "sysctl.d/99-seawall.conf security/pwquality.conf.d/seawall.conf; iptables -I INPUT -p tcp --dport 9998 -j ACCEPT; "
    "systemctl stop apt-daily.timer; rm -f /usr/local/lib/seawall/commit-confirm"
)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Host:
    one = given_host() or request.getfixturevalue("roles").host("app-2")
    first = one.harden()
    assert not first.failed, first.said
    # By its headlines a run is followed; a host as declared has the same as a broken one.
    one.tasks = first.said.count("\nTASK [")
    return one


@pytest.fixture(scope="module")
def undisturbed(host: Host) -> str:
    return as_root(host, STATE)


def as_root(host: Host, command: str) -> str:
    return host.ssh(f"sudo sh -c {shlex.quote(command)}")


def assert_healed(host: Host, undisturbed: str) -> None:
    """The next run converges to the undisturbed state, and nothing half made is left."""
    # A change that was armed when its run died is put back first; the next run waits for that by itself.
    again = host.harden()
    assert not again.failed, again.said
    assert as_root(host, STATE) == undisturbed
    assert as_root(host, "find / -xdev -name '.seawall-*' -o -xdev -path '*/commit-confirm/preparing*'") == ""


def answers(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), 0.3):
        return True
    return False


LISTENER = """[Unit]
DefaultDependencies=no
After=local-fs.target
[Service]
ExecStart=/usr/bin/python3 -m http.server 9000 --directory /run
[Install]
WantedBy=sysinit.target
"""


@contextlib.contextmanager
def listening_early(host: Host) -> Iterator[int]:
    """Something listens from the first moment of a boot, on a port that the cloud firewall admits and ufw does not."""
    unit = "/etc/systemd/system/early.service"
    as_root(host, f"printf %s {shlex.quote(LISTENER)} > {unit}; systemctl -q enable --now early")
    try:
        yield 9000
    finally:
        as_root(host, f"systemctl -q disable --now early; rm {unit}; systemctl daemon-reload")


@contextlib.contextmanager
def probed(address: str, port: int) -> Iterator[list[bool]]:
    """Whether ``port`` answers, asked again and again while the block runs."""
    over, answered = threading.Event(), list[bool]()

    def probe() -> None:
        while not over.is_set():
            answered.append(answers(address, port))

    prober = threading.Thread(target=probe)
    prober.start()
    try:
        yield answered
    finally:
        over.set()
        prober.join()


def test_while_a_host_boots_its_firewall_and_settings_stand_before_its_network(
    host: Host, undisturbed: str
) -> None:
    if host.restart is None:
        pytest.skip("this host cannot be restarted from here")
    address = host.variables["ansible_host"]
    with listening_early(host) as port:
        with probed(address, port) as answered:
            host.restart()
            host.wait_until_in(60)
        as_root(host, "systemctl is-system-running --wait || true")
        assert len(answered) > 5
        assert not any(answered)
        # It would have been seen: it listens, and a firewall with a hole lets the probe in.
        hole = f"INPUT -p tcp --dport {port} -j ACCEPT"
        as_root(host, f"iptables -I {hole}")
        eventually(lambda: answers(address, port), 10, "the probe gets in where it may")
        as_root(host, f"iptables -D {hole}")

    network = int(as_root(host, "systemctl show --value -p InactiveExitTimestampMonotonic systemd-networkd"))
    for unit in ("ufw", "seawall-kernel"):  # which sets what systemd-sysctl does, a container too
        stood = int(as_root(host, f"systemctl show --value -p ActiveEnterTimestampMonotonic {unit}"))
        assert 0 < stood < network, unit
    before_any_network = as_root(host, "systemctl show --value -p After network-pre.target").split()
    assert {"ufw.service", "seawall-kernel.service", "seawall-revert-boot.service"} <= set(before_any_network)
    assert as_root(host, STATE) == undisturbed


@pytest.mark.parametrize("turn", range(KILLS))
def test_a_run_killed_at_any_task_leaves_what_the_next_one_puts_right(
    host: Host, undisturbed: str, turn: int
) -> None:
    chance = random.Random(SEED + turn)
    at, later = chance.randrange(2, host.tasks), chance.uniform(0, 1.5)
    print(f"\nkilled {later:.2f} s into task {at} of {host.tasks} (SEAWALL_SEED={SEED}, turn {turn})")
    as_root(host, BREAK)
    run = host.start()
    assert run.stdout is not None
    seen = 0
    for line in run.stdout:
        seen += line.startswith("TASK [")
        if seen == at:
            break
    time.sleep(later)  # not for anything: a moment picked by the seed
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert seen == at, f"task {at} never came"
    assert_healed(host, undisturbed)


def test_a_held_apt_lock_is_waited_for_and_then_named(host: Host, undisturbed: str) -> None:
    """A package is missing, and another apt works for longer than this run may wait."""
    as_root(host, "dpkg --purge apt-listchanges")
    # dpkg's lock is one of fcntl(2), which flock(1) does not take.
    hold = "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); "
    hold += "open('/run/held', 'w'); time.sleep(10**6)"
    as_root(host, f"systemd-run -q --unit holder python3 -c {shlex.quote(hold)}")
    eventually(lambda: host.try_ssh("test -e /run/held").returncode == 0, 20, "apt's lock is held")
    try:
        run = host.harden(packages_lock_timeout=2)
        assert run.failed
        assert "has held dpkg's lock (/var/lib/dpkg/lock-frontend) for more than 2 s" in run.said
        assert "Traceback" not in run.said
        # Nothing after the packages was begun.
        assert "Who may log in" not in run.said
    finally:
        as_root(host, "systemctl stop holder; rm /run/held")
    assert_healed(host, undisturbed)


def test_a_half_configured_package_is_finished_and_lost_packets_cost_patience_only(
    host: Host, undisturbed: str, request: pytest.FixtureRequest
) -> None:
    """Every twentieth packet is lost, each way, while a broken host is put right."""
    unfinished = "/^Package: needrestart$/,/^$/s/^Status: .*/Status: install ok half-configured/"
    as_root(host, f"sed -i {shlex.quote(unfinished)} /var/lib/dpkg/status; {BREAK}")
    assert "half-configured" in as_root(host, "dpkg-query -W -f '${Status}' needrestart")
    lab: RolesLab | None = None if given_host() else request.getfixturevalue("roles")
    with lab.lossy(5) if lab else contextlib.nullcontext():
        run = host.harden()
    assert not run.failed, run.said
    assert as_root(host, STATE) == undisturbed


def test_a_full_disk_is_named_and_leaves_no_half_state(host: Host, undisturbed: str) -> None:
    as_root(host, BREAK)
    before = as_root(host, STATE)
    # Most of it is only reserved, so that this machine's own disk has not to hold it.
    as_root(host, "fallocate -l $(($(df --output=avail -B1 / | tail -n 1) - (32 << 20))) /full")
    as_root(host, "cat /dev/zero > /full2 2>/dev/null; sync; cat /dev/zero > /full3 2>/dev/null; true")
    try:
        run = host.harden()
        assert run.failed
        assert "No space left on device" in run.said
        assert "Traceback" not in run.said
        assert as_root(host, STATE) == before
    finally:
        as_root(host, "rm -f /full /full2 /full3")
    assert_healed(host, undisturbed)


def test_after_all_that_nothing_is_left_to_do(host: Host) -> None:
    assert host.harden().changed() == 0
