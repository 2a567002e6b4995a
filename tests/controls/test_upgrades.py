"""Security updates arrive by themselves, every day, from the distribution and nowhere else."""

from seawall.controls import control, expect

ENABLED = {"1", "always"}  # days between two runs; 0 is never


@control(
    "upgrades-installed",
    "unattended-upgrades is installed",
    severity="high",
    requirements=["pci-6.3.3", "cis-deb12-1.2.2.1"],
)
def test_installed(host):
    expect("unattended-upgrades" in host.apt.installed, "installed").to_be(True)


@control(
    "upgrades-daily",
    "Updates are installed every day",
    severity="high",
    requirements=["pci-6.3.3", "cis-deb12-1.2.2.1"],
)
def test_daily(host):
    expect(host.apt["APT::Periodic::Enable"], "APT::Periodic::Enable").to_be_one_of("", "1")
    expect(host.apt["APT::Periodic::Unattended-Upgrade"], "Unattended-Upgrade").to_be_one_of(*ENABLED)


@control(
    "upgrades-lists",
    "Package lists are fetched every day",
    severity="high",
    requirements=["pci-6.3.3", "cis-deb12-1.2.2.1"],
)
def test_lists(host):
    expect(host.apt["APT::Periodic::Update-Package-Lists"], "Update-Package-Lists").to_be_one_of(*ENABLED)


@control(
    "upgrades-timers",
    "The timers that start them run, after a reboot too",
    severity="high",
    requirements=["pci-6.3.3"],
)
def test_timers(host):
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        expect(host.daemon(unit).state, unit).to_be("active")
        expect(host.daemon(unit).at_boot, f"{unit} at boot").to_be("enabled")


@control(
    "upgrades-security",
    "Security updates are among what is installed",
    severity="critical",
    requirements=["pci-6.3.3"],
)
def test_security(host):
    origins = [origin.replace("${distro_codename}", "CODENAME") for origin in sources(host)]
    security = [origin for origin in origins if "security" in origin.lower()]
    expect(len(security), "security origins").to_be_at_least(1)


@control(
    "upgrades-origins",
    "Updates come from the distribution's own release only",
    severity="high",
    requirements=["pci-6.3.3", "pci-2.2.6"],
)
def test_origins(host):
    strange = [
        origin
        for origin in sources(host)
        if not any(name in origin for name in ("origin=Debian", "${distro_id}", "origin=Ubuntu"))
        or any(
            word in origin for word in ("backports", "proposed", "sid", "testing", "unstable", "experimental")
        )
    ]
    expect(strange, "other origins").to_be_empty()


def sources(host):
    """Debian names its origins by pattern, Ubuntu by ``origin:suite``."""
    return host.apt.all("Unattended-Upgrade::Origins-Pattern") + host.apt.all(
        "Unattended-Upgrade::Allowed-Origins"
    )


@control(
    "upgrades-reboot",
    "Whether and when an update may reboot the host is decided",
    severity="medium",
    requirements=["pci-6.3.3"],
)
def test_reboot(host):
    expect(host.apt["Unattended-Upgrade::Automatic-Reboot"].lower(), "Automatic-Reboot").to_be_one_of(
        "true", "false"
    )
    expect(host.apt["Unattended-Upgrade::Automatic-Reboot-Time"], "Automatic-Reboot-Time").to_match(
        r"\d\d:\d\d|now"
    )


@control(
    "upgrades-blacklist",
    "No package is kept from its security updates",
    severity="high",
    requirements=["pci-6.3.3"],
)
def test_blacklist(host):
    expect(host.apt.all("Unattended-Upgrade::Package-Blacklist"), "blacklisted").to_be_empty()
    expect(host.check_output("apt-mark showhold").split(), "held").to_be_empty()


@control(
    "upgrades-listchanges",
    "What an update changes is kept for the administrator to read",
    severity="low",
    requirements=["pci-6.5.1"],
)
def test_listchanges(host):
    expect("apt-listchanges" in host.apt.installed, "apt-listchanges installed").to_be(True)


@control(
    "upgrades-signed",
    "apt takes only what the distribution signed",
    severity="critical",
    requirements=["pci-6.3.3"],
)
def test_signed(host):
    for name in ("APT::Get::AllowUnauthenticated", "Acquire::AllowInsecureRepositories"):
        expect(host.apt[name].lower(), name).to_be_one_of("", "0", "false", "no")
    trusting = host.run(
        "grep -rlsiE '^[^#]*(trusted=yes|allow-insecure=yes)|^ *(trusted|allow-insecure): *yes' "
        "/etc/apt/sources.list /etc/apt/sources.list.d"
    )
    expect(trusting.stdout.split(), "sources taken unsigned").to_be_empty()
