"""The distribution's files are as tight as CIS wants them, upgrades or not."""

from seawall.controls import control, expect


def loose(host, command, limit):
    """What ``find`` prints of files (``owner mode path``) that are not root's or have more rights than ``limit``."""
    lines = host.check_output(f"{command} -printf '%u %m %p\\n' 2>/dev/null || :").splitlines()
    return [line for line in lines if not line.startswith("root ") or int(line.split()[1], 8) & ~limit]


@control(
    "cron-private",
    "Nobody but root reads what runs by the clock",
    severity="medium",
    requirements=[
        "pci-7.2.1",
        "cis-deb12-2.4.1.2",
        "cis-deb12-2.4.1.3",
        "cis-deb12-2.4.1.4",
        "cis-deb12-2.4.1.5",
        "cis-deb12-2.4.1.6",
        "cis-deb12-2.4.1.7",
    ],
)
def test_cron(host):
    found = loose(host, "find /etc/crontab /etc/cron.d /etc/cron.*ly -maxdepth 0", 0o700)
    expect(found, "others get in").to_be_empty()


@control(
    "sshd-configuration-private",
    "Nobody but root reads how sshd is set up",
    severity="medium",
    requirements=["pci-7.2.1", "cis-deb12-5.1.1"],
)
def test_sshd(host):
    found = loose(host, "find /etc/ssh/sshd_config /etc/ssh/sshd_config.d -maxdepth 0", 0o700)
    expect(found, "others get in").to_be_empty()


@control(
    "compilers-private",
    "Nobody but root runs a compiler or an assembler",
    severity="low",
    requirements=["pci-2.2.4"],
)
def test_compilers(host):
    found = loose(
        host, r"find /usr/bin -regextype egrep -regex '.*-linux-gnu-(as|gcc-[0-9]+|g\+\+-[0-9]+)'", 0o750
    )
    expect(found, "others run").to_be_empty()


@control(
    "permissions-after-upgrades",
    "An upgrade does not loosen them",
    severity="low",
    requirements=["pci-2.2.1", "pci-2.2.6"],
)
def test_after_upgrades(host):
    hooks = host.check_output("apt-config dump").splitlines()
    expect(
        any(line.startswith("DPkg::Post-Invoke") and "seawall/permissions apply" in line for line in hooks),
        "after each dpkg run",
    ).to_be(True)
    expect(host.file("/usr/local/lib/seawall/permissions").mode, "what it runs").to_be(0o755)


@control(
    "cron-users",
    "Only root has a crontab of its own",
    severity="medium",
    requirements=["pci-7.2.1", "cis-deb12-2.4.1.8"],
)
def test_cron_users(host):
    expect(host.check_output("cat /etc/cron.allow").split(), "/etc/cron.allow").to_be(["root"])
    crontabs = host.check_output("ls /var/spool/cron/crontabs").split()
    expect(set(crontabs) - {"root"}, "crontabs of others").to_be_empty()
