"""The collector: takes lines from proven peers only, and keeps them a year, out of everybody's reach."""

import json
import re

from seawall.controls import control, expect
from seawall.places import places

PORT = 6514
CLASSIC = 514
ARCHIVE = "/var/log/remote"
PROGRAM = "/usr/local/lib/seawall/archive"
TIMER = "seawall-archive.timer"


def classic_ranges(host):
    """Ranges from which classic syslog is declared to be taken; nearly always none."""
    return host.vars.get("rsyslog_collector_classic_ranges", [])


def settings(host):
    """What the program that closes files was told."""
    return json.loads(host.check_output("cat /etc/seawall/archive.json"))


# RELP's greeting (librelp's own), as a client without a certificate would send it.
_OFFERS = "\nrelp_version=0\nrelp_software=seawall\ncommands=syslog"
GREETING = f"1 open {len(_OFFERS)} {_OFFERS}\n"


@control(
    "collector-listens",
    "The collector takes RELP over TLS on its port",
    severity="high",
    requirements=["pci-10.3.3"],
    on="collectors",
)
def test_listens(host):
    heard = {
        listener.port for listener in host.sockets if listener.process == "rsyslogd" and listener.reachable
    }
    declared = {PORT, CLASSIC} if classic_ranges(host) else {PORT}
    expect(heard, "ports rsyslog listens on").to_be_exactly(declared)


@control(
    "collector-classic",
    "Nothing takes unproven syslog on 514, but from declared ranges where there are any",
    severity="high",
    requirements=["pci-1.2.6", "pci-10.3.2"],
    on="collectors",
)
def test_classic(host):
    heard = {listener.port for listener in host.sockets if listener.port in (CLASSIC, 601)}
    ranges = classic_ranges(host)
    expect(heard, "listening").to_be_exactly({CLASSIC} if ranges else ())
    text = host.check_output("cat /etc/rsyslog.conf /etc/rsyslog.d/*.conf")
    allowed = re.findall(r"^\$AllowedSender (UDP|TCP), *(.*)$", text, re.MULTILINE)
    declared = [(protocol, ", ".join(ranges)) for protocol in ("UDP", "TCP")] if ranges else []
    expect(allowed, "ranges rsyslog takes it from").to_be(declared)


@control(
    "collector-certificates",
    "Whoever shows no certificate of the kit gets no session",
    severity="critical",
    requirements=["pci-10.3.2", "pci-10.3.4"],
    on="collectors",
)
def test_certificates(host):
    answer = host.tls(PORT).exchange(GREETING)
    expect(re.findall(r"rsp \d+ 200[^\n]*", answer), "answers to a stranger").to_be_empty()


@control(
    "collector-tls-versions",
    "The collector speaks TLS 1.2 and 1.3 only",
    severity="high",
    requirements=["pci-2.2.7", "pci-12.3.3"],
    on="collectors",
)
def test_tls_versions(host):
    expect(host.tls(PORT).versions, "versions").to_be_only({"TLS 1.2", "TLS 1.3"})


@control(
    "collector-peers",
    "The collector permits the declared hosts' keys, by fingerprint, and no other",
    severity="critical",
    requirements=["pci-10.3.2"],
    on="collectors",
)
def test_peers(host):
    text = host.check_output("cat /etc/rsyslog.d/*.conf")
    receiving = re.search(rf'input\([^)]*type="imrelp" port="{PORT}"[^)]*\)', text, re.DOTALL)
    expect(
        receiving is not None and 'tls.authmode="name"' in receiving[0], "peers are checked by name"
    ).to_be(True)
    names = re.search(r"permittedpeer=\[([^\]]*)\]", receiving[0], re.IGNORECASE)
    # Which key each has, the authority has on record; a host that never got a certificate has none.
    record = places().root / "ca" / "fingerprints.json"
    keys = json.loads(record.read_text()) if record.exists() else {}
    revoked = set(host.vars.get("rsyslog_collector_revoked", []))
    declared = {*host.vars["rsyslog_clients"], host.vars["seawall_host_key_alias"]} - revoked
    expect(re.findall(r'"([^"]*)"', names[1] if names else ""), "permitted").to_be_exactly(
        {keys.get(name, name) for name in declared} - revoked
    )


@control(
    "collector-filed-by-peer",
    "Every folder of the archive is a declared host's",
    severity="medium",
    requirements=["pci-10.3.4"],
    on="collectors",
)
def test_filed_by_peer(host):
    declared = {name.rpartition(".")[0] for name in host.vars["rsyslog_clients"]} | {host.name}
    folders = host.check_output(f"find {ARCHIVE} -mindepth 1 -maxdepth 1 -printf '%f\\n'").split()
    if classic_ranges(host):
        folders = [folder for folder in folders if not folder.startswith("classic-")]
    expect(folders, "folders").to_be_only(declared)


@control(
    "collector-files",
    "The archive is root's to write, adm's to read and nobody else's",
    severity="high",
    requirements=["pci-10.3.1", "pci-10.3.2"],
    on="collectors",
)
def test_files(host):
    loose = host.check_output(
        f"find {ARCHIVE} ! -user root -printf '%u %m %p\\n' -o -perm /027 -printf '%u %m %p\\n'"
    ).splitlines()
    expect(loose, "others can read or write").to_be_empty()


@control(
    "collector-append-only",
    "What is on file can be added to and not changed: every file of the archive is append-only",
    severity="high",
    requirements=["pci-10.3.2", "pci-10.3.4"],
    on="collectors",
)
def test_append_only(host):
    files = f"find {ARCHIVE} /var/lib/seawall/archive -type f ! -name '*.lock' ! -name verified.json -size +0"
    # There is no chain before the first midnight.
    listed = host.check_output(f"{files} -exec lsattr -- {{}} + 2>/dev/null || :").splitlines()
    expect(len(listed), "files").to_be_at_least(1)
    loose = [line.split(None, 1)[1] for line in listed if "a" not in line.split()[0]]
    expect(loose, "not append-only").to_be_empty()


@control(
    "collector-acknowledges",
    "A sender is answered once its line is on file, and a line that the disk does not take is tried again for ever",
    severity="high",
    requirements=["pci-10.3.3", "pci-10.7.3"],
    on="collectors",
)
def test_acknowledges(host):
    text = host.check_output("cat /etc/rsyslog.d/*.conf")
    writing = re.search(r'action\([^)]*name="seawall-archive"[^)]*\)', text, re.DOTALL)
    held = dict(re.findall(r'([\w.]+)="([^"]*)"', writing[0])) if writing else {}
    expect(held.get("type"), "written by").to_be("omprog")
    expect(held.get("confirmMessages"), "confirmMessages").to_be("on")
    expect(held.get("action.resumeRetryCount"), "action.resumeRetryCount").to_be("-1")
    expect(held.get("queue.type", "Direct"), "queue between").to_be("Direct")
    queues = re.findall(r'ruleset\(name="seawall-remote" queue.type="(\w+)"\)', text)
    expect(queues, "queue before").to_be(["Direct"])


@control(
    "collector-retention",
    "The archive keeps at least a year, three months of it at hand",
    severity="high",
    requirements=["pci-10.5.1"],
    on="collectors",
)
def test_retention(host):
    held = settings(host)
    expect(held["directory"], "archive").to_be(ARCHIVE)
    expect(held["keep_days"], "days kept").to_be_at_least(365)
    expect(held["plain_days"], "days uncompressed").to_be_at_least(90)


@control(
    "collector-closes-daily",
    "Files are closed and chained every day, and all that is closed is read",
    severity="high",
    requirements=["pci-10.3.4", "pci-10.5.1"],
    on="collectors",
)
def test_closes_daily(host):
    expect(host.daemon(TIMER).state, TIMER).to_be("active")
    expect(host.daemon(TIMER).at_boot, "at boot").to_be("enabled")
    said = host.check_output("systemctl show -p Result --value seawall-archive.service")
    expect(said, "the last time").to_be("success")


@control(
    "collector-chain",
    "No closed file of the archive was altered, removed or put there since it was closed",
    severity="critical",
    requirements=["pci-10.3.4", "pci-11.5.2"],
    on="collectors",
)
def test_chain(host):
    answer = host.run(f"{PROGRAM} check")
    expect(json.loads(answer.stdout)["wrong"] if answer.stdout else [answer.stderr], "wrong").to_be_empty()
