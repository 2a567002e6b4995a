"""Security updates arrive by themselves, every day, from the distribution and nowhere else."""

from seawall.controls import control, expect, not_applicable

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


DAY = 86400


@control(
    "upgrades-proof",
    "A dry run shows that upgrades would come, from which archives",
    severity="high",
    requirements=["pci-6.3.3"],
)
def test_proof(host):
    text, age = host.apt.dry_run
    if not text:
        expect("never made", "dry run").to_be("made within three days")
    expect(age, "seconds since the dry run").to_be_at_most(3 * DAY)
    allowed = [line for line in text.splitlines() if line.startswith("Allowed origins are:")]
    expect("security" in " ".join(allowed).lower(), "the security archive is among its origins").to_be(True)
    expect([line for line in text.splitlines() if "ERROR" in line], "errors").to_be_empty()


@control(
    "upgrades-last",
    "The last successful upgrade run is no older than three days, or the host is no older",
    severity="high",
    requirements=["pci-6.3.3"],
)
def test_last(host):
    expect(host.apt.upgraded_ago, "seconds since the last run, or since upgrades were set up").to_be_at_most(
        3 * DAY
    )


@control(
    "upgrades-failures",
    "An upgrade that fails is reported in the log",
    severity="high",
    requirements=["pci-6.3.3", "pci-10.7.2"],
)
def test_failures(host):
    for unit in ("apt-daily.service", "apt-daily-upgrade.service", "seawall-upgrades.service"):
        shown = host.check_output("systemctl show -p OnFailure --value %s", unit)
        expect(shown, f"{unit} OnFailure").to_match(r"seawall-failed@.*")
    expect(host.apt["Unattended-Upgrade::SyslogEnable"].lower(), "SyslogEnable").to_be("true")


@control(
    "upgrades-restart",
    "Daemons that run replaced libraries are found, and restarted or told of",
    severity="high",
    requirements=["pci-6.3.3"],
)
def test_restart(host):
    expect("needrestart" in host.apt.installed, "needrestart installed").to_be(True)
    text = host.text("/etc/needrestart/conf.d/seawall.conf")
    expect("$nrconf{restart} = 'a'" in text or "$nrconf{restart} = 'l'" in text, "set to act").to_be(True)


@control(
    "upgrades-staggered",
    "No two hosts of a tier may reboot at the same time",
    severity="medium",
    requirements=["pci-6.3.3"],
)
def test_staggered(host):
    tier = host.vars["seawall_tier"]
    others = [
        other
        for other in host.others.values()
        if other.vars.get("seawall_tier") == tier and other is not host
    ]
    if not others:
        not_applicable("it is the only host looked at of its tier")
    mine = host.apt["Unattended-Upgrade::Automatic-Reboot-Time"]
    same = {other.name for other in others if other.apt["Unattended-Upgrade::Automatic-Reboot-Time"] == mine}
    expect(same, f"who else may reboot at {mine}").to_be_empty()
