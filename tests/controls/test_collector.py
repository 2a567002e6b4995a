"""The collector: takes lines from proven peers only, and keeps them a year, out of everybody's reach."""

import re

from seawall.controls import control, expect

PORT = 6514
ARCHIVE = "/var/log/remote"

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
    expect(heard, "ports rsyslog listens on").to_be_exactly({PORT})


@control(
    "collector-classic",
    "Nothing takes unproven syslog on 514",
    severity="high",
    requirements=["pci-1.2.6", "pci-10.3.2"],
    on="collectors",
)
def test_classic(host):
    expect([listener for listener in host.sockets if listener.port in (514, 601)], "listening").to_be_empty()


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
    "The collector permits the declared hosts' certificates and no other",
    severity="critical",
    requirements=["pci-10.3.2"],
    on="collectors",
)
def test_peers(host):
    text = host.check_output("cat /etc/rsyslog.d/*.conf")
    receiving = re.search(r'input\([^)]*type="imrelp"[^)]*\)', text, re.DOTALL)
    expect(
        receiving is not None and 'tls.authmode="name"' in receiving[0], "peers are checked by name"
    ).to_be(True)
    names = re.search(r"permittedpeer=\[([^\]]*)\]", receiving[0], re.IGNORECASE)
    expect(re.findall(r'"([^"]*)"', names[1] if names else ""), "permitted").to_be_exactly(
        host.vars["rsyslog_clients"]
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
    "collector-retention",
    "The archive keeps at least a year",
    severity="high",
    requirements=["pci-10.5.1"],
    on="collectors",
)
def test_retention(host):
    text = host.check_output(f"grep -lsF {ARCHIVE} /etc/logrotate.d/* | xargs -r cat")
    kept = {
        name: int(value) for name, value in re.findall(r"^\s*(rotate|maxage)\s+(\d+)", text, re.MULTILINE)
    }
    expect(bool(re.search(r"^\s*daily", text, re.MULTILINE)), "a file a day").to_be(True)
    expect(kept.get("rotate", 0), "files kept").to_be_at_least(365)
    expect(kept.get("maxage", kept.get("rotate", 0)), "days kept").to_be_at_least(365)
