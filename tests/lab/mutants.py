"""Settings broken on purpose, one at a time: each with what breaks it, what heals it, and the controls that must tell.

What is here and what roles manage is held together by tests/unit/test_controls_mutants.py: every control is some
mutant's, every keyword of sshd's and every kernel setting has one of its own, or ``WITHOUT`` says why not.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

DROP_IN = "/etc/ssh/sshd_config.d/00-a.conf"  # sorts before Seawall's, so it wins
LAST_DROP_IN = "/etc/ssh/sshd_config.d/zz.conf"  # for the few keywords whose last value counts, not the first
RELOAD_SSHD = "systemctl reset-failed ssh; systemctl restart ssh"
"""By a restart, which is over when sshd listens again; and as often as mutants like."""
SITE = "/etc/nginx/conf.d/seawall.conf"
RELOAD_NGINX = (
    "systemctl reset-failed nginx; systemctl restart nginx"  # no worker of before answers any longer
)
RESTART_RSYSLOG = "systemctl reset-failed rsyslog; systemctl restart rsyslog"
RSYSLOG = "/etc/rsyslog.d/10-seawall.conf"
COLLECTOR = "/etc/rsyslog.d/20-seawall-collector.conf"
RELAY = "/etc/systemd/system/seawall-journal.service"
RELAY_AGAIN = "systemctl daemon-reload; systemctl restart seawall-journal"


@dataclass(frozen=True)
class Mutant:
    """One setting broken: on the first host of ``on``, by ``broken``, healed by ``healed``, told by ``controls``."""

    name: str
    on: str
    broken: str
    healed: str
    controls: frozenset[str]
    own_kernel: bool = False
    """Only a host with a kernel of its own can be broken, or tell, so."""


def mutant(
    name: str, broken: str, healed: str, *controls: str, on: str = "web", own_kernel: bool = False
) -> Mutant:
    return Mutant(name, on, broken, healed, frozenset(controls), own_kernel)


def sshd(name: str, line: str, *controls: str, drop_in: str = DROP_IN) -> Mutant:
    """A drop-in that sorts first, which sshd has read."""
    broken = f"umask 022; echo {shlex.quote(line)} > {drop_in}; {RELOAD_SSHD}"
    return mutant(name, broken, f"rm {drop_in}; {RELOAD_SSHD}", *controls)


def edited(
    name: str,
    path: str,
    change: str,
    then: str,
    *controls: str,
    on: str = "web",
    healed: str | None = None,
    own_kernel: bool = False,
) -> Mutant:
    """A line of a file changed by sed, and ``then`` whatever makes it count; ``healed`` where healing takes more."""
    kept = f"/root/{Path(path).name}.kept"
    unchanged = f"if cmp -s {path} {kept}; then echo {path} was so already; exit 1; fi"
    broken = f"cp -p {path} {kept}; sed -i {shlex.quote(change)} {path}; {unchanged}; {then}"
    back = f"cp -p {kept} {path}; rm {kept}; {healed or then}"
    return mutant(name, broken, back, *controls, on=on, own_kernel=own_kernel)


def keyword(line: str, *controls: str, drop_in: str = DROP_IN) -> Mutant:
    """One keyword of sshd's set otherwise; named by it."""
    return sshd(f"sshd: {line}", line, *controls, drop_in=drop_in)


def kernel(setting: str, value: int, *controls: str) -> Mutant:
    """One setting of the running kernel, which the file still has right. A container may set none. Some settings
    change others, so all is applied anew afterwards."""
    heal = "/usr/local/lib/seawall/kernel apply"
    return mutant(f"kernel: {setting}", f"sysctl -qw {setting}={value}", heal, *controls, own_kernel=True)


def package(name: str, *controls: str) -> Mutant:
    """A package of that name (an empty one) is installed."""
    control = f"Package: {name}\nVersion: 99\nArchitecture: all\nMaintainer: nobody\nDescription: a mutant\n"
    make = (
        f"umask 022; mkdir -p /root/deb/DEBIAN; printf %s {shlex.quote(control)} > /root/deb/DEBIAN/control; "
    )
    make += "dpkg-deb -b /root/deb /root/mutant.deb >/dev/null"
    return mutant(
        f"{name} is installed",
        f"{make}; dpkg -i /root/mutant.deb >/dev/null; rm -r /root/deb /root/mutant.deb",
        f"dpkg -P {name} >/dev/null",
        *controls,
    )


def firewall(name: str, command: str, *controls: str, on: str = "web") -> Mutant:
    """The running IPv4 rule set changed, and put back whole."""
    kept = "/root/firewall.kept"
    return mutant(
        name, f"iptables-save > {kept}; {command}", f"iptables-restore < {kept}; rm {kept}", *controls, on=on
    )


def files_kept(*paths: str) -> tuple[str, str]:
    """Commands that keep files and that put them back."""
    names = " ".join(paths)
    return f"tar -cPf /root/kept.tar {names}", "tar -xPf /root/kept.tar; rm /root/kept.tar"


ACCOUNTS_KEPT, ACCOUNTS_BACK = files_kept("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow")
HASH = "'$6$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"


def account(name: str, command: str, *controls: str) -> Mutant:
    """The account databases changed, and put back."""
    return mutant(name, f"{ACCOUNTS_KEPT}; {command}", ACCOUNTS_BACK, *controls)


def upgrades(name: str, line: str, *controls: str) -> Mutant:
    """A setting of apt's in a file that sorts last."""
    path = "/etc/apt/apt.conf.d/zz-mutant"
    return mutant(name, f"umask 022; echo {shlex.quote(line)} > {path}", f"rm {path}", *controls)


SSHD = [
    keyword("Port 2022", "sshd-port", "services-listeners"),
    keyword("AddressFamily inet", "sshd-addresses"),
    mutant(
        "sshd: HostKey of ECDSA",
        f"ssh-keygen -q -t ecdsa -N '' -f /etc/ssh/mutant; umask 022; "
        f"echo HostKey /etc/ssh/mutant > {DROP_IN}; {RELOAD_SSHD}",
        f"rm {DROP_IN} /etc/ssh/mutant*; {RELOAD_SSHD}",
        "sshd-host-key-strength",
    ),
    keyword("KexAlgorithms curve25519-sha256,ecdh-sha2-nistp256", "sshd-key-exchange"),
    keyword("Ciphers aes256-ctr,aes128-cbc", "sshd-ciphers"),
    keyword("HostKeyAlgorithms ssh-ed25519,rsa-sha2-512,ssh-rsa", "sshd-host-key-algorithms"),
    keyword("PubkeyAcceptedAlgorithms ssh-ed25519,ssh-rsa", "sshd-user-key-algorithms"),
    keyword("CASignatureAlgorithms ssh-ed25519,ssh-rsa", "sshd-user-key-algorithms"),
    keyword("RequiredRSASize 1024", "sshd-user-key-algorithms"),
    keyword("AllowGroups games", "sshd-groups"),
    keyword("AuthenticationMethods any", "sshd-methods-offered"),
    keyword("KbdInteractiveAuthentication yes", "sshd-keyboard-interactive"),
    keyword("PermitEmptyPasswords yes", "sshd-empty-passwords"),
    keyword("HostbasedAuthentication yes", "sshd-hostbased"),
    keyword("IgnoreRhosts no", "sshd-rhosts"),
    keyword("GSSAPIAuthentication yes", "sshd-gssapi"),
    keyword("PermitUserEnvironment yes", "sshd-user-environment"),
    keyword("AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2", "sshd-key-files"),
    keyword("StrictModes no", "sshd-strict-modes"),
    keyword("AllowAgentForwarding yes", "sshd-agent-forwarding"),
    keyword("AllowStreamLocalForwarding yes", "sshd-stream-forwarding"),
    keyword("GatewayPorts yes", "sshd-tcp-forwarding"),
    keyword("PermitTunnel yes", "sshd-tunnels"),
    keyword("Compression yes", "sshd-compression"),
    keyword("LoginGraceTime 120", "sshd-login-grace"),
    keyword("MaxAuthTries 10", "sshd-auth-tries"),
    keyword("MaxSessions 100", "sshd-sessions"),
    keyword("MaxStartups 100:30:200", "sshd-startups", drop_in=LAST_DROP_IN),
    keyword("PerSourceMaxStartups none", "sshd-startups", drop_in=LAST_DROP_IN),
    keyword("ClientAliveInterval 0", "sshd-dead-peers"),
    keyword("ClientAliveCountMax 0", "sshd-dead-peers"),
    keyword("TCPKeepAlive yes", "sshd-dead-peers"),
    keyword("UseDNS yes", "sshd-names"),
    keyword("LogLevel INFO", "sshd-log-level"),
    keyword("SyslogFacility USER", "sshd-log-level"),
    keyword("Banner none", "sshd-banner"),
    keyword("PrintMotd yes", "sshd-motd"),
    keyword("PrintLastLog no", "sshd-last-login"),
    keyword("DebianBanner yes", "sshd-version"),
    mutant(
        "sshd does not start at boot", "systemctl -q disable ssh", "systemctl -q enable ssh", "sshd-running"
    ),
    mutant(
        "sshd's command line overrules its file",
        "mkdir -p /etc/systemd/system/ssh.service.d; printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/sshd -D -o "
        "MaxAuthTries=4\\n' > /etc/systemd/system/ssh.service.d/mutant.conf; systemctl daemon-reload; "
        "systemctl restart ssh",
        "rm /etc/systemd/system/ssh.service.d/mutant.conf; systemctl daemon-reload; systemctl restart ssh",
        "sshd-command-line",
    ),
    mutant(
        "others write sshd's configuration",
        "chmod 666 /etc/ssh/sshd_config.d/00-seawall.conf",
        f"chmod 644 /etc/ssh/sshd_config.d/00-seawall.conf; {RELOAD_SSHD}",
        "sshd-config-files",
        "sshd-current",
    ),
    mutant(
        "the one-use key lies about",
        "echo '@seawall_first_contact_host_key@' > /etc/ssh/ssh_host_mutant_key.pub",
        f"rm /etc/ssh/ssh_host_mutant_key.pub; {RELOAD_SSHD}",
        "sshd-first-contact-key",
    ),
]

ROUTING, REDIRECTS, SPOOFING, FLOODS = (
    "kernel-routing",
    "kernel-redirects",
    "kernel-spoofing",
    "kernel-floods",
)

KERNEL = [
    kernel("net.ipv4.ip_forward", 1, ROUTING),
    kernel("net.ipv6.conf.all.forwarding", 1, ROUTING),
    *(kernel(f"net.ipv4.conf.{each}.send_redirects", 1, ROUTING) for each in ("all", "default")),
    *(
        kernel(f"net.{family}.conf.{each}.{setting}", 1, REDIRECTS)
        for family, setting in (
            ("ipv4", "accept_redirects"),
            ("ipv6", "accept_redirects"),
            ("ipv4", "secure_redirects"),
            ("ipv4", "accept_source_route"),
            ("ipv6", "accept_source_route"),
        )
        for each in ("all", "default")
    ),
    *(kernel(f"net.ipv6.conf.{each}.accept_ra", 1, "kernel-advertisements") for each in ("all", "default")),
    *(
        kernel(f"net.ipv4.conf.{each}.{setting}", 0, SPOOFING)
        for setting in ("rp_filter", "log_martians")
        for each in ("all", "default")
    ),
    *(
        kernel(f"net.ipv4.{setting}", 0, FLOODS)
        for setting in (
            "icmp_echo_ignore_broadcasts",
            "icmp_ignore_bogus_error_responses",
            "tcp_syncookies",
            "tcp_rfc1337",
        )
    ),
    *(
        kernel(setting, value, control)
        for setting, value, control in (
            ("net.core.bpf_jit_harden", 0, "kernel-interfaces"),
            ("kernel.sysrq", 1, "kernel-interfaces"),
            ("vm.unprivileged_userfaultfd", 1, "kernel-interfaces"),
            ("dev.tty.ldisc_autoload", 1, "kernel-interfaces"),
            ("kernel.randomize_va_space", 1, "kernel-memory"),
            ("kernel.yama.ptrace_scope", 1, "kernel-memory"),
            ("kernel.dmesg_restrict", 0, "kernel-memory"),
            ("kernel.kptr_restrict", 0, "kernel-memory"),
            ("kernel.perf_event_paranoid", 2, "kernel-memory"),
            ("vm.mmap_min_addr", 4096, "kernel-memory"),
            ("fs.protected_hardlinks", 0, "kernel-links"),
            ("fs.protected_symlinks", 0, "kernel-links"),
            ("fs.protected_fifos", 0, "kernel-links"),
            ("fs.protected_regular", 0, "kernel-links"),
            ("fs.suid_dumpable", 1, "core-dumps-kernel"),
        )
    ),
    mutant(
        "kernel: kernel.core_pattern",
        "sysctl -qw kernel.core_pattern=core",
        "/usr/local/lib/seawall/kernel apply",
        "core-dumps-kernel",
        own_kernel=True,
    ),
    mutant(
        "a denied module is loaded",
        "modprobe --ignore-install udf",
        "modprobe -r udf",
        "modules-loaded",
        own_kernel=True,
    ),
]

ACCOUNTS = [
    account("another in root's group", "useradd -r -M -g 0 -s /usr/sbin/nologin zero", "accounts-gid-zero"),
    account(
        "one name twice",
        "echo games:x:64998:60::/nonexistent:/usr/sbin/nologin >> /etc/passwd",
        "accounts-unique-names",
    ),
    account("one group number twice", "echo twin:x:60: >> /etc/group", "accounts-unique-groups"),
    account(
        "an account of no group", "sed -i '/^games:/s/:60:/:64997:/' /etc/passwd", "accounts-groups-exist"
    ),
    account("a stranger may log in", "gpasswd -a games sshusers >/dev/null", "accounts-login-group"),
    account("a stranger reads the logs", "gpasswd -a games adm >/dev/null", "accounts-root-groups"),
    account(
        "the image's account is back",
        "useradd -M -s /bin/bash -p '*' debian",
        "accounts-vendor",
        "accounts-people",
    ),
    account("a service has a shell", "usermod -s /bin/bash games", "accounts-service-shells"),
    account("a service has a password", f"usermod -p {HASH} games", "accounts-service-passwords"),
    account(
        "an empty password", "usermod -p '' games", "accounts-empty-passwords", "accounts-service-passwords"
    ),
    account("a hash in passwd", "sed -i 's/^games:x:/games:*:/' /etc/passwd", "accounts-shadowed"),
    account("an administrator has a password", f"usermod -p {HASH} ops", "accounts-no-passwords"),
    mutant(
        "one key, two owners",
        "install -d -m 700 /root/.ssh; cp ~ops/.ssh/authorized_keys /root/.ssh/",
        "rm /root/.ssh/authorized_keys",
        "accounts-authorized-keys",
        "accounts-shared-keys",
    ),
    mutant(
        "a sudo rule that sudo passes over",
        "install -m 644 /dev/null /etc/sudoers.d/zz",
        "rm /etc/sudoers.d/zz",
        "sudo-valid",
    ),
    mutant(
        "a sudo rule others write",
        "install -m 622 /dev/null /etc/sudoers.d/zz",
        "rm /etc/sudoers.d/zz",
        "sudo-valid",
        "sudo-files",
    ),
    edited("sudo's terminal is kept", "/etc/sudoers.d/seawall", "s/use_pty/!use_pty/", "true", "sudo-pty"),
    edited("sudo keeps no log", "/etc/sudoers.d/seawall", "/logfile/d", "true", "sudo-log"),
    edited(
        "the limit can be lifted",
        "/etc/profile.d/seawall.sh",
        "s/readonly TMOUT/TMOUT/",
        "true",
        "shell-timeout-fixed",
    ),
    edited(
        "a shell's files are everybody's",
        "/etc/profile.d/seawall.sh",
        "s/umask .*/umask 022/",
        "true",
        "shell-umask",
    ),
    edited("the banner tells", "/etc/issue.net", "$aDebian GNU/Linux 12", "true", "shell-banners"),
    mutant("hashes are everybody's", "chmod 644 /etc/shadow", "chmod 640 /etc/shadow", "accounts-files"),
]

FIREWALL = [
    edited(
        "ufw is off after a reboot",
        "/etc/ufw/ufw.conf",
        "s/^ENABLED=.*/ENABLED=no/",
        "true",
        "ufw-at-boot",
    ),
    edited("ufw logs nothing", "/etc/ufw/ufw.conf", "s/^LOGLEVEL=.*/LOGLEVEL=off/", "true", "ufw-logging"),
    firewall(
        "everything comes in",
        "iptables -P INPUT ACCEPT",
        "ufw-incoming",
        "network-silence",
        "network-undeclared-ports",
        "network-standard-ssh-port",
    ),
    firewall("everything is passed on", "iptables -P FORWARD ACCEPT", "ufw-forwarding"),
    firewall(
        "mail goes out",
        "iptables -I ufw-user-output -d 192.0.2.1 -p tcp --dport 25 -j ACCEPT",
        "ufw-rules-out",
    ),
    firewall(
        "another range may administer",
        "iptables -I ufw-user-input -s 192.0.2.0/24 -p tcp --dport 2222 -j ACCEPT",
        "ufw-rules-in",
        "ufw-ssh-sources",
    ),
    firewall(
        "loopback is no exception",
        "iptables -I ufw-before-input 2 -s 127.0.0.0/8 -j ACCEPT; iptables -D ufw-before-input -i lo -j ACCEPT",
        "ufw-loopback",
    ),
    firewall(
        "packets of no connection",
        "iptables -D ufw-before-input -m conntrack --ctstate INVALID -j DROP",
        "ufw-invalid",
    ),
    firewall(
        "a closed port says so",
        "iptables -I ufw-before-input -p tcp --dport 8080 -j REJECT --reject-with tcp-reset",
        "network-silence",
    ),
    mutant(
        "the well-known ssh port answers",
        "systemd-run -q --unit=stranger python3 -m http.server 22 --directory /run/sshd; "
        "iptables -I ufw-user-input -p tcp --dport 22 -j ACCEPT",
        "systemctl stop stranger; iptables -D ufw-user-input -p tcp --dport 22 -j ACCEPT",
        "network-undeclared-ports",
        "network-standard-ssh-port",
        "services-listeners",
        "app-local",
        "ufw-rules-in",
        "ufw-world",
    ),
    mutant(
        "a second owner of the rules",
        "printf '[Service]\\nExecStart=true\\n[Install]\\nWantedBy=multi-user.target\\n' > "
        "/etc/systemd/system/nftables.service; systemctl daemon-reload; systemctl -q enable nftables",
        "systemctl -q disable nftables; rm /etc/systemd/system/nftables.service; systemctl daemon-reload",
        "ufw-alone",
    ),
]

PACKAGES = [
    package("cups", "services-unneeded"),
    package("telnetd", "services-insecure"),
    package("postfix", "services-mail"),
    package("ntp", "time-one-daemon"),
    mutant(
        "a service failed",
        "systemd-run -q --unit=mutant --wait false || true",
        "systemctl reset-failed mutant",
        "services-failed",
    ),
    mutant(
        "what runs by the clock is everybody's",
        "install -m 666 /dev/null /etc/systemd/system/mutant.conf",
        "rm /etc/systemd/system/mutant.conf",
        "services-cron",
    ),
    mutant(
        "after a reboot nobody undoes",
        "systemctl -q disable seawall-revert-boot",
        "systemctl -q enable seawall-revert-boot",
        "changes-undone-at-boot",
    ),
    mutant(
        "a package is half there",
        "umask 022; mkdir -p /root/deb/DEBIAN; "
        "printf 'Package: mutant\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody\\n"
        "Description: x\\n' > /root/deb/DEBIAN/control; dpkg-deb -b /root/deb /root/mutant.deb >/dev/null; "
        "dpkg --unpack /root/mutant.deb >/dev/null; rm -r /root/deb /root/mutant.deb",
        "dpkg -P mutant >/dev/null",
        "packages-consistent",
    ),
    *(
        edited(
            f"{name} is gone",
            "/var/lib/dpkg/status",
            f"/^Package: {name}$/,/^$/s/^Status: .*/Status: deinstall ok config-files/",
            "true",
            control,
        )
        for name, control in (
            ("unattended-upgrades", "upgrades-installed"),
            ("apt-listchanges", "upgrades-listchanges"),
        )
    ),
    upgrades("lists are never fetched", 'APT::Periodic::Update-Package-Lists "0";', "upgrades-lists"),
    upgrades(
        "upgrades from unstable",
        'Unattended-Upgrade::Origins-Pattern { "origin=Debian,codename=sid"; };',
        "upgrades-origins",
    ),
    upgrades(
        "no security upgrades",
        '#clear Unattended-Upgrade::Origins-Pattern; Unattended-Upgrade::Origins-Pattern { "origin=Debian"; };',
        "upgrades-security",
    ),
    upgrades(
        "a reboot at some time", 'Unattended-Upgrade::Automatic-Reboot-Time "later";', "upgrades-reboot"
    ),
    upgrades("unsigned packages", 'APT::Get::AllowUnauthenticated "true";', "upgrades-signed"),
]

INTEGRITY = [
    edited(
        "sudo is not watched",
        "/var/lib/aide/aide.db",
        "/^\\/usr\\/bin\\/sudo /d",
        "true",
        "integrity-scope",
        "integrity-database",
    ),
    mutant(
        "differences go nowhere",
        "mkdir -p /etc/systemd/system/seawall-integrity.service.d; printf '[Service]\\nSyslogIdentifier=other\\n' > "
        "/etc/systemd/system/seawall-integrity.service.d/mutant.conf; systemctl daemon-reload",
        "rm -r /etc/systemd/system/seawall-integrity.service.d; systemctl daemon-reload",
        "integrity-reported",
    ),
]

# An expired certificate: `openssl ca` is the one that lets its dates be said.
EXPIRED = (
    "mkdir -p /root/ca; cd /root/ca; printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=i\\nserial=s\\nnew_certs_dir=.\\n"
    "default_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' > c; : > i; echo 01 > s; "
    "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=mutant -keyout k -out r "
    "2>/dev/null; "
    "openssl ca -batch -config c -selfsign -keyfile k -startdate 20200101000000Z -enddate 20200102000000Z "
    "-in r -out o 2>/dev/null; "
)
CERTIFICATE = f"$(sed -n 's/^ *ssl_certificate \\(.*\\);/\\1/p' {SITE} | head -n 1)"
CERTIFICATE_KEY = f"$(sed -n 's/^ *ssl_certificate_key \\(.*\\);/\\1/p' {SITE} | head -n 1)"

WEB = [
    mutant(
        "nginx does not start at boot",
        "systemctl -q disable nginx",
        "systemctl -q enable nginx",
        "nginx-running",
    ),
    edited("IPv6 has no site", SITE, "/listen \\[::\\]:443/d", RELOAD_NGINX, "nginx-addresses"),
    edited(
        "old clients are turned away", SITE, "s/TLSv1.2 //", RELOAD_NGINX, "tls-versions", "tls-both-keys"
    ),
    edited(
        "no session is resumed",
        SITE,
        "s/ssl_session_cache .*;/ssl_session_cache none;/",
        RELOAD_NGINX,
        "tls-sessions",
    ),
    mutant(
        "the certificate ran out",
        f"{EXPIRED} cp -p {CERTIFICATE} kept.pem; cp -p {CERTIFICATE_KEY} kept.key; cat o > {CERTIFICATE}; "
        f"cat k > {CERTIFICATE_KEY}; {RELOAD_NGINX}",
        f"cd /root/ca; cat kept.pem > {CERTIFICATE}; cat kept.key > {CERTIFICATE_KEY}; rm -r /root/ca; {RELOAD_NGINX}",
        "tls-certificate",
    ),
    mutant(
        "the site's key is everybody's",
        f"chmod 644 {CERTIFICATE_KEY}; {RELOAD_NGINX}",
        f"chmod 600 {CERTIFICATE_KEY}; {RELOAD_NGINX}",
        "tls-key-file",
    ),
    edited(
        "browsers may come unencrypted", SITE, "s/max-age=[0-9]*/max-age=300/", RELOAD_NGINX, "nginx-hsts"
    ),
    edited("browsers guess types", SITE, "s/nosniff/sniff/", RELOAD_NGINX, "nginx-headers"),
    edited("errors come without headers", SITE, "s/ always;/;/", RELOAD_NGINX, "nginx-headers-on-errors"),
    edited(
        "nginx tells its version", SITE, "s/server_tokens off/server_tokens on/", RELOAD_NGINX, "nginx-tokens"
    ),
    edited(
        "a body without end",
        SITE,
        "s/client_max_body_size .*;/client_max_body_size 0;/",
        RELOAD_NGINX,
        "nginx-body-limit",
    ),
    mutant(
        "something answers unencrypted",
        "systemd-run -q --unit=stranger python3 -m http.server 80 --directory /run/sshd",
        "systemctl stop stranger",
        "nginx-redirect",
        "services-listeners",
        "app-local",
    ),
]

JOURNALD = "/etc/systemd/journald.conf.d/seawall.conf"
RESTART_JOURNALD = "systemctl restart systemd-journald"

LOGS = [
    mutant(
        "rsyslog does not start at boot",
        "systemctl -q disable rsyslog",
        "systemctl -q enable rsyslog",
        "rsyslog-running",
    ),
    mutant("rsyslog was not told", f"touch {RSYSLOG}", RESTART_RSYSLOG, "rsyslog-current"),
    mutant(
        "rsyslog would not start again",
        "umask 022; echo 'nonsense(' > /etc/rsyslog.d/zz.conf",
        f"rm /etc/rsyslog.d/zz.conf; {RESTART_RSYSLOG}",
        "rsyslog-valid",
        "rsyslog-current",
    ),
    mutant(
        "another authority vouches for the collector",
        "cp -p /etc/seawall/tls/ca.pem /root/ca.kept; "
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
        "-nodes -subj /CN=mutant -keyout /dev/null -out /root/other.pem 2>/dev/null; "
        "cat /root/other.pem > /etc/seawall/tls/ca.pem",
        f"cat /root/ca.kept > /etc/seawall/tls/ca.pem; rm /root/ca.kept /root/other.pem; {RESTART_RSYSLOG}",
        "collector-proven",
        "rsyslog-current",
    ),
    mutant(
        "the place in the journal is forgotten",
        "systemctl stop seawall-journal; mv /var/lib/seawall-journal/cursor /root; "
        "mkdir /var/lib/seawall-journal/cursor.new; systemctl start seawall-journal",
        "rmdir /var/lib/seawall-journal/cursor.new; mv /root/cursor /var/lib/seawall-journal; "
        "systemctl restart seawall-journal",
        "rsyslog-queue",
    ),
    edited(
        "rsyslog drops what comes fast",
        "/etc/rsyslog.conf",
        's/load="imuxsock"/load="imuxsock" SysSock.RateLimit.Interval="5"/',
        RESTART_RSYSLOG,
        "rsyslog-unlimited",
    ),
    edited(
        "a sender takes others' lines",
        "/etc/rsyslog.conf",
        '$a module(load="imudp")\\ninput(type="imudp" port="514")',
        RESTART_RSYSLOG,
        "rsyslog-reception",
        "services-listeners",
        "app-local",
    ),
    mutant(
        "the log's key is everybody's",
        f"chmod 644 /etc/seawall/tls/rsyslog.key; {RESTART_RSYSLOG}",
        f"chmod 600 /etc/seawall/tls/rsyslog.key; {RESTART_RSYSLOG}",
        "logs-keys",
    ),
    mutant(
        "a log is everybody's",
        "chmod o+r /var/log/sudo.log",
        "chmod o-r /var/log/sudo.log",
        "logs-local-files",
    ),
    mutant(
        "logs are never turned",
        "systemctl -q disable logrotate.timer",
        "systemctl -q enable logrotate.timer",
        "logs-rotation",
    ),
    *(
        edited(name, JOURNALD, change, "true", control, "journal-current", healed=RESTART_JOURNALD)
        for name, change, control in (
            ("the journal is forgotten", "s/Storage=persistent/Storage=volatile/", "journal-persistent"),
            ("the journal keeps to itself", "s/ForwardToSyslog=yes/ForwardToSyslog=no/", "journal-forwarded"),
            ("a flood hides the rest", "s/^RateLimit\\(.*\\)=0/RateLimit\\1=30/", "journal-unlimited"),
        )
    ),
    edited(
        "the collector takes anybody's lines",
        COLLECTOR,
        's/tls.authmode="name"/tls.authmode="certvalid"/',
        RESTART_RSYSLOG,
        "collector-peers",
        on="collectors",
    ),
    edited(
        "the collector asks for no certificate",
        COLLECTOR,
        's/tls.authmode="name"/tls.authmode="anon"/; /tls.permittedpeer/d',
        RESTART_RSYSLOG,
        "collector-certificates",
        "collector-peers",
        on="collectors",
    ),
    edited(
        "the collector speaks old TLS",
        COLLECTOR,
        's/tls.authmode="name"/tls.authmode="name" tls.tlscfgcmd="MinProtocol=TLSv1\\nCipherString=ALL:@SECLEVEL=0"/',
        RESTART_RSYSLOG,
        "collector-tls-versions",
        on="collectors",
    ),
    edited(
        "the collector knows a stranger",
        COLLECTOR,
        's/tls.permittedpeer=\\[/tls.permittedpeer=["stranger", /',
        RESTART_RSYSLOG,
        "collector-peers",
        on="collectors",
    ),
    edited(
        "card numbers leave",
        "/usr/local/lib/seawall/journal-relay",
        "s/return RUN.sub(_run, text)/return text/",
        "systemctl restart seawall-journal",
        "relay-masks",
    ),
    edited(
        "the relay was not told",
        "/usr/local/lib/seawall/journal-relay",
        "s/^BATCH = 128/BATCH = 64/",
        "true",
        "relay-current",
        healed="systemctl restart seawall-journal",
    ),
    mutant(
        "the relay is gone at the next boot",
        "systemctl disable -q seawall-journal",
        "systemctl enable -q seawall-journal",
        "relay-running",
    ),
    edited(
        "the relay may talk to anybody",
        RELAY,
        "/^IPAddress/d",
        RELAY_AGAIN,
        "relay-confined",
    ),
    edited(
        "the relay is root",
        RELAY,
        "s/^DynamicUser=yes/DynamicUser=no/",
        RELAY_AGAIN,
        "relay-confined",
    ),
    mutant(
        "rsyslog sends too",
        "echo '*.* @@192.0.2.9:6514' > /etc/rsyslog.d/zz.conf; systemctl restart rsyslog",
        "rm /etc/rsyslog.d/zz.conf; systemctl restart rsyslog",
        "rsyslog-only-way",
    ),
    mutant(
        "a forgotten certificate for logging",
        "cp -p /etc/seawall/tls/rsyslog.pem /root; openssl req -x509 -key /etc/seawall/tls/rsyslog.key -subj /CN=a "
        "-days 1 -out /etc/seawall/tls/rsyslog.pem 2>/dev/null; systemctl restart rsyslog seawall-journal",
        "cat /root/rsyslog.pem > /etc/seawall/tls/rsyslog.pem; systemctl restart rsyslog seawall-journal",
        "logs-certificate-lasting",
        "logs-arrive",
        "collector-proven",
        "rsyslog-connected",
    ),
    edited(
        "the journal has no bound",
        JOURNALD,
        "s/^SystemMaxUse.*//",
        RESTART_JOURNALD,
        "rsyslog-queue-bounded",
    ),
    mutant(
        "a file of the archive can be rewritten",
        "chattr -a /var/log/remote/$(hostname)/sshd.log",
        "chattr +a /var/log/remote/$(hostname)/sshd.log",
        "collector-append-only",
        on="collectors",
    ),
    mutant(
        "a closed file was put there by hand",
        "cd /var/log/remote/$(hostname); umask 027; echo no > x.log-20200101; chgrp adm x.log-20200101; "
        "chattr +a x.log-20200101",
        "cd /var/log/remote/$(hostname); chattr -a x.log-20200101; rm x.log-20200101",
        "collector-chain",
        on="collectors",
    ),
    mutant(
        "files are not closed any more",
        "systemctl stop seawall-archive.timer",
        "systemctl start seawall-archive.timer",
        "collector-closes-daily",
        on="collectors",
    ),
    edited(
        "senders are answered before their line is on file",
        COLLECTOR,
        's/queue.type="Direct"/queue.type="LinkedList"/',
        RESTART_RSYSLOG,
        "collector-acknowledges",
        on="collectors",
    ),
    edited(
        "anybody of the kit's may send",
        COLLECTOR,
        's/tls.permittedpeer=.*/tls.permittedpeer=["*"]/',
        RESTART_RSYSLOG,
        "collector-peers",
        on="collectors",
    ),
]

CHRONY, AUDITD, AUDIT_RULES = "/etc/chrony/seawall.conf", "/etc/audit/auditd.conf", "/etc/audit/rules.d"

RESTART_CHRONY = "systemctl restart chrony"
RESTART_AUDITD = "service auditd restart"  # auditd.service refuses a manual stop


def own(made: Mutant) -> Mutant:
    """Of a host with a kernel of its own."""
    return replace(made, own_kernel=True)


def off_at_boot(unit: str, control: str) -> Mutant:
    return mutant(
        f"{unit} does not start at boot",
        f"systemctl -q disable {unit}",
        f"systemctl -q enable {unit}",
        control,
    )


def auditd(name: str, change: str) -> Mutant:
    """A line of auditd's configuration, which it has not been told of."""
    return edited(name, AUDITD, change, "true", "audit-retention", "audit-running", healed=RESTART_AUDITD)


OWN_KERNEL = [
    own(each)
    for each in (
        edited(
            "no source of time", CHRONY, "/^\\(pool\\|server\\|peer\\) /d", RESTART_CHRONY, "time-sources"
        ),
        edited("more sources of time", CHRONY, "$asourcedir /run/more", RESTART_CHRONY, "time-sources"),
        edited("a change of time unnoticed", CHRONY, "/^logchange/d", RESTART_CHRONY, "time-changes-logged"),
        edited("chrony takes commands", CHRONY, "/^cmdport 0/d", RESTART_CHRONY, "time-changes-logged"),
        mutant("chrony was not told", f"touch {CHRONY}", RESTART_CHRONY, "time-running"),
        off_at_boot("chrony", "time-running"),
        off_at_boot("auditd", "audit-running"),
        off_at_boot("apparmor", "apparmor-enabled"),
        mutant(
            "a rule is left out from the next boot on",
            f"cp -a {AUDIT_RULES} /root/rules.kept; sed -i /10.2.1.5/d {AUDIT_RULES}/*.rules",
            f"cp -a /root/rules.kept/. {AUDIT_RULES}/; rm -r /root/rules.kept",
            "audit-immutable",
        ),
        auditd("records are soon gone", "s/^num_logs = .*/num_logs = 2/"),
        auditd("a full disk is no news", "s/^disk_full_action = .*/disk_full_action = IGNORE/"),
        auditd("little room is no news", "s/^space_left_action = .*/space_left_action = IGNORE/"),
        mutant(
            "records are everybody's",
            "chmod 644 /var/log/audit/audit.log",
            "chmod 640 /var/log/audit/audit.log",
            "audit-files",
        ),
        mutant("records stay on the host", "pkill -x audisp-syslog", RESTART_AUDITD, "audit-forwarded"),
        mutant(
            "a profile only complains",
            "printf 'profile mutant flags=(complain) { }\\n' > /root/mutant; apparmor_parser -r /root/mutant",
            "apparmor_parser -R /root/mutant; rm /root/mutant",
            "apparmor-enforced",
        ),
    )
]

EVERY = [*SSHD, *KERNEL, *ACCOUNTS, *FIREWALL, *PACKAGES, *INTEGRITY, *WEB, *LOGS, *OWN_KERNEL]

LOCKED = "the kernel's rules are locked until it boots anew, this mutant's too (audit-immutable has one)"

WITHOUT = {
    "PubkeyAuthentication": "with it off nobody gets in to ask, so the run ends in errors and not in a finding",
    "UsePAM": "without PAM sshd turns away whoever's password is locked, as administrators' are: nobody could ask",
    "KerberosAuthentication": "Debian's sshd is built without it and refuses the line",
    "PerSourcePenalties": "OpenSSH 9.8 and later; the droplets of this run have 9.2",
    "PerSourcePenaltyExemptList": "as PerSourcePenalties",
    "sshd-public-keys": "see PubkeyAuthentication",
    "sshd-pam": "see UsePAM",
    "ufw-active": "switched off, ufw takes its rules along, and every control of them fails too",
    "network-administration": "with its port shut nobody gets in to ask",
    "accounts-key-files": "sshd's StrictModes turns the administrator of such a file away: nobody gets in to ask",
    "upgrades-staggered": "not applicable where one host of a tier is looked at, as here; tests/e2e has two",
    "nginx-valid": "with an nginx.conf that is none, every control that reads `nginx -T` errs too",
    "kernel.unprivileged_bpf_disabled": "1 cannot be taken back on a running kernel",
    "kernel.kexec_load_disabled": "1 cannot be taken back on a running kernel",
    "kernel.core_uses_pid": "says nothing while core_pattern hands dumps to /bin/false",
    "audit-administrators": LOCKED,
    "audit-logs-read": LOCKED,
    "audit-refusals": LOCKED,
    "audit-credentials": LOCKED,
    "audit-logging": LOCKED,
    "audit-objects": LOCKED,
    "audit-clock": LOCKED,
    "audit-nothing-lost": LOCKED,
    "audit-fields": "the kernel's own record format",
}
"""Controls, sshd's keywords and kernel settings that have no mutant, and why."""
