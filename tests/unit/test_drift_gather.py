"""What the gathering script makes of what a host's tools say, by samples written by hand."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import stat

import pytest

from seawall.drift.gather import SCRIPT

_loader = importlib.machinery.SourceFileLoader("drift_gather", str(SCRIPT))
_spec = importlib.util.spec_from_loader("drift_gather", _loader)
assert _spec
script = importlib.util.module_from_spec(_spec)
_loader.exec_module(script)

IDLE_NAT = """\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
COMMIT
"""
FILTER = """\
*filter
:INPUT DROP [7:300]
:ufw-user-input - [0:0]
-A INPUT -p tcp -m tcp --dport 2222 -j ACCEPT
COMMIT
"""


@pytest.fixture
def says(monkeypatch):
    """What each command prints from now on; all others nothing."""
    answers: dict[str, str] = {}
    monkeypatch.setattr(script, "run", lambda *argv, needed=True: answers.get(" ".join(argv), ""))
    monkeypatch.setattr(script, "nftables", lambda: answers.get("kernel", "").splitlines())
    return answers


def test_an_idle_table_is_as_no_table(says):
    says["iptables-save"] = FILTER
    plain = script.rules()
    says["iptables-save"] = IDLE_NAT + FILTER
    says["nft -s list ruleset"] = (
        "table ip nat {\n\tchain PREROUTING {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n\t}\n}\n"
    )
    assert script.rules() == plain
    assert plain == {
        "iptables filter chain INPUT": "DROP",
        "iptables filter chain ufw-user-input": "-",
        "iptables filter rules of INPUT": "-p tcp -m tcp --dport 2222 -j ACCEPT\n",
    }


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (IDLE_NAT.replace("OUTPUT ACCEPT", "OUTPUT DROP"), "iptables nat chain OUTPUT"),
        (IDLE_NAT.replace("COMMIT", ":evil - [0:0]\nCOMMIT"), "iptables nat chain evil"),
        (IDLE_NAT.replace("COMMIT", "-A OUTPUT -j ACCEPT\nCOMMIT"), "iptables nat rules of OUTPUT"),
        (IDLE_NAT.replace("*nat", "*filter"), "iptables filter chain INPUT"),
    ],
)
def test_a_table_that_does_something_is_told(says, table, told):
    says["iptables-save"] = table
    assert told in script.rules()


def test_the_older_filter_is_another_one(says):
    says["iptables-legacy-save"] = FILTER
    assert script.rules()["iptables-legacy filter chain INPUT"] == "DROP"


@pytest.mark.parametrize(
    "body",
    [
        "\tchain x {\n\t\ttcp dport 81 accept\n\t}\n",
        "\tchain PREROUTING {\n\t\ttype nat hook prerouting priority -100; policy drop;\n\t}\n",
        "\tset bad {\n\t\ttype ipv4_addr\n\t}\n",
    ],
)
def test_a_table_of_nft_with_something_in_it_is_told(says, body):
    says["nft -s list ruleset"] = f"table inet x {{\n{body}}}\n"
    assert list(script.rules()) == ["nft table inet x"]


BANNED = """table inet f2b-table {
    set addr-set-sshd {
        type ipv4_addr
        elements = { 192.0.2.77, 192.0.2.78,
                 192.0.2.79 }
    }

    set addr6-set-sshd {
        type ipv6_addr
        elements = { 2001:db8::1 }
    }

    chain f2b-chain {
        type filter hook input priority filter - 1; policy accept;
        tcp dport 2222 ip saddr @addr-set-sshd reject with icmp port-unreachable
        tcp dport 2222 ip6 saddr @addr6-set-sshd reject with icmpv6 port-unreachable
    }
}
"""


def test_addresses_that_fail2ban_shut_out_come_and_go(says):
    says["kernel"] = "inet f2b-table\n"
    says["nft -s list ruleset"] = BANNED
    assert script.rules() == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("192.0.2.77", "192.0.2.7-192.0.2.9"),
        ("tcp dport 2222 ip saddr", "tcp dport 443 accept\n        tcp dport 2222 ip saddr"),
        ("@addr-set-sshd reject", "@addr-set-sshd accept"),
        ("policy accept", "policy drop"),
        ("hook input", "hook forward"),
        ("f2b-table", "f2b-tables"),
    ],
)
def test_what_else_stands_in_fail2bans_table_is_told(says, old, new):
    says["kernel"] = "inet f2b-table\n"
    says["nft -s list ruleset"] = BANNED.replace(old, new)
    assert any(key.startswith("nft table inet f2b-table") for key in script.rules())


def test_a_table_that_no_tool_here_lists_is_told_by_the_kernel(says):
    says["kernel"] = "ip filter\nip6 nat\ninet filter\nnetdev zz\n"
    assert script.rules() == {"nft table inet filter": "there", "nft table netdev zz": "there"}


def test_the_network_as_somebody_set_it(says):
    says["ip -j -d link"] = (
        '[{"ifname": "eth0", "flags": ["BROADCAST", "UP", "PROMISC"], "link_type": "ether"},'
        ' {"ifname": "wg0", "flags": [], "linkinfo": {"info_kind": "wireguard"}}]'
    )
    says["ip -o address"] = (
        "2: eth0    inet 203.0.113.7/24 brd 203.0.113.255 scope global eth0\\ valid_lft forever preferred_lft forever\n"
        "2: eth0    inet6 2001:db8::1/64 scope global temporary dynamic \\ valid_lft 60sec\n"
    )
    says["ip -4 -o route show table all"] = (
        "default via 203.0.113.1 dev eth0 proto static \n"
        "10.9.0.0/16 via 203.0.113.9 dev eth0 table 77 \n"
        "local 203.0.113.7 dev eth0 table local proto kernel scope host src 203.0.113.7 \n"
        "local 192.0.2.0/24 dev lo table local scope host \n"
    )
    says["ip -6 -o route show table all"] = (
        "default via fe80::1 dev eth0 proto ra metric 1024 expires 1799sec pref medium\n"
    )
    says["ip -4 rule"] = "0:\tfrom all lookup local\n99:\tfrom 10.0.0.0/8 lookup 77\n"
    assert script.network() == {
        "link eth0": "ether PROMISC UP",
        "link wg0": "wireguard",
        "address 203.0.113.7/24 of eth0": "inet",
        "route default in table main (IPv4)": "default via 203.0.113.1 dev eth0 proto static",
        "route 10.9.0.0/16 in table 77 (IPv4)": "10.9.0.0/16 via 203.0.113.9 dev eth0 table 77",
        "route 192.0.2.0/24 in table local (IPv4)": "local 192.0.2.0/24 dev lo table local scope host",
        "route default in table main (IPv6)": "default via fe80::1 dev eth0 proto ra metric 1024",
        "policy rule 0 (IPv4)": "from all lookup local",
        "policy rule 99 (IPv4)": "from 10.0.0.0/8 lookup 77",
    }


def test_only_what_lasts_a_whole_look_is_a_stray():
    before = {"7": ("/tmp/x", "why"), "8": ("/tmp/y", "why"), "9": ("/tmp/z", "why")}
    now = {"7": ("/tmp/x", "why"), "9": ("/tmp/other", "why"), "10": ("/tmp/new", "why")}
    assert script.lasting(before, now) == {"/tmp/x": "why"}
    assert script.lasting(None, now) is None


def test_a_groups_password_is_masked_and_told(monkeypatch):
    held = {"/etc/group": "sudo:x:27:ops\nadm:x:4:\n", "/etc/gshadow": "sudo:$y$secret:eve:ops\nadm:*::\n"}
    monkeypatch.setattr(script, "read", held.__getitem__)
    told = script.groups()
    assert told["adm"] == "x:4:"
    assert "administrators eve" in told["sudo"]
    assert "password " in told["sudo"]
    assert "secret" not in told["sudo"]


@pytest.mark.parametrize(
    "path",
    [
        "/root",
        "/home/ops",
        "/home/ops/.config/systemd/user/x.service",
        "/home/ops/bin/sudo",
        "/var/backups/.ssh/authorized_keys",
        "/run/systemd/journald.conf.d/x.conf",
        "/var/lib/cloud/instances/7/scripts/x",
        "/tmp",
        "/var/log",
    ],
)
def test_what_configures_is_digested_wherever_it_lies(path):
    assert script.CONFIGURING.search(path)


@pytest.mark.parametrize(
    "path", ["/home/ops/notes", "/var/log/syslog", "/tmp/x", "/run/systemd/journal", "/var/lib/dpkg"]
)
def test_what_is_written_daily_is_not(path):
    assert not script.CONFIGURING.search(path)


def test_a_file_that_nothing_forbids_carries_no_flags(tmp_path):
    path = tmp_path / "x"
    path.write_text("x")
    assert script.told(str(path), path.stat(), stat.S_IFREG) == script.digest("x")
    assert script.told(str(tmp_path), tmp_path.stat(), stat.S_IFDIR) == "directory"
    assert script.access_lists(str(path)) == ""
