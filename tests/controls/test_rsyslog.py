"""Logs leave the host at once, reliably, over a channel both ends of which have proven themselves."""

import json
import re
import time

import pytest

from seawall.controls import control, expect, not_applicable

TLS = "/etc/seawall/tls"
CONFIGURATION = (
    "/etc/rsyslog.conf",
    "/etc/rsyslog.d",
    f"{TLS}/rsyslog.pem",
    f"{TLS}/rsyslog.key",
    f"{TLS}/ca.pem",
)
PROMPT_SECONDS = 10.0
"""How long a line may take to be on file at the collector."""


RELAY = "seawall-journal.service"
CARD = "4111 1111 1111 1111"
"""A test number that no bank has given out."""


@pytest.fixture(scope="session")
def marker(request):
    """A line no earlier run has written, as an application's security event: JSON."""
    return json.dumps({"event": "control.marker", "run": f"{time.time_ns():x}"})


@control(
    "rsyslog-running",
    "rsyslog runs and starts at boot",
    severity="high",
    requirements=["pci-10.2.1", "pci-10.7.2", "cis-deb12-6.1.3.1", "cis-deb12-6.1.3.2"],
)
def test_running(host):
    expect(host.daemon("rsyslog.service").state, "rsyslog.service").to_be("active")
    expect(host.daemon("rsyslog.service").at_boot, "at boot").to_be("enabled")


@control(
    "rsyslog-current",
    "The running rsyslog has read its configuration and certificate as they are now",
    severity="high",
    requirements=["pci-2.2.1", "pci-10.3.3"],
)
def test_current(host):
    changed = host.daemon("rsyslog.service").changed_since(*CONFIGURATION)
    expect(changed, "changed since rsyslog read it").to_be_empty()


@control("rsyslog-valid", "rsyslog's configuration is valid", severity="medium", requirements=["pci-10.2.1"])
def test_valid(host):
    expect(host.run("rsyslogd -N1").rc, "rsyslogd -N1").to_be(0)


@control(
    "logs-arrive",
    "A line logged here is on file at the collector within seconds, whole, under this host's own name",
    severity="critical",
    requirements=["pci-10.3.3", "pci-10.2.1", "cis-deb12-6.1.3.5", "cis-deb12-6.1.3.6"],
)
def test_arrive(host, marker):
    collectors = [other for other in host.others.values() if "collectors" in other.groups]
    if not collectors:
        not_applicable("no collector is among the hosts of this run")
    host.run("logger -t seawall-control -p auth.notice -- %s", marker, unique=True)
    wanted = f"/var/log/remote/{host.name}/seawall-control.log"
    deadline = time.monotonic() + PROMPT_SECONDS
    while True:
        found = [
            collector.run("grep -rlsF -- %s /var/log/remote", marker, fresh=True) for collector in collectors
        ]
        files = {path for answer in found for path in answer.stdout.split()}
        if wanted in files or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    expect(files, "files with this run's line").to_include(wanted)


@control(
    "rsyslog-connected",
    "The journal relay holds its connection to the collector",
    severity="high",
    requirements=["pci-10.3.3"],
)
def test_connected(host):
    held = host.check_output("ss -Htnp state established '( dport = :6514 )'").splitlines()
    peers = {line.split()[3].rpartition(":")[0].strip("[]") for line in held if "journal-relay" in line}
    expect(peers, "connected to").to_be_exactly({host.vars["rsyslog_collector_address"]})


@control(
    "rsyslog-tls",
    "Lines leave encrypted, and only for the collector whose name its certificate proves",
    severity="critical",
    requirements=["pci-10.3.2", "pci-2.2.7", "cis-deb12-6.1.3.6"],
)
def test_tls(host):
    words = host.daemon(RELAY).arguments
    expect(tuple(words[2:6]), "the relay's arguments").to_be(
        (
            host.vars["rsyslog_collector_address"],
            "6514",
            host.vars["rsyslog_collector_name"],
            f"/run/credentials/{RELAY}",
        )
    )


@control(
    "rsyslog-queue",
    "What cannot be sent waits on disk, over restarts, until it can: the place in the journal is kept",
    severity="high",
    requirements=["pci-10.3.3", "pci-10.7.3"],
)
def test_queue(host):
    said = host.check_output("stat -L -c '%a %s' /var/lib/seawall-journal/cursor").split()
    expect(said[0], "the cursor's mode").to_be("600")
    expect(int(said[1]), "its size").to_be_at_least(1)
    expect(journald(host, "Storage"), "Storage").to_be("persistent")


@control(
    "rsyslog-queue-bounded",
    "The queue on disk has a bound, so that it cannot fill the disk",
    severity="medium",
    requirements=["pci-10.7.2"],
)
def test_queue_bounded(host):
    expect(journald(host, "SystemMaxUse"), "SystemMaxUse").to_match(r"[1-9]\d*[KMG]")


@control(
    "rsyslog-only-way",
    "Nothing but the relay, which masks card numbers, sends lines away",
    severity="high",
    requirements=["pci-3.4.1", "pci-10.3.2"],
)
def test_only_way(host):
    text = host.check_output("cat /etc/rsyslog.conf /etc/rsyslog.d/*.conf")
    sending = r'^[^#\n]*?(type="om(?:relp|fwd|http|kafka)"|[\w.*;]+\s+@@?[\w\[(][^\n]*)'
    expect(re.findall(sending, text, re.MULTILINE), "rsyslog sends").to_be_empty()


@control(
    "relay-confined",
    "The relay has no account's rights, and talks to the collector's address and to no other",
    severity="medium",
    requirements=["pci-1.3.2", "pci-2.2.6"],
)
def test_relay_confined(host):
    asked = "-p IPAddressAllow -p IPAddressDeny -p DynamicUser -p CapabilityBoundingSet -p NoNewPrivileges"
    said = host.check_output(f"systemctl show {asked} %s", RELAY).splitlines()
    rights = {line for line in said if not line.startswith("IPAddress")}
    expect(rights, "its rights").to_be_exactly(
        {"DynamicUser=yes", "CapabilityBoundingSet=", "NoNewPrivileges=yes"}
    )
    allowed = {line.partition("=")[2] for line in said if line.startswith("IPAddressAllow=")}
    denied = {
        word for line in said if line.startswith("IPAddressDeny=") for word in line.partition("=")[2].split()
    }
    expect(allowed, "allowed").to_be_exactly({host.vars["rsyslog_collector_address"] + "/32"})
    expect(denied, "denied").to_be_exactly({"0.0.0.0/0", "::/0"})


@control(
    "collector-proven",
    "The collector's certificate, as this host is shown it, bears its name and the kit's signature",
    severity="high",
    requirements=["pci-2.2.7", "pci-10.3.2"],
    on="senders",
)
def test_proven(host):
    name, address = host.vars["rsyslog_collector_name"], host.vars["rsyslog_collector_address"]
    ours = f"-CAfile {TLS}/ca.pem -cert {TLS}/rsyslog.pem -key {TLS}/rsyslog.key"
    asked = f"timeout 5 openssl s_client {ours} -verify_return_error -connect %s -verify_hostname %s 2>&1"
    shown = host.run(asked, f"{address}:6514", name).stdout
    verdict = re.search(r"Verif(?:ication|y)[^:]*: ?(.*)", shown)
    expect(verdict[1] if verdict else "no answer", "verification").to_match(r"OK|.*0 \(ok\)")


@control(
    "rsyslog-unlimited",
    "No input of rsyslog drops lines for coming fast",
    severity="medium",
    requirements=["pci-10.2.1", "pci-10.3.2"],
)
def test_unlimited(host):
    text = host.check_output("cat /etc/rsyslog.conf /etc/rsyslog.d/*.conf")
    limits = re.findall(
        r"^[^#\n]*(ratelimit\.(?:interval|burst)=\"[^0\"][^\"]*\")", text, re.IGNORECASE | re.M
    )
    expect(limits, "rate limits").to_be_empty()


@control(
    "logs-certificate-lasting",
    "The certificate for logging is good for another week: renewal has not been missed",
    severity="high",
    requirements=["pci-10.3.3", "pci-12.3.3"],
)
def test_lasting(host):
    week = 7 * 86400
    expect(
        host.run(f"openssl x509 -noout -checkend {week} -in {TLS}/rsyslog.pem").rc, "ends within a week"
    ).to_be(0)


# --- The journal relay ------------------------------------------------------------------------------------------


@control(
    "relay-running",
    "The journal's way to the collector, which masks card numbers, is open now and at boot",
    severity="high",
    requirements=["pci-10.3.3", "pci-10.7.2"],
)
def test_relay_running(host):
    expect(host.daemon(RELAY).state, RELAY).to_be("active")
    expect(host.daemon(RELAY).at_boot, "at boot").to_be("enabled")


@control(
    "relay-current",
    "The running relay is the program and has the certificate as they are now",
    severity="high",
    requirements=["pci-2.2.1"],
)
def test_relay_current(host):
    changed = host.daemon(RELAY).changed_since(
        "/usr/local/lib/seawall/journal-relay",
        f"/etc/systemd/system/{RELAY}",
        f"{TLS}/rsyslog.pem",
        f"{TLS}/ca.pem",
    )
    expect(changed, "changed since the relay read it").to_be_empty()


@control(
    "relay-masks",
    "A card number is masked before its line leaves the host: first six and last four digits are left",
    severity="critical",
    requirements=["pci-3.4.1", "pci-10.3.2"],
)
def test_relay_masks(host):
    program = host.check_output("sed -n 's/^ExecStart=\\([^ ]*\\).*/\\1/p' /etc/systemd/system/%s", RELAY)
    code = (
        "import importlib.machinery as m, sys; sys.dont_write_bytecode = True; "
        "r = m.SourceFileLoader('relay', sys.argv[1]).load_module(); "
        "print(r.line({'MESSAGE': sys.argv[2], '__REALTIME_TIMESTAMP': '0'}, 999).decode().rpartition(' - ')[2])"
    )
    said = host.check_output("python3 -W ignore -c %s %s %s", code, program, f"card {CARD}")
    expect(said, "sent for a card number").to_be("card 4111 11** **** 1111")


@control(
    "rsyslog-reception",
    "A host that is no collector receives nobody's logs",
    severity="high",
    requirements=["pci-2.2.4", "cis-deb12-6.1.3.7"],
    on="senders",
)
def test_reception(host):
    heard = [listener for listener in host.sockets if listener.process == "rsyslogd" and listener.reachable]
    expect(heard, "rsyslog listens").to_be_empty()


@control(
    "logs-keys",
    "The private keys of this host's certificates are root's alone",
    severity="critical",
    requirements=["pci-2.2.6", "pci-10.3.2"],
)
def test_keys(host):
    listed = host.check_output(f"find {TLS} -name '*.key' -printf '%u %m %p\\n'").splitlines()
    expect(len(listed), "keys").to_be_at_least(1)
    expect(
        [line for line in listed if not line.startswith(("root 600 ", "root 400 "))], "others'"
    ).to_be_empty()


@control(
    "logs-local-files",
    "Log files on the host are not for everybody to read",
    severity="medium",
    requirements=["pci-10.3.1", "cis-deb12-6.1.3.4", "cis-deb12-6.1.4.1"],
)
def test_local_files(host):
    listed = host.check_output(
        "cd /var/log && find syslog auth.log kern.log user.log messages cron.log sudo.log daemon.log "
        "-perm /027 -printf '%m %p\\n' 2>/dev/null || :"
    )
    expect(listed.splitlines(), "more than 640").to_be_empty()


@control(
    "logs-rotation",
    "Logs are rotated every day before they fill the disk",
    severity="medium",
    requirements=["pci-10.5.1", "cis-deb12-6.1.3.8"],
)
def test_rotation(host):
    expect(host.daemon("logrotate.timer").state, "logrotate.timer").to_be("active")
    expect(host.daemon("logrotate.timer").at_boot, "at boot").to_be("enabled")


# --- The journal ------------------------------------------------------------------------------------------------


def journald(host, key):
    """journald's effective setting: the last file to say it wins."""
    lines = host.check_output("systemd-analyze cat-config systemd/journald.conf").splitlines()
    return ([line.split("=", 1)[1].strip() for line in lines if line.startswith(f"{key}=")] or [""])[-1]


@control(
    "journal-persistent",
    "The journal outlives a reboot",
    severity="medium",
    requirements=["pci-10.3.2", "cis-deb12-6.1.2.4"],
)
def test_journal_persistent(host):
    expect(journald(host, "Storage"), "Storage").to_be("persistent")
    expect(host.file("/var/log/journal").is_directory, "/var/log/journal").to_be(True)


@control(
    "journal-forwarded",
    "journald hands everything to rsyslog, which keeps the host's own files",
    severity="high",
    requirements=["pci-10.3.3", "cis-deb12-6.1.3.3"],
)
def test_journal_forwarded(host):
    expect(journald(host, "ForwardToSyslog"), "ForwardToSyslog").to_be_one_of("yes", "true", "1")


@control(
    "journal-unlimited",
    "No flood of messages makes journald drop a security event",
    severity="medium",
    requirements=["pci-10.2.1", "pci-10.3.2"],
)
def test_journal_unlimited(host):
    limits = {journald(host, "RateLimitBurst"), journald(host, "RateLimitIntervalSec")}
    expect("0" in limits, "rate limit off").to_be(True)


@control(
    "journal-current",
    "The running journald has read its configuration as it is now",
    severity="medium",
    requirements=["pci-2.2.1"],
)
def test_journal_current(host):
    changed = host.daemon("systemd-journald.service").changed_since(
        "/etc/systemd/journald.conf", "/etc/systemd/journald.conf.d"
    )
    expect(changed, "changed since journald read it").to_be_empty()
