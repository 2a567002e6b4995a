"""A droplet runs what its tier is for, and nothing else."""

from seawall.controls import control, expect

# Debian's packages for what CIS section 2.1 wants off a server.
UNNEEDED = {
    "autofs", "avahi-daemon", "isc-dhcp-server", "kea", "bind9", "dnsmasq", "vsftpd", "proftpd-core", "pure-ftpd",
    "slapd", "dovecot-core", "cyrus-imapd", "nfs-kernel-server", "ypserv", "cups", "rpcbind", "rsync-daemon",
    "samba", "snmpd", "tftpd-hpa", "atftpd", "squid", "apache2", "lighttpd", "xserver-common", "xrdp",
}  # fmt: skip
INSECURE = {
    "telnetd", "inetutils-telnetd", "telnetd-ssl", "telnet", "inetutils-telnet", "rsh-server", "rsh-redone-server",
    "rsh-client", "rsh-redone-client", "talk", "inetutils-talk", "talkd", "inetutils-talkd", "nis", "yp-tools", "ftp",
    "tnftp", "ldap-utils", "xinetd", "inetutils-inetd", "openbsd-inetd",
}  # fmt: skip
MAIL = {"postfix", "exim4-daemon-light", "exim4-daemon-heavy", "sendmail-bin", "opensmtpd", "msmtp-mta"}


@control(
    "services-listeners",
    "What listens to the network is what the flows declare, no more and no less",
    severity="critical",
    requirements=["pci-1.2.5", "pci-2.2.4", "cis-deb12-2.1.22"],
)
def test_listeners(host):
    declared = {f"{held['port']}/{held['protocol']}" for held in host.vars["expected_listeners"]}
    heard = {f"{listener.port}/{listener.protocol}" for listener in host.sockets if listener.reachable}
    expect(heard, "listening").to_be_exactly(declared)


@control(
    "services-unneeded",
    "No server is installed that no flow needs",
    severity="medium",
    requirements=["pci-2.2.4", "cis-deb12-2.1.1", "cis-deb12-2.1.2", "cis-deb12-2.1.11", "cis-deb12-2.1.12"],
)
def test_unneeded(host):
    expect(UNNEEDED & set(host.apt.installed), "installed").to_be_empty()


@control(
    "services-insecure",
    "Nothing is installed that speaks in the clear",
    severity="high",
    requirements=[
        "pci-1.2.6",
        "pci-2.2.5",
        "cis-deb12-2.2.1",
        "cis-deb12-2.2.2",
        "cis-deb12-2.2.3",
        "cis-deb12-2.2.4",
    ],
)
def test_insecure(host):
    expect(INSECURE & set(host.apt.installed), "installed").to_be_empty()


@control(
    "services-mail",
    "No mail server came along as a dependency",
    severity="medium",
    requirements=["pci-2.2.4", "cis-deb12-2.1.21"],
)
def test_mail(host):
    expect(MAIL & set(host.apt.installed), "installed").to_be_empty()
    heard = [listener for listener in host.sockets if listener.port in (25, 465, 587) and listener.reachable]
    expect(heard, "mail ports").to_be_empty()


@control("services-failed", "No service has failed", severity="medium", requirements=["pci-10.7.2"])
def test_failed(host):
    failed = host.check_output("systemctl list-units --failed --plain --no-legend").splitlines()
    expect([line.split()[0] for line in failed], "failed").to_be_empty()


@control(
    "services-cron",
    "Only root changes what runs by the clock",
    severity="high",
    requirements=["pci-7.2.1", "pci-2.2.6"],
)
def test_cron(host):
    listed = host.check_output(
        "find /etc/crontab /etc/cron.d /etc/cron.hourly /etc/cron.daily /etc/cron.weekly /etc/cron.monthly "
        "/etc/systemd/system -not -type l -printf '%u %m %p\\n' 2>/dev/null || :"
    )
    loose = [
        line
        for line in listed.splitlines()
        if not line.startswith("root ") or int(line.split()[1], 8) & 0o022
    ]
    expect(loose, "others can write").to_be_empty()


@control(
    "changes-undone-at-boot",
    "A change nobody confirmed is undone even where the host was rebooted in between",
    severity="high",
    requirements=["pci-6.5.1"],
)
def test_undone_at_boot(host):
    expect(host.daemon("seawall-revert-boot.service").at_boot, "seawall-revert-boot.service").to_be("enabled")


@control(
    "packages-consistent",
    "No package is half installed",
    severity="low",
    requirements=["pci-6.3.3"],
)
def test_consistent(host):
    expect(host.check_output("dpkg --audit").splitlines(), "dpkg --audit").to_be_empty()


@control(
    "fail2ban-running",
    "Who guesses at sshd is shut out",
    severity="medium",
    requirements=["pci-8.3.4", "pci-10.7.2"],
)
def test_fail2ban(host):
    expect(host.daemon("fail2ban.service").at_boot, "at boot").to_be("enabled")
    expect(host.run("fail2ban-client status sshd").rc, "the jail sshd").to_be(0)
    expect(int(host.check_output("fail2ban-client get sshd maxretry")), "tries").to_be_within(1, 10)
    expect(int(host.check_output("fail2ban-client get sshd bantime")), "seconds").to_be_at_least(1800)


@control(
    "fail2ban-spares",
    "Administrators are never shut out of sshd by what they mistype",
    severity="high",
    requirements=["pci-8.3.4"],
)
def test_fail2ban_spares(host):
    spared = {
        word.removesuffix("/32") for word in host.check_output("fail2ban-client get sshd ignoreip").split()
    }
    expect(spared, "spared").to_include(*(r.removesuffix("/32") for r in host.vars["seawall_trusted_ranges"]))
