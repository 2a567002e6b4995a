"""A changed file is found within a day, and the host cannot rewrite what it is judged by."""

import re

from seawall.controls import control, expect
from seawall.places import places

CONFIG, DATABASE = "/etc/aide/aide.conf", "/var/lib/aide/aide.db"


@control(
    "integrity-database",
    "The database of file digests is the one recorded when the host was last hardened",
    severity="high",
    requirements=["pci-11.5.2", "pci-10.3.4", "cis-deb12-6.3.1"],
)
def test_database(host):
    record = places().root / "integrity" / host.vars["seawall_host_key_alias"]
    recorded = record.read_text().strip() if record.exists() else "a digest on this controller"
    expect(host.run("sha256sum %s", DATABASE).stdout.partition(" ")[0], "SHA-256").to_be(recorded)


@control(
    "integrity-daily",
    "Files are compared with it every day",
    severity="high",
    requirements=["pci-11.5.2", "cis-deb12-6.3.2"],
)
def test_daily(host):
    timer = host.daemon("seawall-integrity.timer")
    expect(timer.state, "seawall-integrity.timer").to_be("active")
    expect(timer.at_boot, "seawall-integrity.timer").to_be("enabled")
    when = host.check_output("systemctl show -P TimersCalendar seawall-integrity.timer")
    expect(when, "when").to_match(r".*OnCalendar=\*-\*-\* .*")


@control(
    "integrity-scope",
    "What decides what the host does and whom it lets in is watched, file by file",
    severity="high",
    requirements=["pci-11.5.2", "pci-10.3.4", "cis-deb12-6.3.3"],
)
def test_scope(host):
    needed = {
        "/etc/passwd",
        "/etc/ssh/sshd_config",
        "/usr/sbin/sshd",
        "/usr/bin/sudo",
        "/usr/local/lib/seawall/integrity",
    }
    listed = host.run(f"grep -oE '^({'|'.join(map(re.escape, needed))}) ' {DATABASE}").stdout.split()
    expect(listed, "in the database").to_be_exactly(needed)


@control(
    "integrity-reported",
    "What differs goes to the log under a name of its own, and with the log to the collector",
    severity="medium",
    requirements=["pci-11.5.2", "pci-10.4.1"],
)
def test_reported(host):
    unit = host.check_output("systemctl show -P SyslogIdentifier -P ExecStart seawall-integrity.service")
    expect(unit, "the unit").to_match(r"(?s).*/usr/local/lib/seawall/integrity.*")
    expect(unit.split(), "identifier").to_include("seawall-integrity")


@control(
    "integrity-private",
    "Nobody but root reads or writes the database and its configuration",
    severity="medium",
    requirements=["pci-10.3.2"],
)
def test_private(host):
    for path in (CONFIG, DATABASE):
        expect((host.file(path).user, host.file(path).mode), path).to_be(("root", 0o600))


@control(
    "integrity-packages",
    "What packages brought is compared with what they said of it",
    severity="low",
    requirements=["pci-11.5.2"],
)
def test_packages(host):
    expect(host.apt.installed, "installed").to_include("debsums")
    when = host.check_output("sed -n 's/^CRON_CHECK=//p' /etc/default/debsums")
    expect(when, "how often").to_be_one_of("daily", "weekly")
