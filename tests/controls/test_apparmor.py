"""Programs are confined to what their profiles allow."""

from seawall.controls import control, expect

WHOLE = "AppArmor confines by the kernel, which is its host's"


@control(
    "apparmor-enabled",
    "AppArmor confines, from boot on",
    severity="high",
    requirements=["pci-2.2.6", "cis-deb12-1.3.1.1", "cis-deb12-1.3.1.2"],
    proven_on="own kernel",
)
def test_enabled(host):
    host.kernel.must_be_own(WHOLE)
    expect(host.run("aa-enabled").stdout.strip(), "aa-enabled").to_be("Yes")
    expect(host.daemon("apparmor.service").at_boot, "apparmor.service").to_be("enabled")
    expect(host.daemon("apparmor.service").state, "apparmor.service").to_be("active")


@control(
    "apparmor-enforced",
    "Profiles are loaded, none of them only complains, and no process with a profile runs without",
    severity="high",
    requirements=["pci-2.2.6", "cis-deb12-1.3.1.3", "cis-deb12-1.3.1.4"],
    proven_on="own kernel",
)
def test_enforced(host):
    host.kernel.must_be_own(WHOLE)
    expect(int(host.check_output("aa-status --enforced")), "profiles enforced").to_be_at_least(1)
    expect(host.check_output("aa-status --complaining"), "profiles that complain").to_be("0")
    unconfined = host.check_output("aa-status").partition("processes are unconfined but have a profile")
    expect(unconfined[0].rsplit(None, 1)[-1], "processes without their profile").to_be("0")
