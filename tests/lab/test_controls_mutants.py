"""A control that cannot fail proves nothing: settings broken on a hardened droplet, one at a time, as an intruder or a
tired administrator would; exactly the controls that speak of each must fail, and none once it is put back.

On droplets of a lab of its own, hardened once: containers, and in the soak a virtual machine for what takes a kernel of
its own. With SEAWALL_TEST_HOSTS_FILE (what `ansible-inventory --list` prints, a web host and a collector), on hardened
hosts you have.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import packages
from seawall import findings
from seawall.connection import connect, routes
from seawall.findings import Finding, Status
from seawall.places import CHECKOUT
from tests.lab import mutants
from tests.lab.mutants import (
    DROP_IN,
    RELAY,
    RELAY_AGAIN,
    RELOAD_NGINX,
    RELOAD_SSHD,
    RESTART_RSYSLOG,
    SITE,
    Mutant,
    edited,
    mutant,
    sshd,
)

pytestmark = pytest.mark.timeout(1800)

STRANGER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIntruderIntruderIntruderIntruderIntruderIntru stranger"
OWN_KEYS = "/home/ops/.ssh/authorized_keys"
RESTART_FAIL2BAN = (
    "systemctl restart fail2ban; timeout 60 sh -c 'until fail2ban-client status sshd; do sleep 0.2; done'"
)
"""Over when it watches sshd: systemd takes it for running some seconds before."""
LISTENER = "systemd-run -q --unit=stranger python3 -m http.server 9000 --directory /run/sshd"

MUTANTS = [
    sshd("root may log in", "PermitRootLogin yes", "sshd-root-login"),
    sshd("passwords count", "PasswordAuthentication yes", "sshd-password-login"),
    sshd("a weak MAC", "MACs hmac-sha2-512-etm@openssh.com,hmac-sha1", "sshd-macs"),
    sshd("ports are forwarded", "AllowTcpForwarding yes", "sshd-tcp-forwarding"),
    sshd("logins from anywhere", "Match Address *\n PubkeyAuthentication yes", "sshd-trusted-ranges"),
    mutant(
        "sshd was not told of its new file",
        f"umask 022; echo X11Forwarding yes > {DROP_IN}",
        f"rm {DROP_IN}; {RELOAD_SSHD}",
        "sshd-x11-forwarding",
        "sshd-current",
    ),
    mutant(
        "the file was put back, the daemon was not",
        f"umask 022; echo 'MACs hmac-sha1' > {DROP_IN}; {RELOAD_SSHD}; rm {DROP_IN}",
        RELOAD_SSHD,
        "sshd-macs",
        "sshd-algorithms-served",
    ),
    mutant(
        "a host key others can read",
        "chmod 644 /etc/ssh/ssh_host_rsa_key",
        "chmod 600 /etc/ssh/ssh_host_rsa_key",
        "sshd-host-key-files",
    ),
    mutant(
        "a key by hand",
        f"cp -p {OWN_KEYS} /root/keys.kept; echo {shlex.quote(STRANGER)} >> {OWN_KEYS}",
        f"cat /root/keys.kept > {OWN_KEYS}; rm /root/keys.kept",
        "accounts-authorized-keys",
    ),
    mutant(
        "a second root",
        "useradd -o -u 0 -g nogroup -s /bin/bash -M toor",
        "sed -i /^toor:/d /etc/passwd /etc/shadow",
        "accounts-uid-zero",
        "accounts-unique-uids",
    ),
    mutant(
        "root has a password",
        "usermod -p '$6$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' root",
        "usermod -p '*' root",
        "accounts-root-password",
    ),
    mutant(
        "a sudo rule by hand",
        "umask 226; echo 'games ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/zz-games",
        "rm /etc/sudoers.d/zz-games",
        "sudo-grants",
        "sudo-without-password",
    ),
    edited(
        "shells stay open", "/etc/profile.d/seawall.sh", "s/TMOUT=900/TMOUT=7200/", "true", "shell-timeout"
    ),
    mutant(
        "a port opened by hand",
        "iptables -I ufw-user-input -p tcp --dport 8443 -j ACCEPT",
        "iptables -D ufw-user-input -p tcp --dport 8443 -j ACCEPT",
        "ufw-rules-in",
        "ufw-world",
    ),
    mutant("everything goes out", "iptables -P OUTPUT ACCEPT", "iptables -P OUTPUT DROP", "ufw-outgoing"),
    mutant("IPv6 is forgotten", "ip6tables -P INPUT ACCEPT", "ip6tables -P INPUT DROP", "ufw-ipv6"),
    mutant(
        "a rule before ufw's",
        "iptables -I INPUT -s 192.0.2.1 -j ACCEPT",
        "iptables -D INPUT -s 192.0.2.1 -j ACCEPT",
        "ufw-first",
    ),
    mutant("a stranger listens", LISTENER, "systemctl stop stranger", "services-listeners", "app-local"),
    edited(
        "no upgrades",
        "/etc/apt/apt.conf.d/20auto-upgrades",
        's/Unattended-Upgrade "1"/Unattended-Upgrade "0"/',
        "true",
        "upgrades-daily",
    ),
    mutant(
        "upgrades paused",
        "systemctl stop apt-daily-upgrade.timer",
        "systemctl start apt-daily-upgrade.timer",
        "upgrades-timers",
    ),
    mutant(
        "what lies in /tmp runs",
        "mount -o remount,bind,exec /tmp",
        "mount -o remount,bind,noexec /tmp",
        "mounts-temporary",
    ),
    edited("a module is allowed again", "/etc/modprobe.d/seawall.conf", "/sctp/d", "true", "modules-denied"),
    mutant(
        "cores are dumped",
        "echo '* hard core unlimited' > /etc/security/limits.d/zz.conf",
        "rm /etc/security/limits.d/zz.conf",
        "core-dumps",
    ),
    mutant(
        "the kernel is forgotten at boot",
        "systemctl -q disable seawall-kernel.service",
        "systemctl -q enable seawall-kernel.service",
        "kernel-at-boot",
    ),
    edited("the digests are rewritten", "/var/lib/aide/aide.db", "s/ 0 / 1 /", "true", "integrity-database"),
    mutant(
        "nobody compares files any more",
        "systemctl stop seawall-integrity.timer",
        "systemctl start seawall-integrity.timer",
        "integrity-daily",
    ),
    mutant(
        "the digests are everybody's",
        "chmod 644 /var/lib/aide/aide.db",
        "chmod 600 /var/lib/aide/aide.db",
        "integrity-private",
    ),
    mutant("a package held", "apt-mark hold openssl", "apt-mark unhold openssl", "upgrades-blacklist"),
    edited(
        "logs go elsewhere",
        RELAY,
        "s/journal-relay [^ ]* /journal-relay 192.0.2.9 /",
        RELAY_AGAIN,
        "logs-arrive",
        "rsyslog-connected",
        "rsyslog-tls",
    ),
    edited(
        "any collector of the kit's will do",
        RELAY,
        "s# 6514 [^ ]* # 6514 app-1 #",
        RELAY_AGAIN,
        "logs-arrive",
        "rsyslog-connected",
        "rsyslog-tls",
    ),
    edited(
        "a CBC suite",
        SITE,
        "s/ssl_ciphers /ssl_ciphers ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:/",
        RELOAD_NGINX,
        "tls-suites",
    ),
    edited(
        "nginx was not told",
        SITE,
        "s/server_tokens off;/server_tokens on;/",
        "true",
        "nginx-current",
        healed=RELOAD_NGINX,
    ),
    edited("one kind of key", SITE, "/nginx-rsa/d", RELOAD_NGINX, "tls-both-keys"),
    edited("no request limit", SITE, "/limit_/d", RELOAD_NGINX, "nginx-request-limits"),
    edited("tickets", SITE, "s/ssl_session_tickets off;//", RELOAD_NGINX, "tls-tickets"),
    edited(
        "anybody's forwarded address",
        SITE,
        "s#set_real_ip_from .*;#set_real_ip_from 0.0.0.0/0;#",
        RELOAD_NGINX,
        "nginx-forwarded",
    ),
    mutant(
        "the application is down",
        "systemctl stop example-app",
        "systemctl start example-app",
        "app-answers",
        "app-unprivileged",
    ),
    edited(
        "logs are kept a month",
        "/etc/seawall/archive.json",
        's/"keep_days": 400/"keep_days": 30/',
        "true",
        "collector-retention",
        on="collectors",
    ),
    mutant(
        "the archive is open",
        "touch /var/log/remote/$(hostname)/open.log; chmod 644 /var/log/remote/$(hostname)/open.log",
        "rm /var/log/remote/$(hostname)/open.log",
        "collector-files",
        on="collectors",
    ),
    mutant(
        "a folder of nobody's",
        "install -d -m 750 /var/log/remote/unknown",
        "rmdir /var/log/remote/unknown",
        "collector-filed-by-peer",
        on="collectors",
    ),
    edited(
        "classic syslog is taken",
        "/etc/rsyslog.conf",
        '$a module(load="imudp")\\ninput(type="imudp" port="514")',
        RESTART_RSYSLOG,
        "collector-classic",
        "collector-listens",
        "services-listeners",
        on="collectors",
    ),
    edited("guessing goes on", "/etc/pam.d/common-auth", "s/deny=10/deny=100/", "true", "passwords-lockout"),
    edited(
        "short passwords",
        "/etc/security/pwquality.conf.d/seawall.conf",
        "s/^minlen.*/minlen = 6/",
        "true",
        "passwords-quality",
    ),
    edited(
        "old passwords again",
        "/etc/pam.d/common-password",
        "s/remember=5/remember=1/",
        "true",
        "passwords-history",
    ),
    edited("a quick hash", "/etc/pam.d/common-password", "s/yescrypt/md5/", "true", "passwords-hashed"),
    edited(
        "files for everybody",
        "/etc/pam.d/common-session",
        "s/umask=027/umask=022/",
        "true",
        "session-umask",
    ),
    mutant(
        "somebody who left",
        "useradd -m -s /bin/bash idle; chage -d 2020-01-01 idle",
        "userdel -r idle",
        "accounts-people",
        "accounts-unused",
    ),
    mutant(
        "ssh without a limit",
        "iptables-save > /root/firewall.kept; "
        "iptables -S ufw-before-input | sed -n '/hashlimit/s/^-A/-D/p' | xargs iptables",
        "iptables-restore < /root/firewall.kept; rm /root/firewall.kept",
        "ufw-ssh-limit",
    ),
    edited(
        "ufw sets the kernel",
        "/etc/default/ufw",
        "s,^IPT_SYSCTL=.*,IPT_SYSCTL=/etc/ufw/sysctl.conf,",
        "true",
        "ufw-sysctl",
    ),
    mutant(
        "sshd by its socket after a reboot",
        "systemctl enable ssh.socket",
        "systemctl disable ssh.socket",
        "sshd-socket-activation",
    ),
    mutant(
        "failed upgrades are nobody's",
        "mv /etc/systemd/system/apt-daily-upgrade.service.d /root/upgrade.kept; systemctl daemon-reload",
        "mv /root/upgrade.kept /etc/systemd/system/apt-daily-upgrade.service.d; systemctl daemon-reload",
        "upgrades-failures",
    ),
    mutant(
        "upgrades without proof",
        "touch -d '5 days ago' /var/lib/seawall/upgrades-proof",
        "touch /var/lib/seawall/upgrades-proof",
        "upgrades-proof",
    ),
    mutant(
        "upgraded long ago",
        "cd /var/lib/apt/periodic; cp -p upgrade-stamp kept 2>/dev/null || :; touch -d '5 days ago' upgrade-stamp",
        "cd /var/lib/apt/periodic; rm upgrade-stamp; mv kept upgrade-stamp 2>/dev/null || :",
        "upgrades-last",
    ),
    mutant("cron is everybody's", "chmod 755 /etc/cron.d", "chmod 700 /etc/cron.d", "cron-private"),
    mutant(
        "sshd's settings are everybody's",
        "chmod 644 /etc/ssh/sshd_config",
        f"chmod 600 /etc/ssh/sshd_config; {RELOAD_SSHD}",
        "sshd-configuration-private",
        "sshd-current",
    ),
    mutant(
        "everybody compiles",
        "chmod 755 /usr/bin/*-linux-gnu-as",
        "chmod 750 /usr/bin/*-linux-gnu-as",
        "compilers-private",
    ),
    mutant(
        "upgrades loosen modes",
        "mv /etc/apt/apt.conf.d/70seawall-permissions /root/hook.kept",
        "mv /root/hook.kept /etc/apt/apt.conf.d/70seawall-permissions",
        "permissions-after-upgrades",
    ),
    mutant(
        "games has a crontab",
        "echo games >> /etc/cron.allow",
        "sed -i /games/d /etc/cron.allow",
        "cron-users",
    ),
    mutant(
        "guessing is free",
        "systemctl stop fail2ban",
        RESTART_FAIL2BAN,
        "fail2ban-running",
        "fail2ban-spares",
    ),
    edited(
        "administrators are shut out",
        "/etc/fail2ban/jail.local",
        "s|^ignoreip.*|ignoreip = 127.0.0.0/8|",
        RESTART_FAIL2BAN,
        "fail2ban-spares",
    ),
    mutant("a home is open", "chmod 755 /home/ops", "chmod 750 /home/ops", "accounts-homes"),
    mutant("a key runs out", "chage -M 90 ops", "chage -M -1 ops", "accounts-ageless"),
    edited(
        "passwords for ever",
        "/etc/login.defs",
        "s/^PASS_MAX_DAYS.*/PASS_MAX_DAYS 99999/",
        "true",
        "passwords-ageing",
    ),
    edited("a quick second hash", "/etc/login.defs", "/^SHA_CRYPT_MIN/d", "true", "passwords-rounds"),
    edited("new homes are open", "/etc/login.defs", "s/^HOME_MODE.*/HOME_MODE 0755/", "true", "accounts-new"),
    edited(
        "one folder for all temporary files",
        "/etc/pam.d/common-session",
        "/pam_tmpdir/d",
        "true",
        "session-temporary",
    ),
    edited("root dumps cores", "/etc/security/limits.d/seawall.conf", "/^root/d", "true", "core-dumps"),
    mutant(
        "what lies among devices runs",
        "mount -o remount,bind,exec /dev",
        "mount -o remount,bind,nosuid,noexec /dev",
        "mounts-devices",
    ),
    edited(
        "an older TLS for other sites",
        "/etc/nginx/nginx.conf",
        "s/ssl_protocols /ssl_protocols TLSv1.1 /",
        "systemctl reload nginx",
        "nginx-tls-everywhere",
    ),
    edited(
        "health checks hide requests",
        SITE,
        "s/access_log .*if=.*;/access_log off;/",
        "systemctl reload nginx",
        "nginx-access-log",
    ),
    mutant(
        "nginx leaves its sandbox",
        "mv /etc/systemd/system/nginx.service.d /root/sandbox.kept; systemctl daemon-reload; systemctl restart nginx",
        "mv /root/sandbox.kept /etc/systemd/system/nginx.service.d; systemctl daemon-reload; systemctl restart nginx",
        "nginx-sandbox",
    ),
    mutant(
        "packages are not compared",
        "dpkg --remove --force-depends debsums >/dev/null",
        "apt-get -qq install -y --no-install-recommends debsums >/dev/null",
        "integrity-packages",
    ),
    edited(
        "old libraries run on",
        "/etc/needrestart/conf.d/seawall.conf",
        "s/= 'a'/= 'i'/",
        "true",
        "upgrades-restart",
    ),
]

EVERY = [*MUTANTS, *mutants.EVERY]
SOAK = bool(os.environ.get("SEAWALL_SOAK"))
TRIED = EVERY if SOAK else MUTANTS[::2]
"""Every second of those above in each run of the tests; all there are where there is time (`make soak`)."""


class Hardened:
    """A web host and the collector, looked at by all controls and broken by hand."""

    def __init__(self, hosts_file: Path, folder: Path, **environment: str) -> None:
        self.hosts_file, self.folder, self.environment = hosts_file, folder, environment
        listed = json.loads(hosts_file.read_text())
        self.names = {group: sorted(listed[group]["hosts"])[0] for group in ("web", "collectors")}
        variables = {name: listed["_meta"]["hostvars"][name] for name in self.names.values()}
        self.variables = variables
        self.backends = connect(routes(variables), ThreadPoolExecutor(4))

    def as_root(self, group: str, command: str) -> None:
        name = self.names[group]
        for key, value in self.variables[name].items():
            command = command.replace(f"@{key}@", str(value))
        answer = self.backends[name].run(f"set -e; {command}", fresh=True)
        assert answer.rc == 0, f"{command}: {answer.stdout}{answer.stderr}"

    def findings(self) -> list[Finding]:
        """What all controls say of both hosts now."""
        report = self.folder / "findings.jsonl"
        report.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--tb=no",
            "-p",
            "no:cacheprovider",
            "tests/controls",
        ]
        command += [f"--host={name}" for name in self.names.values()]
        command += ["--hosts-file", str(self.hosts_file), "--findings", str(report)]
        ended = subprocess.run(
            command,
            cwd=CHECKOUT,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert report.exists(), ended.stdout + ended.stderr
        return findings.read(report)


def wrong(found: list[Finding]) -> set[tuple[str, str]]:
    """Which controls did not pass, on which host; a control that broke counts too."""
    return {
        (f.control, f.subject.name) for f in found if f.status in (Status.FAIL, Status.ERROR, Status.UNKNOWN)
    }


@contextlib.contextmanager
def hardened(folder: Path, own_kernel: frozenset[str] = frozenset()) -> Iterator[Hardened]:
    """A web host and a collector, hardened; those of ``own_kernel`` are virtual machines."""
    if given := os.environ.get("SEAWALL_TEST_HOSTS_FILE"):
        yield Hardened(Path(given), folder)
        return
    if os.geteuid() != 0 or not shutil.which("systemd-nspawn"):
        pytest.skip("machines need root and systemd-nspawn")
    from tests.lab import roles_lab
    from tests.lab.roles_host import Host

    with roles_lab.running(folder, {"app-1": "web", "logs-1": "logs"}, own_kernel) as lab:
        first = Host("app-1", lab.inventory, lab.directory).harden("--limit", "all")
        assert not first.failed, first.said
        yield Hardened(_listed(lab.inventory, folder), folder, SEAWALL_DIR=str(lab.directory))


def _listed(inventory: Path, folder: Path) -> Path:
    """The lab's inventory in the form that Ansible lists one, with what a hardened host of each kind listens on."""
    said = json.loads(inventory.read_text())["all"]
    for variables in said["hosts"].values():
        ports = [2222, 443 if variables["seawall_serves"] == ["web"] else 6514]
        variables["expected_listeners"] = [{"protocol": "tcp", "port": port} for port in ports]
    groups = {name: {"hosts": sorted(held["hosts"])} for name, held in said["children"].items()}
    path = folder / "hosts.json"
    path.write_text(
        json.dumps({"_meta": {"hostvars": said["hosts"]}, "all": {"children": sorted(groups)}, **groups})
    )
    return path


def assert_whole(hosts: Hardened) -> None:
    """Every control passes: only there can one tell by a failure."""
    found = hosts.findings()
    assert [
        (f.control, f.subject.name, f.seen, f.reason)
        for f in found
        if (f.control, f.subject.name) in wrong(found)
    ] == []
    assert sum(f.status is Status.PASS for f in found) >= 120


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hardened]:
    with hardened(tmp_path_factory.mktemp("controls")) as hosts:
        assert_whole(hosts)
        yield hosts


@pytest.fixture(scope="module")
def own_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hardened]:
    """As ``whole``, the web host with a kernel of its own."""
    packages.install(of=packages.OWN_KERNEL)
    with hardened(tmp_path_factory.mktemp("own-kernel"), frozenset({"app-1"})) as hosts:
        if not hosts.backends[hosts.names["web"]].run("systemd-detect-virt --container --quiet").rc:
            pytest.skip("the web host is a container, whose kernel is its host's")
        assert_whole(hosts)
        yield hosts


def named(mutant: Mutant) -> str:
    return mutant.name.replace(" ", "-")


def assert_told(hosts: Hardened, mutant: Mutant) -> None:
    name = hosts.names[mutant.on]
    try:
        hosts.as_root(mutant.on, mutant.broken)
        assert wrong(hosts.findings()) == {(control, name) for control in mutant.controls}
    finally:
        hosts.as_root(mutant.on, mutant.healed)


@pytest.mark.parametrize("mutant", [each for each in TRIED if not each.own_kernel], ids=named)
def test_a_broken_setting_fails_its_controls_and_no_other(whole: Hardened, mutant: Mutant) -> None:
    assert_told(whole, mutant)


def test_after_all_that_everything_passes_again(whole: Hardened) -> None:
    assert_whole(whole)


own_kernels = pytest.mark.skipif(not SOAK, reason="make soak: a virtual machine's processor is emulated")


@own_kernels
@pytest.mark.parametrize("mutant", [each for each in TRIED if each.own_kernel], ids=named)
def test_a_broken_kernel_fails_its_controls_and_no_other(own_kernel: Hardened, mutant: Mutant) -> None:
    assert_told(own_kernel, mutant)


@own_kernels
def test_after_all_that_the_kernel_is_whole_again(own_kernel: Hardened) -> None:
    assert_whole(own_kernel)
