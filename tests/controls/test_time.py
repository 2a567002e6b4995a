"""Clocks agree, so that what is logged can be put in order."""

import re

from seawall.controls import control, expect

OTHERS = {"ntp", "ntpsec", "ntpdate", "openntpd", "systemd-timesyncd"}
WHOLE = "the clock is its host's, and not its to set"


@control(
    "time-one-daemon",
    "No other time daemon disputes chrony's clock",
    severity="medium",
    requirements=["pci-10.6.1", "cis-deb12-2.3.1.1"],
)
def test_one_daemon(host):
    expect(OTHERS & set(host.apt.installed), "installed").to_be_empty()


@control(
    "time-running",
    "chrony runs with the declared configuration, unprivileged, from boot on",
    severity="medium",
    requirements=["pci-10.6.1", "cis-deb12-2.3.3.2", "cis-deb12-2.3.3.3"],
    proven_on="own kernel",
)
def test_running(host):
    host.kernel.must_be_own(WHOLE)
    chrony = host.daemon("chrony.service")
    expect(chrony.state, "chrony").to_be("active")
    expect(chrony.at_boot, "chrony").to_be("enabled")
    expect(chrony.changed_since("/etc/chrony/seawall.conf"), "newer than the daemon").to_be_empty()
    expect(chrony.arguments, "chronyd's arguments").to_include("/etc/chrony/seawall.conf")
    expect(host.check_output("ps -o user= -C chronyd | sort -u"), "chronyd's user").to_be("_chrony")


@control(
    "time-sources",
    "The time comes from declared sources, and from no others",
    severity="medium",
    requirements=["pci-10.6.2", "cis-deb12-2.3.3.1"],
    proven_on="own kernel",
)
def test_sources(host):
    host.kernel.must_be_own(WHOLE)
    text = host.check_output("cat /etc/chrony/seawall.conf")
    sources = re.findall(r"^(?:pool|server|peer) \S+", text, re.MULTILINE)
    expect(len(sources), "declared sources").to_be_at_least(1)
    expect(re.findall(r"^(?:sourcedir|confdir|include) .*", text, re.MULTILINE), "more from").to_be_empty()
    expect(host.file("/etc/chrony/seawall.conf").mode & 0o022, "writable by others").to_be(0)


@control(
    "time-changes-logged",
    "A change of the clock is logged, and chrony serves and obeys nobody else",
    severity="low",
    requirements=["pci-10.6.3"],
    proven_on="own kernel",
)
def test_changes_logged(host):
    host.kernel.must_be_own(WHOLE)
    text = host.check_output("cat /etc/chrony/seawall.conf").splitlines()
    expect([line.split()[0] for line in text if line], "directives").to_include("logchange")
    expect(text, "directives").to_include("port 0", "cmdport 0")
