"""What the roles' modules decide, without a host: given this, exactly these changes, or none."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import ansible.module_utils
import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
ansible.module_utils.__path__.append(str(PLUGINS / "module_utils"))


def plugin(kind: str, name: str):
    """A plugin as a module. Plugins are files that Ansible loads by path, so is it done here."""
    spec = importlib.util.spec_from_file_location(f"{kind}_{name}", PLUGINS / kind / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


accounts, sshd, ufw = (plugin("modules", f"seawall_{name}") for name in ("accounts", "sshd", "ufw"))
packages = plugin("modules", "seawall_packages")
known_hosts = plugin("controller", "seawall_known_hosts")
pin = plugin("action", "seawall_pin")
confirmed = plugin("action", "seawall_confirmed")
answers = plugin("action", "seawall_answers")
host = accounts.host

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUbQFP1Wm9x1W0mVqjD3vuhLtu6wXjOdkFcN9DJlC1T"
OPS = [{"name": "ops", "public_keys": [KEY]}]


class TestAccounts:
    def test_a_watch_passes_through_a_bastion_and_nowhere_else(self):
        bound = {"name": "watch", "public_keys": [KEY], "command": "look"}
        (file,) = accounts.reader_files(bound)
        assert file.content.decode() == f'restrict,command="look" {KEY}\n'
        (file,) = accounts.reader_files(bound | {"jumps": ["10.20.0.2:2222", "10.20.0.3:2222"]})
        assert file.content.decode() == (
            'restrict,port-forwarding,permitopen="10.20.0.2:2222",permitopen="10.20.0.3:2222",command="look" '
            f"{KEY}\n"
        )

    def commands(self, users, groups, shadow, administrators=OPS, vendor=("debian",)):
        protected = ("sshusers", "sudo")
        return accounts.commands(administrators, "sshusers", list(vendor), users, groups, shadow, protected)

    def test_nothing_to_do(self):
        users = {"root": "/bin/bash", "ops": "/bin/bash", "debian": "/usr/sbin/nologin"}
        shadow = {"root": ("*", ""), "debian": ("!", "")}
        assert self.commands(users, {"sshusers": ["ops"], "sudo": ["ops"]}, shadow) == []

    def test_a_new_administrator_and_the_group(self):
        assert self.commands({"root": "/bin/bash"}, {}, {"root": ("*", "")}) == [
            ["groupadd", "--system", "sshusers"],
            [
                "useradd",
                "--key",
                "PASS_MAX_DAYS=-1",
                "--key",
                "PASS_MIN_DAYS=-1",
                "--key",
                "HOME_MODE=0750",
                "--create-home",
                "--shell",
                "/bin/bash",
                "--groups",
                "sshusers",
                "ops",
            ],
        ]

    def test_strangers_leave_the_groups_that_matter(self):
        users = {"root": "/bin/bash", "ops": "/bin/bash", "eve": "/bin/bash"}
        groups = {"sshusers": ["ops", "eve"], "sudo": ["eve"]}
        assert self.commands(users, groups, {"root": ("*", "")}) == [
            ["gpasswd", "--delete", "eve", "sshusers"],
            ["gpasswd", "--delete", "eve", "sudo"],
        ]

    def test_root_and_vendor_accounts_are_locked(self):
        users = {"root": "/bin/bash", "ops": "/bin/bash", "debian": "/bin/bash"}
        shadow = {"root": ("$y$hash", ""), "debian": ("$y$hash", "")}
        assert self.commands(users, {"sshusers": ["ops"]}, shadow) == [
            ["usermod", "--lock", "root"],
            ["usermod", "--lock", "debian"],
            ["usermod", "--shell", "/usr/sbin/nologin", "debian"],
        ]

    def test_an_administrator_with_a_vendors_name_is_none(self):
        admin = [{"name": "debian", "public_keys": [KEY]}]
        users = {"root": "/bin/bash", "debian": "/bin/bash"}
        assert self.commands(users, {"sshusers": ["debian"]}, {"root": ("*", "")}, administrators=admin) == []

    def test_exactly_the_declared_keys(self):
        files = accounts.key_files(
            OPS,
            ["root", "ops", "debian", "eve"],
            {"root": "/root", "ops": "/home/ops", "debian": "/home/debian", "eve": "/home/ops"},
        )
        assert {file.path: file.content for file in files} == {
            "/home/ops/.ssh/authorized_keys": (KEY + "\n").encode(),
            "/home/ops/.ssh/authorized_keys2": None,
            "/root/.ssh/authorized_keys": None,
            "/root/.ssh/authorized_keys2": None,
            "/home/debian/.ssh/authorized_keys": None,
            "/home/debian/.ssh/authorized_keys2": None,
        }

    def test_keys_are_named_by_their_fingerprints(self):
        text = f'# {KEY}\ncommand="sh",no-pty {KEY} ops\nnonsense\n'
        # ssh-keygen -lf says so.
        assert accounts.fingerprints(text) == {"SHA256:0sYaXbklPCrpR8BzkmjrfFHHA/qi7fN6qsmXcNDa9Cs"}

    def test_what_a_profile_asks_of_pam(self):
        profile = (
            "Name: x\nDefault: yes\nAuth-Type: Primary\nAuth:\n\t[default=die] pam_faillock.so authfail deny=10\n"
            "Account-Type: Primary\nAccount:\n\trequired pam_faillock.so\n"
        )
        assert accounts.pam_lines(profile) == [
            ("/etc/pam.d/common-auth", ["pam_faillock.so", "authfail", "deny=10"]),
            ("/etc/pam.d/common-account", ["pam_faillock.so"]),
        ]

    @pytest.mark.parametrize(
        "administrators",
        [
            [],
            [{"name": "root", "public_keys": [KEY]}],
            [{"name": "../etc", "public_keys": [KEY]}],
            [{"name": "ops", "public_keys": []}],
            [{"name": "ops", "public_keys": ["no key"]}],
            [{"name": "ops", "public_keys": [f'{KEY} ops\ncommand="sh" {KEY}']}],
        ],
    )
    def test_bad_declarations_are_refused(self, administrators):
        with pytest.raises(host.HostError):
            accounts.validated(administrators)


class TestSshd:
    KNOWN = {keyword: ["a", "b", "c"] for keyword in sshd.QUERIES}

    def test_the_drop_in(self):
        settings = {
            "Port": 2222,
            "HostKey": ["/k1", "/k2"],
            "Ciphers": ["z", "c", "a"],
            "X11Forwarding": False,
        }
        matches = [{"criteria": "Address *,!10.0.0.0/8", "settings": {"DenyUsers": "*"}}]
        assert sshd.rendered(settings, matches, self.KNOWN).splitlines()[1:] == [
            "Port 2222",
            "HostKey /k1",
            "HostKey /k2",
            "Ciphers c,a",
            "X11Forwarding no",
            "Match Address *,!10.0.0.0/8",
            "    DenyUsers *",
            "Match all",
        ]

    def test_an_empty_algorithm_list_is_refused_not_left_to_the_default(self):
        with pytest.raises(host.HostError, match="knows none of the declared MACs"):
            sshd.rendered({"MACs": ["z"]}, [], self.KNOWN)

    def test_deviations_see_a_value_that_another_file_set_first(self):
        text = (
            "# x\nPort 2222\nPermitRootLogin no\nHostKey /k1\nHostKey /k2\nMatch Address *\n    DenyUsers *\n"
        )
        effective = "port 2222\npermitrootlogin without-password\nhostkey /k1\nhostkey /k2\ndenyusers x\n"
        assert sshd.deviations(text, effective) == [
            "PermitRootLogin is without-password where no is declared",
        ]

    def test_moduli_below_the_limit_go(self):
        weak = "20240101000000 2 6 100 2047 2 AB"
        strong = "20240101000000 2 6 100 3071 2 CD"
        assert sshd.strong_moduli(f"# Time Type\n{weak}\n{strong}\n", 3071) == strong + "\n"


class TestUfw:
    def rule(self, **other):
        rule = {
            "direction": "in",
            "protocol": "tcp",
            "ports": "443",
            "addresses": ["10.0.0.0/8"],
            "comment": "why",
        }
        return {**rule, **other}

    def test_one_rule_per_address_with_its_family(self):
        got = ufw.expanded([self.rule(addresses=["10.0.0.0/8", "2001:db8::/32"])])
        assert [(one["address"], one["family"]) for one in got] == [
            ("10.0.0.0/8", "4"),
            ("2001:db8::/32", "6"),
        ]

    def test_the_same_rule_for_two_reasons_is_one(self):
        assert len(ufw.expanded([self.rule(), self.rule(comment="another")])) == 1

    def test_icmp_is_left_to_ufws_own_rules(self):
        assert ufw.expanded([self.rule(protocol="icmp", ports=None)]) == []

    @pytest.mark.parametrize(
        "wrong",
        [
            {"direction": "sideways"},
            {"protocol": "sctp"},
            {"ports": "0"},
            {"ports": "65536"},
            {"ports": "9000:8000"},
            {"ports": "443; reboot"},
            {"ports": None},
            {"addresses": ["10.0.0.1/8"]},
            {"addresses": ["anywhere"]},
        ],
    )
    def test_what_is_no_rule_is_refused(self, wrong):
        with pytest.raises(host.HostError, match="No firewall rule"):
            ufw.expanded([self.rule(**wrong)])

    def test_strangers_are_named(self):
        wanted = ufw.ruleset("*filter\n:INPUT DROP [0:0]\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n")
        running = ufw.ruleset(
            "# by hand\n*filter\n:INPUT DROP [7:99]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n"
        )
        assert running != wanted
        assert ufw.strangers(running, wanted) == ["-A INPUT -p tcp -j ACCEPT"]

    def test_counters_and_comments_make_no_difference(self):
        one = "# Generated at noon\n*filter\n:INPUT DROP [1:60]\nCOMMIT\n"
        assert ufw.ruleset(one) == ufw.ruleset("*filter\n:INPUT DROP [0:0]\nCOMMIT\n")

    def test_ufws_settings_keep_what_is_not_declared(self):
        options = {"incoming": "deny", "outgoing": "allow", "logging": "low", "ipv6": True}
        defaults, conf = ufw.settings("IPV6=no\n# note\nMANAGE_BUILTINS=no\n", "ENABLED=no\n", options)
        assert "IPV6=yes\n# note\nMANAGE_BUILTINS=no\n" in defaults
        assert 'DEFAULT_OUTPUT_POLICY="ACCEPT"' in defaults
        assert conf == "ENABLED=yes\nLOGLEVEL=low\n"


def test_unwanted_packages_are_found_whole_half_or_as_left_over_configuration():
    status = {"telnet": "ii ", "ftp": "rc ", "nis": "un ", "cups": "iU "}
    assert packages.surplus(["telnet", "ftp", "nis", "cups", "xrdp"], status) == ["cups", "ftp", "telnet"]


def test_packages_that_are_only_half_there_are_missing():
    status = {"nginx": "ii ", "ufw": "rc ", "rsyslog": "iU ", "sudo": "hi "}
    assert packages.missing(["nginx", "rsyslog", "sudo", "ufw", "zsh"], status) == ["rsyslog", "ufw", "zsh"]


class TestKnownHosts:
    TEXT = "app-1.1 ssh-ed25519 AAAA\napp-2.2 ssh-ed25519 BBBB\n"

    def test_pinning_replaces_one_hosts_keys_and_no_others(self):
        text = known_hosts.pinned(self.TEXT, "app-1.1", ["ssh-ed25519 CCCC root@app-1", "ssh-rsa DDDD"])
        assert text == "app-2.2 ssh-ed25519 BBBB\napp-1.1 ssh-ed25519 CCCC\napp-1.1 ssh-rsa DDDD\n"

    def test_a_first_contact_never_replaces_a_pinned_key(self):
        text = pin.with_first_contacts(
            self.TEXT, {"app-1.1": "ssh-ed25519 EEEE", "app-3.3": "ssh-ed25519 FFFF"}
        )
        assert text == self.TEXT + "app-3.3 ssh-ed25519 FFFF\n"

    def test_updates_are_private_and_only_where_needed(self, tmp_path):
        path = tmp_path / "seawall" / "known_hosts"
        assert known_hosts.update(str(path), lambda text: text + "x y z\n")
        assert path.stat().st_mode & 0o777 == 0o600
        assert not known_hosts.update(str(path), lambda text: text)


class TestUfwLimit:
    TEXT = "*filter\n:ufw-before-input - [0:0]\n# don't delete the 'COMMIT' line\nCOMMIT\n"
    LIMIT = {"port": 2222, "per_minute": 120, "burst": 240}

    def test_the_block_comes_before_the_table_ends_and_once(self):
        once = ufw.limited(self.TEXT, self.LIMIT, "ufw-before-input")
        assert once.index("--hashlimit-above 120/minute --hashlimit-burst 240 -j DROP") < once.rindex(
            "COMMIT"
        )
        assert ufw.limited(once, self.LIMIT, "ufw-before-input") == once

    def test_another_limit_replaces_it_and_none_removes_it(self):
        once = ufw.limited(self.TEXT, self.LIMIT, "ufw-before-input")
        other = ufw.limited(once, {**self.LIMIT, "port": 2200}, "ufw-before-input")
        assert "2222" not in other
        assert ufw.limited(other, None, "ufw-before-input") == self.TEXT


class TestRefusedChanges:
    """What is said of a change that no new connection confirmed, by the host's own report."""

    def verdict(self, last):
        return confirmed.verdict("sshd", "It was told: no.", last, "4711", 7.4)

    def test_put_back_is_said_of_this_change_put_back_whole_only(self):
        whole = self.verdict({"id": "4711", "problems": []})
        assert whole.startswith("sshd: refused, and put back. It was told: no.")
        assert "since 7 s after the change" in whole

    def test_an_incomplete_revert_says_what_failed(self):
        said = self.verdict({"id": "4711", "problems": ["systemctl restart ssh: Job failed."]})
        assert "not put back whole" in said
        assert "systemctl restart ssh: Job failed." in said
        assert "refused, and put back" not in said

    @pytest.mark.parametrize("last", [None, {"id": "another", "problems": []}])
    def test_without_a_report_of_it_nothing_is_claimed(self, last):
        said = self.verdict(last)
        assert "not known" in said
        assert "put back" not in said


def test_a_command_that_hangs_is_an_error_in_words():
    assert host.run(["sleep", "30"], timeout=0.1).returncode == 124
    with pytest.raises(host.HostError, match=r"^It hung: sleep 30 said: nothing within 0 s; it was ended$"):
        host.must(["sleep", "30"], "It hung", timeout=0.1)


class TestFilesAreReplacedTogether:
    @pytest.fixture
    def tree(self, tmp_path, monkeypatch):
        monkeypatch.setattr(host, "CHANGED", str(tmp_path / "changed" / "changed"))
        (tmp_path / "one").write_text("old")
        owner, group = tmp_path.owner(), tmp_path.group()
        return lambda name, content: host.File(str(tmp_path / name), content, 0o640, owner, group)

    def test_all_of_them(self, tree, tmp_path):
        (tmp_path / "two").write_text("goes")
        host.install(
            [tree("one", b"new"), tree("two", None), tree("deep/three", b"3"), tree("nothing", None)]
        )
        assert {path.name for path in tmp_path.iterdir()} == {"one", "deep", "changed"}
        assert (tmp_path / "one").read_text() == "new"
        assert (tmp_path / "one").stat().st_mode & 0o7777 == 0o640

    def test_or_none_where_one_has_no_room(self, tree, tmp_path, monkeypatch):
        def flushed(fd, whole=host.os.fsync):
            if host.os.path.basename(host.os.readlink(f"/proc/self/fd/{fd}")).startswith(".seawall-"):
                written.append(fd)
                if len(written) == 3:  # the note of a change, one, and then two
                    raise OSError(28, "No space left on device")
            whole(fd)

        written = []
        monkeypatch.setattr(host.os, "fsync", flushed)
        with pytest.raises(host.HostError, match=r"/two could not be written \(No space left on device\)"):
            host.install([tree("one", b"new"), tree("two", b"2")])
        assert (tmp_path / "one").read_text() == "old"
        assert {path.name for path in tmp_path.iterdir()} == {"one", "changed"}


def test_a_host_without_room_is_named_with_each_full_disk_once():
    said = """Filesystem     1024-blocks   Used Available Capacity Mounted on
/dev/vda1         25614028 255000  24322644       2% /
/dev/vda1         25614028 255000  24322644       2% /
tmpfs              2470000 2470000        0     100% /tmp
/dev/vdb1         25614028 255000     32767      99% /var
"""
    assert answers.cramped(said) == ["/tmp has 0 KiB", "/var has 32767 KiB"]
    assert answers.cramped("df: no such thing\n") == []
