"""Who did what, when, from where and with what result is recorded by the kernel, and leaves the host at once."""

import re

import pytest

from seawall.controls import control, expect

WHOLE = "audit rules belong to the kernel, which is its host's"
# What `auditctl -l` must say, as regular expressions: PCI DSS's events, and rules by which each is recorded.
EVENTS = {
    "10.2.1.2": [r"arch=b64 -S execve.*euid=0", r"arch=b32 -S execve.*euid=0"],
    "10.2.1.3": [r"/var/log/audit"],
    "10.2.1.4": [rf"arch={abi} .*exit=-{refused}" for abi in ("b64", "b32") for refused in ("EACCES", "EPERM")],
    "10.2.1.5": [r"/etc/passwd", r"/etc/shadow", r"/etc/group", r"/etc/sudoers", r"/etc/ssh", r"/root/\.ssh"],
    "10.2.1.6": [r"/etc/audit", r"/etc/rsyslog\.d", r"/usr/sbin/auditctl", r"/usr/bin/systemctl"],
    "10.2.1.7": [rf"arch={abi} .*{call}" for abi in ("b64", "b32") for call in ("init_module", "unlink", "mount")],
}  # fmt: skip


@pytest.fixture
def rules(host):
    host.kernel.must_be_own(WHOLE)
    return host.check_output("auditctl -l").splitlines()


@pytest.fixture
def status(host):
    host.kernel.must_be_own(WHOLE)
    lines = host.check_output("auditctl -s").splitlines()
    return {line.split()[0]: line.split()[1] for line in lines if len(line.split()) > 1}


@control(
    "audit-running",
    "auditd runs with its present configuration, from boot on",
    severity="high",
    requirements=["pci-10.2.1", "cis-deb12-6.2.1.1", "cis-deb12-6.2.1.2"],
    proven_on="own kernel",
)
def test_running(host, status):
    auditd = host.daemon("auditd.service")
    expect(auditd.state, "auditd").to_be("active")
    expect(auditd.at_boot, "auditd").to_be("enabled")
    expect(
        auditd.changed_since("/etc/audit/auditd.conf", "/etc/audit/plugins.d"), "newer than the daemon"
    ).to_be_empty()
    expect(status["pid"], "the kernel's audit daemon").to_be(auditd.properties["MainPID"])


def recorded(event, rules):
    """Every rule that an event needs is among the kernel's, under the event's key."""
    for pattern in EVENTS[event]:
        found = [rule for rule in rules if re.search(pattern, rule) and event in rule]
        expect(len(found), f"rules like {pattern}").to_be_at_least(1)


@control(
    "audit-administrators",
    "Everything done with an administrator's rights is recorded",
    severity="high",
    requirements=["pci-10.2.1.2", "cis-deb12-6.2.3.2"],
    proven_on="own kernel",
)
def test_administrators(rules):
    recorded("10.2.1.2", rules)


@control(
    "audit-logs-read",
    "Access to audit logs is recorded",
    severity="high",
    requirements=["pci-10.2.1.3"],
    proven_on="own kernel",
)
def test_logs_read(rules):
    recorded("10.2.1.3", rules)


@control(
    "audit-refusals",
    "What was tried and refused is recorded, by 64-bit and 32-bit programs",
    severity="medium",
    requirements=["pci-10.2.1.4", "cis-deb12-6.2.3.7"],
    proven_on="own kernel",
)
def test_refusals(rules):
    recorded("10.2.1.4", rules)


@control(
    "audit-credentials",
    "Changes of accounts, rights and credentials are recorded",
    severity="high",
    requirements=["pci-10.2.1.5", "cis-deb12-6.2.3.1", "cis-deb12-6.2.3.8"],
    proven_on="own kernel",
)
def test_credentials(rules):
    recorded("10.2.1.5", rules)


@control(
    "audit-logging",
    "Starting, stopping and changing of logging is recorded",
    severity="high",
    requirements=["pci-10.2.1.6"],
    proven_on="own kernel",
)
def test_logging(rules):
    recorded("10.2.1.6", rules)


@control(
    "audit-objects",
    "Making and deleting of system objects is recorded: modules, mounts, units, files",
    severity="medium",
    requirements=["pci-10.2.1.7", "cis-deb12-6.2.3.10", "cis-deb12-6.2.3.13", "cis-deb12-6.2.3.19"],
    proven_on="own kernel",
)
def test_objects(rules):
    recorded("10.2.1.7", rules)


@control(
    "audit-clock",
    "Changes of the clock are recorded",
    severity="medium",
    requirements=["pci-10.6.3", "cis-deb12-6.2.3.4"],
    proven_on="own kernel",
)
def test_clock(rules):
    found = [rule for rule in rules if "clock_settime" in rule and "10.6.3" in rule]
    expect({rule.partition("arch=")[2][:3] for rule in found}, "ABIs").to_be_exactly({"b64", "b32"})


@control(
    "audit-immutable",
    "The rules stand until the next boot, and are those on disk",
    severity="high",
    requirements=["pci-10.3.2", "cis-deb12-6.2.3.20", "cis-deb12-6.2.3.21"],
    proven_on="own kernel",
)
def test_immutable(host, status):
    expect(status["enabled"], "enabled").to_be("2")
    expect(
        host.run("cat /etc/audit/rules.d/*.rules | sha256sum | cmp -s - /run/seawall-audit-rules").rc == 0,
        "the kernel's rules are those of /etc/audit/rules.d (else: reboot)",
    ).to_be(True)


@control(
    "audit-nothing-lost",
    "The kernel keeps records while the daemon is slow, has lost none, and says so if it does",
    severity="medium",
    requirements=["pci-10.7.2", "cis-deb12-6.2.1.4"],
    proven_on="own kernel",
)
def test_nothing_lost(status):
    expect(int(status["backlog_limit"]), "backlog_limit").to_be_at_least(8192)
    expect(status["failure"], "failure").to_be_one_of("1", "2")
    expect(status["lost"], "lost").to_be("0")


@control(
    "audit-files",
    "Audit logs are root's, and read by nobody but adm",
    severity="high",
    requirements=["pci-10.3.1", "pci-10.3.2", "cis-deb12-6.2.4.1", "cis-deb12-6.2.4.2", "cis-deb12-6.2.4.4"],
    proven_on="own kernel",
)
def test_files(host):
    host.kernel.must_be_own(WHOLE)
    loose = host.check_output(
        "find /var/log/audit /etc/audit -not -user root -o -perm /027 -not -path /etc/audit -type f -o -perm /022"
    )
    expect(loose.splitlines(), "open").to_be_empty()


@control(
    "audit-retention",
    "Records are kept on the host until their files are turned, and a full disk is told",
    severity="medium",
    requirements=["pci-10.5.1", "pci-10.7.2", "cis-deb12-6.2.2.1", "cis-deb12-6.2.2.4"],
    proven_on="own kernel",
)
def test_records_kept(host):
    host.kernel.must_be_own(WHOLE)
    lines = host.check_output("cat /etc/audit/auditd.conf").splitlines()
    settings = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    kept = int(settings["max_log_file"]) * int(settings["num_logs"])
    expect(kept, "MiB kept").to_be_at_least(256)
    expect(settings["space_left_action"].lower(), "space_left_action").to_be_one_of(
        "syslog", "email", "single", "halt"
    )
    expect(settings["disk_full_action"].lower(), "disk_full_action").to_be_one_of("syslog", "single", "halt")


@control(
    "audit-forwarded",
    "Each record is also handed to syslog, which sends it to the collector",
    severity="high",
    requirements=["pci-10.3.3"],
    proven_on="own kernel",
)
def test_forwarded(host):
    host.kernel.must_be_own(WHOLE)
    expect(host.check_output("ps -o comm= -C audisp-syslog").split(), "audisp-syslog").to_include(
        "audisp-syslog"
    )


@control(
    "audit-fields",
    "A record says who, what, when, whether it succeeded, from where, and on what",
    severity="medium",
    requirements=["pci-10.2.2"],
    proven_on="own kernel",
)
def test_fields(host):
    host.kernel.must_be_own(WHOLE)
    # Asking is itself an administrator's act, and so recorded: the latest event of that kind.
    event = host.check_output("ausearch --input-logs -m SYSCALL -k 10.2.1.2 --raw | tail -n 1")
    words = {word.partition("=")[0] for word in event.split()}
    expect(words, "fields").to_include("auid", "uid", "ses", "exe", "syscall", "success", "key")
    expect(event, "when").to_match(r"(?s).*msg=audit\(\d+\.\d+:\d+\).*")
