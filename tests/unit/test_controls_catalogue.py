"""What holds of all controls, and of the words they are written in."""

import re

import pytest

from seawall.controls import Deviation, begin, expect, looks
from seawall.facts import accounts, apt, sockets, sshd, ufw
from seawall.places import CHECKOUT
from tests.controls import catalogue

CONTROLS = catalogue.every()
NAMES = [control.id for control in CONTROLS]


def test_there_are_at_least_sixty():
    assert len(CONTROLS) >= 60


def test_ids_are_unique():
    assert sorted(NAMES) == sorted(set(NAMES))


@pytest.mark.parametrize("control", CONTROLS, ids=NAMES)
def test_a_control_is_well_declared(control):
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)+", control.id)
    assert re.match(r"[A-Za-z1-9]", control.title)
    assert not control.title.endswith(".")
    assert control.requirements, "a control serves a requirement"
    assert all(re.fullmatch(r"(pci|cis-deb12)-\d+(\.\d+)+", held) for held in control.requirements)
    assert control.on in {"all", "web", "collectors", "senders"}
    assert control.proven_on in catalogue.MACHINES


def test_every_test_of_tests_controls_is_a_control():
    for path in (CHECKOUT / "tests" / "controls").glob("test_*.py"):
        text = path.read_text()
        assert len(re.findall(r"^def test_", text, re.MULTILINE)) == len(
            re.findall(r"^@control\(", text, re.MULTILINE)
        )


def test_the_table_is_in_step():
    written = (CHECKOUT / "docs" / "controls.md").read_text()
    assert written == catalogue.markdown(), "run: python -m tests.controls.catalogue > docs/controls.md"


# --- expect -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("judge", "good", "bad"),
    [
        (lambda seen: expect(seen).to_be("no"), "no", "yes"),
        (lambda seen: expect(seen).to_be_one_of("a", "b"), "b", "c"),
        (lambda seen: expect(seen).to_be_at_most(4), 4, 5),
        (lambda seen: expect(seen).to_be_at_least(4), 4, 3),
        (lambda seen: expect(seen).to_be_within(1, 4), 1, 0),
        (lambda seen: expect(seen).to_be_only({"a", "b"}), ["a"], ["a", "c"]),
        (lambda seen: expect(seen).to_be_only({"a"}), ["a"], []),  # nothing offered is not "only good ones"
        (lambda seen: expect(seen).to_be_exactly(["a", "b"]), ["b", "a"], ["a"]),
        (lambda seen: expect(seen).to_include("a"), ["a", "b"], ["b"]),
        (lambda seen: expect(seen).to_match(r"\d+"), "12", "12a"),
        (lambda seen: expect(seen).to_be_empty(), [], ["a"]),
    ],
)
def test_expectations_hold_and_fail(judge, good, bad):
    judge(good)
    with pytest.raises(Deviation):
        judge(bad)


def test_what_was_seen_is_kept_on_a_pass_too():
    begin()
    expect("no", "PermitRootLogin").to_be("no")
    assert looks() == (("PermitRootLogin: no", "PermitRootLogin: no"),)


def test_a_deviation_says_what_is_missing_and_what_is_too_much():
    with pytest.raises(Deviation) as raised:
        expect({"a", "c"}, "keys").to_be_exactly({"a", "b"})
    assert (raised.value.expected, raised.value.seen) == ("keys: a, b", "keys: missing b; besides c")


# --- Facts: what hosts print, read --------------------------------------------------------------------------


def test_sshd_settings_given_more_than_once_are_lists():
    assert sshd.parse("port 22\nport 2222\npermitrootlogin no\n") == {
        "port": ["22", "2222"],
        "permitrootlogin": "no",
    }


def test_listeners():
    text = (
        'tcp LISTEN 0 128 127.0.0.1:8000 0.0.0.0:* users:(("gunicorn",pid=7,fd=5),("gunicorn",pid=8,fd=5))\n'
        'tcp LISTEN 0 128 [::]:2222 [::]:* users:(("sshd",pid=3,fd=4))\n'
        'udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:* users:(("systemd-resolve",pid=9,fd=5))\n'
        "tcp LISTEN 0 128 *:80 *:*\n"
    )
    found = sockets.parse(text)
    assert [(held.process, held.port, held.reachable) for held in found] == [
        ("gunicorn", 8000, False), ("sshd", 2222, True), ("systemd-resolve", 53, False), ("the kernel", 80, True),
    ]  # fmt: skip


def test_what_ufw_lets_through():
    lines = [
        "-s 203.0.113.0/24 -p tcp -m tcp --dport 2222 -j ACCEPT",
        "-p tcp -m multiport --dports 80,443 -j ACCEPT",
        "-p udp -m udp --dport 53 -j DROP",
        "-j ACCEPT",
    ]
    assert {str(held) for held in ufw.allowed([line.split() for line in lines], "0.0.0.0/0")} == {
        "2222/tcp 203.0.113.0/24", "80/tcp 0.0.0.0/0", "443/tcp 0.0.0.0/0", "any/any 0.0.0.0/0",
    }  # fmt: skip


def test_apt_settings():
    found = apt.parse(
        'APT::Periodic "";\nAPT::Periodic::Enable "1";\nX::Origins:: "a b";\nX::Origins:: "c";\n'
    )
    assert (found["APT::Periodic::Enable"], found["X::Origins::"]) == (["1"], ["a b", "c"])


def test_authorized_keys_with_options_comments_and_two_files():
    text = '# /home/a/k\nno-pty,command="ssh-add x" ssh-ed25519 AAAA me\n#ssh-rsa OLD\n\n# /home/b/k\nssh-rsa BBBB\n'
    assert accounts.keys_by_account(text, {"/home/a/k": "a", "/home/b/k": "b"}) == {
        "a": {"ssh-ed25519 AAAA"},
        "b": {"ssh-rsa BBBB"},
    }


def test_who_sudo_trusts():
    rules = {
        "User_Specs": [
            {"User_List": [{"username": "ops"}], "Cmnd_Specs": [{"Options": [{"authenticate": False}]}]},
            {"User_List": [{"usergroup": "sudo"}], "Cmnd_Specs": [{"Commands": []}]},
        ]
    }
    assert set(accounts.grants(rules, without_password=True)) == {"ops"}
    assert set(accounts.grants(rules, without_password=False)) == {"ops", "%sudo"}
