"""Whatever happens to the collector or the sender, every line arrives: numbered lines, counted at the other end.

5,000 lines a fault from each droplet that can write then; 100,000 under SEAWALL_SOAK. The figures are printed and
written to `.seawall/log-faults.json`. On two droplets of a lab of its own, or, with SEAWALL_TEST_INVENTORY (app-1 and
logs-1) and SEAWALL_DIR, on hosts you have.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from seawall.places import CHECKOUT
from tests.lab.roles_host import Host, Run, eventually
from tests.unit.test_roles_modules import plugin

LINES = 100_000 if os.environ.get("SEAWALL_SOAK") else 5_000
PATIENCE = 240 + LINES / 500  # seconds for all lines to arrive once nothing is in their way
CERTIFICATE = "/etc/seawall/tls/rsyslog.pem"
CUT = "OUTPUT -p tcp --dport 6514 -j DROP"
FILL = "/fill"
RELAY = "/usr/local/lib/seawall/journal-relay"

pytestmark = pytest.mark.timeout(3600 if os.environ.get("SEAWALL_SOAK") else 900)


# Not yet seen to pass on a quiet lab of the tests' own, so not yet part of every run. The full disk failed there once.
soak_only = pytest.mark.skipif(not os.environ.get("SEAWALL_SOAK"), reason="in `make soak`")


@dataclass
class Pair:
    """A sender and its collector, and what the faults so far have cost."""

    app: Host
    logs: Host
    figures: list[dict] = field(default_factory=list)
    run: str = field(default_factory=lambda: f"{time.time_ns():x}")

    def harden(self, **variables) -> Run:
        return self.app.harden("--limit", "all", **variables)

    def write(self, host: Host, fault: str) -> None:
        """``LINES`` numbered lines into the host's log, as an application writes them."""
        host.ssh(f"seq -f {self.run}.{fault}.%06.0f {LINES} | logger -t numbered")

    def arrived(self, host: Host, fault: str) -> Counter[str]:
        """How often each number of a fault is on file, under the name of the host that sent it.

        Whole numbers: of a line that a full disk cut off the beginning stays, before the whole one.
        """
        files = f"/var/log/remote/{host.name}/numbered.log"
        wanted = f"cat {files}* | grep -oE '{self.run}[.]{fault}[.][0-9]{{6}}'"
        said = self.logs.try_ssh(f"sudo sh -c {shlex.quote(wanted)}")
        return Counter(said.stdout.split())

    def classic(self, sender: str, what: str) -> set[str]:
        """Files of the folder for an address that hold this run's line."""
        found = self.logs.try_ssh(f"sudo grep -rl {self.run}.{what} /var/log/remote/classic-{sender}").stdout
        return {Path(line).name for line in found.split()}

    def all_arrive(self, fault: str, *hosts: Host) -> None:
        """Wait for the last number of each host, then expect them all, and count what came twice."""
        for host in hosts:
            began = time.monotonic()
            eventually(
                lambda host=host: len(self.arrived(host, fault)) >= LINES,
                PATIENCE,
                f"{fault} from {host.name}",
            )
            found = self.arrived(host, fault)
            assert set(found) == {f"{self.run}.{fault}.{number:06}" for number in range(1, LINES + 1)}
            self.figures.append(
                {
                    "fault": fault,
                    "from": host.name,
                    "written": LINES,
                    "arrived": len(found),
                    "twice": found.total() - len(found),
                    "seconds_after": round(time.monotonic() - began, 1),
                }
            )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    def hosts(inventory: Path, directory: Path, restart=None) -> Pair:
        app, logs = (
            Host(name, inventory, directory, playbook="tests/lab/logs.yml") for name in ("app-1", "logs-1")
        )
        app.restart = restart
        made = Pair(app, logs)
        ended = made.harden()
        assert not ended.failed, ended.said
        return made

    if inventory := os.environ.get("SEAWALL_TEST_INVENTORY"):
        made = hosts(Path(inventory), Path(os.environ["SEAWALL_DIR"]))
        yield made
        report(made)
        return
    if os.geteuid() != 0 or not shutil.which("systemd-nspawn"):
        pytest.skip("machines need root and systemd-nspawn")
    from tests.lab import roles_lab

    with roles_lab.running(tmp_path_factory.mktemp("logs"), {"app-1": "web", "logs-1": "logs"}) as lab:
        made = hosts(lab.inventory, lab.directory, lambda: lab.restart("app-1"))
        yield made
        report(made)


def report(pair: Pair) -> None:
    """The figures, for people and for programs."""
    path = CHECKOUT / ".seawall" / "log-faults.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(json.dumps(pair.figures, indent=1) + "\n")
    print("\n| fault | from | written | arrived | twice | seconds afterwards |\n|---|---|---|---|---|---|")
    for row in pair.figures:
        print("| " + " | ".join(map(str, row.values())) + " |")


def stop_rsyslog(host: Host) -> None:
    host.ssh("sudo systemctl stop syslog.socket rsyslog.service")


def start_rsyslog(host: Host) -> None:
    host.ssh("sudo systemctl start syslog.socket rsyslog.service")


def test_the_collector_is_stopped(pair: Pair) -> None:
    stop_rsyslog(pair.logs)
    try:
        pair.write(pair.app, "stopped")
        pair.write(pair.logs, "stopped")
        assert not pair.arrived(pair.app, "stopped")
    finally:
        start_rsyslog(pair.logs)
    pair.all_arrive("stopped", pair.app, pair.logs)


@soak_only
def test_the_collectors_disk_is_full(pair: Pair) -> None:
    free = "df --output=avail -B1 / | tail -1"
    fill = f"fallocate -l $({free}) {FILL}; dd if=/dev/zero of={FILL}2 bs=4k; true"
    pair.logs.ssh(f"sudo sh -c {shlex.quote(fill)} 2>/dev/null")
    try:
        assert int(pair.logs.ssh(free)) == 0
        # Not from the collector: its journal is on the full disk too.
        pair.write(pair.app, "full")
        assert len(pair.arrived(pair.app, "full")) < LINES
    finally:
        pair.logs.ssh(f"sudo rm -f {FILL} {FILL}2")
    pair.all_arrive("full", pair.app)


@soak_only
def test_the_collector_is_cut_off(pair: Pair) -> None:
    pair.app.ssh(f"sudo iptables -I {CUT}")
    try:
        pair.write(pair.app, "cut")
        assert not pair.arrived(pair.app, "cut")
    finally:
        pair.app.ssh(f"sudo iptables -D {CUT}")
    pair.all_arrive("cut", pair.app)


def expired(pair: Pair) -> str:
    """A certificate of the kit's authority for the collector's key and names, that has run out."""
    authority = plugin("controller", "seawall_authority")
    ours = authority.load_or_create(pair.logs.directory / "ca")
    key = "/etc/seawall/tls/rsyslog.key"
    request = pair.logs.ssh(f"sudo openssl req -new -key {key} -subj /CN=logs-1")
    authority.BACKDATED, authority.CERTIFICATE_DAYS = timedelta(days=365), -1
    names = [pair.logs.variables["seawall_host_key_alias"], "logs-1"]
    return authority.sign(request, ours, names, [])


@soak_only
def test_the_collectors_certificate_expires_and_is_renewed(pair: Pair) -> None:
    install = f"echo {shlex.quote(expired(pair))} | sudo tee {CERTIFICATE} >/dev/null; sudo systemctl restart rsyslog"
    pair.logs.ssh(install)
    pair.write(pair.app, "expired")
    pair.write(pair.logs, "expired")
    refused = "sudo journalctl -q -u seawall-journal | grep -c 'certificate has expired'"
    eventually(lambda: int(pair.app.try_ssh(refused).stdout or 0) > 0, 60, "it is refused")
    assert not pair.arrived(pair.app, "expired")
    renewed = pair.harden()
    assert not renewed.failed, renewed.said
    pair.all_arrive("expired", pair.app, pair.logs)


@soak_only
def test_renewal_before_the_end_loses_nothing(pair: Pair) -> None:
    """A run renews while lines flow: what reads the certificate is restarted at both ends."""
    serial = f"sudo openssl x509 -noout -serial -in {CERTIFICATE}"
    before = {host.ssh(serial) for host in (pair.app, pair.logs)}
    slowly = (
        f"import sys, time\nfor line in sys.stdin: print(line, end='', flush=True); time.sleep(10 / {LINES})"
    )
    numbers = f"seq -f {pair.run}.renewed.%06.0f {LINES}"
    flow = f"{numbers} | python3 -c {shlex.quote(slowly)} | logger -t numbered"
    pair.app.ssh(f"nohup sh -c {shlex.quote(flow)} >/dev/null 2>&1 &")
    renewed = pair.harden(rsyslog_client_renew_days=366)
    assert not renewed.failed, renewed.said
    assert before.isdisjoint({host.ssh(serial) for host in (pair.app, pair.logs)})
    pair.all_arrive("renewed", pair.app)


@soak_only
def test_the_sender_is_rebooted(pair: Pair) -> None:
    if pair.app.restart is None:
        pytest.skip("this host is not ours to restart")
    stop_rsyslog(pair.logs)
    try:
        pair.write(pair.app, "rebooted")
        pair.app.restart()
        pair.app.wait_until_in(60)
    finally:
        start_rsyslog(pair.logs)
    pair.all_arrive("rebooted", pair.app)


@soak_only
def test_the_relay_is_killed_over_and_over(pair: Pair) -> None:
    """It masks; where it does not run no line leaves, and none leaves raw."""
    pair.app.ssh("logger -t cards 'before 4111111111111111'; sudo systemctl kill -s KILL seawall-journal")
    pair.write(pair.app, "killed")
    pair.app.ssh("sudo systemctl kill -s KILL seawall-journal; logger -t cards 'after 4111 1111 1111 1111'")
    pair.all_arrive("killed", pair.app)
    eventually(
        lambda: "after 4111 11** **** 1111" in pair.logs.ssh("sudo cat /var/log/remote/app-1/cards.log || :"),
        30,
        "the masked line is filed",
    )
    assert "before 411111******1111" in pair.logs.ssh("sudo cat /var/log/remote/app-1/cards.log")
    raw = pair.logs.try_ssh(
        "sudo grep -rlE '4111 ?1111 ?1111 ?1111' /var/log/remote/app-1 --exclude=sudo.log"
    )
    assert raw.stdout == ""


@soak_only
def test_a_long_json_event_arrives_whole(pair: Pair) -> None:
    event = json.dumps({"event": "long", "data": "x" * 40_000, "end": True})
    subprocess.run(
        [*pair.app._ssh("-o", "ControlPath=none"), "logger -s -t json --size 65000 2>/dev/null"],
        input=event, text=True, check=True, timeout=30,
    )  # fmt: skip
    eventually(
        lambda: event in pair.logs.ssh("sudo cat /var/log/remote/app-1/json.log || :"), 30, "it is filed"
    )


@soak_only
def test_classic_syslog_is_taken_from_declared_ranges_only_and_filed_apart(pair: Pair) -> None:
    address, sender = (host.variables["seawall_private_ip"] for host in (pair.logs, pair.app))
    heard = "sudo ss -Hlntu 'sport = :514' | wc -l"
    assert pair.logs.ssh(heard).strip() == "0"
    try:
        for ranges, what in (([f"{sender}/32"], "taken"), (["192.0.2.0/24"], "refused")):
            ended = pair.harden(rsyslog_collector_classic_ranges=ranges)
            assert not ended.failed, ended.said
            for protocol in ("--udp", "--tcp"):
                pair.app.ssh(f"logger -n {address} {protocol} -P 514 -t device{protocol} {pair.run}.{what}")
            if what == "taken":
                eventually(
                    lambda: pair.classic(sender, "taken") == {"device--tcp.log", "device--udp.log"}, 30, what
                )
        pair.app.ssh(f"logger -t after {pair.run}.after")
        later = f"sudo grep -c {pair.run}.after /var/log/remote/{pair.app.name}/after.log"
        eventually(lambda: pair.logs.try_ssh(later).stdout.strip() == "1", 30, "what was logged afterwards")
        assert not pair.classic(sender, "refused")
    finally:
        ended = pair.harden()
    assert not ended.failed, ended.said
    assert pair.logs.ssh(heard).strip() == "0"


def opened(pair: Pair, tls: str) -> bool:
    """Whether the collector takes lines on a connection that is opened with the key and certificate of a folder."""
    code = (
        "import importlib.machinery as m, sys; sys.dont_write_bytecode = True; "
        "r = m.SourceFileLoader('relay', sys.argv[1]).load_module(); r.Relp(sys.argv[2], 6514, *sys.argv[3:])"
    )
    known = pair.app.variables
    words = [RELAY, known["rsyslog_collector_address"], known["rsyslog_collector_name"], tls]
    return pair.app.try_ssh(f"sudo python3 -W ignore -c {shlex.join([code, *words])}").returncode == 0


@soak_only
def test_a_revoked_key_is_refused_while_its_hosts_name_still_stands(pair: Pair) -> None:
    """The run that revokes a key gives its host another; whoever has the old one has nothing."""
    names = f"sudo openssl x509 -noout -ext subjectAltName -in {CERTIFICATE}"
    before, leaked = pair.app.ssh(names), "/root/leaked"
    (fingerprint,) = re.findall(r"[0-9a-f]{32}\.[0-9a-f]{32}\.sha256", before)
    pair.app.ssh(f"sudo cp -a {Path(CERTIFICATE).parent} {leaked}")
    assert opened(pair, leaked)
    ended = pair.harden(rsyslog_collector_revoked=[fingerprint])
    assert not ended.failed, ended.said
    assert not opened(pair, leaked)
    after = pair.app.ssh(names)
    assert fingerprint not in after
    assert pair.app.variables["seawall_host_key_alias"] in after
    pair.app.ssh(f"logger -t rekeyed {pair.run}; sudo rm -r {leaked}")
    filed = f"sudo grep -c {pair.run} /var/log/remote/app-1/rekeyed.log"
    eventually(lambda: pair.logs.try_ssh(filed).stdout.strip() == "1", 60, "with its new key it is heard")


@soak_only
def test_a_revoked_host_is_refused_after_the_run(pair: Pair) -> None:
    revoked = [pair.app.variables["seawall_host_key_alias"]]
    ended = pair.harden(rsyslog_collector_revoked=revoked)
    assert not ended.failed, ended.said
    try:
        pair.app.ssh("logger -t revoked stranger")
        refused = "sudo journalctl -q -u rsyslog --since=-2min | grep -c 'authentication error'"
        eventually(lambda: int(pair.logs.try_ssh(refused).stdout or 0) > 0, 60, "the collector refuses")
        assert pair.logs.try_ssh("sudo test -e /var/log/remote/app-1/revoked.log").returncode == 1
    finally:
        ended = pair.harden()
    assert not ended.failed, ended.said
    eventually(
        lambda: pair.logs.try_ssh("sudo test -e /var/log/remote/app-1/revoked.log").returncode == 0,
        60,
        "permitted again, its line arrives",
    )
