"""The plugin's Hardening, on hosts that are none: what it checks, finds changed, hands on together, stops."""

from __future__ import annotations

import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi.provider.experimental import provider as rpc
from pulumi.runtime.rpc import UNKNOWN

sys.path.append(str(Path(__file__).resolve().parents[2] / "infra" / "provider"))

import hosts
from gathering import Gathering
from hardening import Hardening, Job, because, changes, faults, waves
from host_key import HostKey
from values import honest, plain, properties, unknown

from seawall.findings import Finding, Subject
from seawall.playbook import Recap
from seawall.verify import Outcome

URN = "urn:pulumi:lab::seawall::seawall:index:Hardening::"


def inputs(name: str = "app-1", **more: Any) -> dict[str, Any]:
    droplets = {
        "app-1": {"id": "11", "tier": "app", "private_ip": "10.20.0.1"},
        "app-2": {"id": "12", "tier": "app", "private_ip": "10.20.0.2"},
        "app-10": {"id": "20", "tier": "app", "private_ip": "10.20.0.10"},
        "logs-1": {"id": "13", "tier": "logs", "private_ip": "10.20.0.3"},
    }
    return {
        "name": name,
        "dropletId": droplets[name]["id"],
        "network": {"ssh_port": 2222, "droplets": droplets},
        "roles": {"sshd": "aa", "ufw": "bb"},
        "controls": {"sshd": "cc"},
        "settings": {},
        **more,
    }


class Hosts:
    """Remembers what it was asked to do; hardens all but those in ``broken``."""

    def __init__(self, *broken: str) -> None:
        self.runs: list[list[str]] = []
        self.broken, self.left, self.found = set(broken), [], []

    def variables(self, network: Any, name: str) -> dict[str, Any]:
        peers = [held["private_ip"] for other, held in network["droplets"].items() if other != name]
        return {
            "sshd_port": network["ssh_port"],
            "ufw_rules": [{"ports": None, "addresses": [f"{ip}/32"]} for ip in peers],
        }

    def harden(self, jobs: list[Job], tell: Any) -> dict[Job, Any]:
        self.runs.append([job.name for job in jobs])
        return {
            job: ValueError(f"{job.name}: control sshd-root-login failed") if job.name in self.broken
            else {"verification": {"run": "r1", "passed": 70}}
            for job in jobs
        }  # fmt: skip

    def drift(self, stack: str, inputs: Any) -> list[str]:
        assert stack == "lab"
        return self.found

    def leave(self, stack: str, inputs: Any) -> None:
        self.left.append((stack, inputs["name"]))


class Told(list):
    def __call__(self, urn: str, text: str, passing: bool = False, warning: bool = False) -> None:
        self.append((urn.rpartition("::")[2], text, warning))


def resource(*broken: str) -> tuple[Hardening, Hosts, Told]:
    acting, told = Hosts(*broken), Told()
    subject = Hardening(acting, acting.variables, told)
    subject.gathering.pause = lambda: None
    return subject, acting, told


def checked(subject: Hardening, given: dict[str, Any]) -> dict[str, Any]:
    answer = subject.check(rpc.CheckRequest(URN + given["name"], {}, properties(given), b""))
    assert not answer.failures
    return plain(answer.inputs)


def diff(subject: Hardening, old: dict[str, Any], new: dict[str, Any]) -> rpc.DiffResponse:
    return subject.diff(rpc.DiffRequest(URN + new["name"], "id", properties(old), properties(new), []))


class TestValues:
    def test_there_and_back(self):
        value = {"port": 2222, "half": 0.5, "on": True, "list": [1, "two", {"deep": []}], "text": "x"}
        assert plain(properties(value)) == value

    def test_nothing_is_left_out(self):
        assert plain(properties({"a": None, "b": {"c": None}, "d": [None]})) == {"b": {}, "d": [None]}

    def test_a_text_made_with_the_unknown_is_unknown(self):
        assert honest({"rules": [f"{UNKNOWN}/32", "10.0.0.0/8"]}) == {"rules": [UNKNOWN, "10.0.0.0/8"]}
        assert unknown({"a": [{"b": UNKNOWN}]})
        assert not unknown({"a": [1, "x", None]})


class TestCheck:
    def test_the_hosts_own_variables_are_added(self):
        subject, _, _ = resource()
        found = checked(subject, inputs())
        assert found["drift"] == []
        assert found["vars"]["sshd_port"] == 2222
        assert found["vars"]["ufw_rules"][0] == {"addresses": ["10.20.0.2/32"]}

    @pytest.mark.parametrize("missing", ["name", "dropletId", "network", "roles", "controls", "settings"])
    def test_all_of_it_is_needed(self, missing):
        given = {key: value for key, value in inputs().items() if key != missing}
        assert faults(given) == {missing: f"{missing} is missing"}

    def test_what_is_no_input(self):
        assert "takes name" in faults(inputs(sshKey="x"))["sshKey"]

    def test_a_private_key_is_refused_wherever_it_stands(self):
        key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
        found = faults(inputs(network={"droplets": {"app-1": {"key": key}}}))
        assert "private key" in found["network"]
        assert "AAAA" not in found["network"]

    def test_a_droplet_that_the_network_does_not_list(self):
        assert "lists no droplet app-9" in faults(inputs(name="app-1") | {"name": "app-9"})["network"]


class TestDiff:
    def test_nothing_changed_nothing_to_do(self):
        subject, _, told = resource()
        state = checked(subject, inputs())
        answer = diff(subject, {**state, "verification": {"run": "r0"}}, state)
        assert (answer.changes, answer.diffs, told) == (False, [], [])

    def test_the_role_is_named(self):
        subject, _, told = resource()
        old = checked(subject, inputs())
        new = checked(subject, inputs(roles={"sshd": "ZZ", "ufw": "bb", "kernel": "dd"}))
        answer = diff(subject, old, new)
        assert answer.changes
        assert sorted(answer.detailed_diff) == ["roles.kernel", "roles.sshd"]
        assert told == [("app-1", "will be hardened again: role kernel, role sshd", False)]
        assert not answer.replaces

    def test_the_variable_is_named_and_only_where_it_matters(self):
        subject, _, _ = resource()
        old = checked(subject, inputs())
        grown = inputs()
        grown["network"]["droplets"]["app-2"]["private_ip"] = "10.20.0.99"
        assert list(diff(subject, old, checked(subject, grown)).detailed_diff) == ["vars.ufw_rules"]
        elsewhere = inputs()
        elsewhere["network"]["droplets"]["app-2"]["size"] = "s-8vcpu-16gb"
        assert not diff(subject, old, checked(subject, elsewhere)).changes

    def test_what_is_unknown_will_be(self):
        subject, _, told = resource()
        old = checked(subject, inputs())
        new = inputs()
        new["network"]["droplets"]["app-2"]["private_ip"] = UNKNOWN
        answer = diff(subject, old, checked(subject, new))
        assert list(answer.detailed_diff) == ["vars.ufw_rules"]
        assert told[-1][1] == "will be hardened again: variable ufw_rules"

    def test_another_droplet_is_another_hardening_made_before_the_old_goes(self):
        subject, _, _ = resource()
        old = checked(subject, inputs())
        for droplet in (UNKNOWN, "99"):
            answer = diff(subject, old, checked(subject, inputs(dropletId=droplet)))
            assert answer.replaces == ["dropletId"]
            assert answer.delete_before_replace is False

    def test_drift_asks_for_it(self):
        subject, _, told = resource()
        state = checked(subject, inputs())
        answer = diff(subject, {**state, "drift": ["file /etc/ssh/sshd_config"]}, state)
        assert list(answer.detailed_diff) == ["drift"]
        assert told[-1][1] == "will be hardened again: drift on the host (1)"

    def test_odd_names_make_paths_all_the_same(self):
        assert list(changes({"roles": {}}, {"roles": {"a-b": "1"}, "dropletId": None})) == ['roles["a-b"]']

    def test_a_new_droplet_needs_no_other_reason(self):
        assert because({"dropletId": "a new droplet", "roles.sshd": "role sshd"}) == "a new droplet"


def create(subject: Hardening, name: str, preview: bool = False) -> rpc.CreateResponse:
    given = checked(subject, inputs(name))
    return subject.create(rpc.CreateRequest(URN + name, properties(given), 0, preview))


def update(subject: Hardening, name: str, preview: bool = False) -> rpc.UpdateResponse:
    given = properties(checked(subject, inputs(name)))
    return subject.update(rpc.UpdateRequest(URN + name, "id", given, given, 0, [], preview))


def side_by_side(act: Any, subject: Hardening, *names: str) -> dict[str, Any]:
    """What becomes of each, all asked for at once."""

    def one(name: str) -> Any:
        try:
            return act(subject, name)
        except Exception as failure:
            return str(failure)

    def all_wait() -> None:
        while len(subject.gathering.waiting) < len(names):
            time.sleep(0.001)

    subject.gathering.pause = all_wait
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


class TestCreating:
    def test_a_preview_touches_nobody_and_promises_no_id(self):
        subject, hosts, _ = resource()
        assert plain(create(subject, "app-1", preview=True).properties)["dropletId"] == UNKNOWN
        assert plain(update(subject, "app-1", preview=True).properties)["dropletId"] == "11"
        assert hosts.runs == []

    def test_all_asked_for_side_by_side_share_one_run(self):
        subject, hosts, _ = resource()
        made = side_by_side(create, subject, "app-10", "app-2", "app-1", "logs-1")
        assert hosts.runs == [["app-1", "app-2", "app-10", "logs-1"]]
        assert made["app-2"].resource_id == "app-2.12"
        assert plain(made["app-2"].properties)["verification"] == {"run": "r1", "passed": 70}
        assert plain(made["app-2"].properties)["dropletId"] == "12"

    def test_one_that_fails_takes_no_other_with_it(self):
        subject, _, _ = resource("app-2")
        made = side_by_side(create, subject, "app-1", "app-2")
        assert made["app-2"] == "app-2: control sshd-root-login failed"
        assert made["app-1"].resource_id == "app-1.11"


class TestRolling:
    def test_one_of_a_tier_first_then_the_rest(self):
        subject, hosts, _ = resource()
        side_by_side(update, subject, "app-10", "app-2", "app-1", "logs-1")
        assert hosts.runs == [["app-1", "logs-1"], ["app-2", "app-10"]]

    def test_it_stops_at_a_failure_and_says_where(self):
        subject, hosts, _ = resource("app-1")
        made = side_by_side(update, subject, "app-1", "app-2", "app-10")
        assert hosts.runs == [["app-1"]]
        assert made["app-2"] == (
            "app-2 was left as it is: the change stopped at app-1, whose error stands beside this."
        )

    def test_and_later_ones_of_the_same_update_stay_as_they_are(self):
        subject, hosts, _ = resource("app-1")
        side_by_side(update, subject, "app-1")
        assert "was left as it is" in side_by_side(update, subject, "logs-1")["logs-1"]
        assert hosts.runs == [["app-1"]]

    def test_a_tier_proven_once_needs_no_second_proof(self):
        subject, hosts, _ = resource()
        side_by_side(update, subject, "app-1")
        side_by_side(update, subject, "app-2", "app-10")
        assert hosts.runs == [["app-1"], ["app-2", "app-10"]]

    def test_new_droplets_need_not_wait(self):
        jobs = [
            Job(URN + n, inputs(n), update)
            for n, update in (("app-1", True), ("app-2", True), ("app-10", False))
        ]
        assert [[job.name for job in wave] for wave in waves(jobs, set())] == [["app-1", "app-10"], ["app-2"]]


class TestReadingAndLeaving:
    def read(self, subject: Hardening) -> rpc.ReadResponse:
        given = checked(subject, inputs())
        return subject.read(
            rpc.ReadRequest(
                URN + "app-1",
                "app-1.11",
                properties({**given, "verification": {"run": "r0"}}),
                properties(given),
            )
        )

    def test_a_host_as_it_was_left(self):
        subject, _, told = resource()
        answer = self.read(subject)
        assert plain(answer.properties)["drift"] == []
        assert plain(answer.properties)["verification"] == {"run": "r0"}
        assert told == []

    def test_drift_lands_in_the_state_and_is_told(self):
        subject, hosts, told = resource()
        hosts.found = ["file /etc/motd: expected none, seen mode 0644"]
        answer = self.read(subject)
        assert plain(answer.properties)["drift"] == plain(answer.inputs)["drift"] == hosts.found
        assert told == [("app-1", "app-1: file /etc/motd: expected none, seen mode 0644", True)]

    def test_a_flood_is_counted(self):
        subject, hosts, told = resource()
        hosts.found = [f"file /{n}" for n in range(1000)]
        assert plain(self.read(subject).properties)["drift"][20:] == ["and 980 more: `seawall drift`"]
        assert len(told) == 20

    def test_leaving(self):
        subject, hosts, _ = resource()
        given = properties(checked(subject, inputs("app-2")))
        subject.delete(rpc.DeleteRequest(URN + "app-2", "id", given, 0))
        assert hosts.left == [("lab", "app-2")]


class TestGathering:
    def test_who_is_expected_is_waited_for(self):
        """The engine has asked about three and comes with them one by one, however slowly: one run takes them all."""
        runs: list[list[int]] = []

        def work(jobs: list[int]) -> dict[int, int]:
            runs.append(sorted(jobs))
            return {job: job for job in jobs}

        gathering = Gathering(work, pause=lambda: None)
        for who in ("one", "two", "three", "four"):
            gathering.expect(who)
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(gathering.do, 1, "one")
            while not gathering.waiting:
                time.sleep(0.001)
            gathering.forgo("four")
            second = pool.submit(gathering.do, 2, "two")
            assert not first.done()
            third = pool.submit(gathering.do, 3, "three")
            assert [each.result(10) for each in (first, second, third)] == [1, 2, 3]
        assert runs == [[1, 2, 3]]

    def test_who_never_comes_is_not_waited_for_twice(self, monkeypatch):
        monkeypatch.setattr("gathering.LONGEST_SECONDS", 0.01)
        gathering = Gathering(lambda jobs: {job: job for job in jobs}, pause=lambda: None)
        gathering.expect("nobody")
        assert gathering.do(1, "one") == 1
        assert gathering.coming == set()

    def test_what_comes_while_one_runs_is_taken_together(self):
        runs, begun, go_on = [], threading.Event(), threading.Event()

        def work(jobs):
            runs.append(sorted(jobs))
            begun.set()
            assert go_on.wait(30)
            return {job: job * 10 for job in jobs}

        gathering = Gathering(work, pause=lambda: None)
        with ThreadPoolExecutor(8) as pool:
            first = pool.submit(gathering.do, 1)
            assert begun.wait(30)
            others = [pool.submit(gathering.do, number) for number in (2, 3, 4)]
            while len(gathering.waiting) < 3:
                time.sleep(0.001)
            go_on.set()
            assert [first.result(), *(each.result() for each in others)] == [10, 20, 30, 40]
        assert runs == [[1], [2, 3, 4]]

    def test_work_that_breaks_is_everybodys_failure(self):
        def work(jobs):
            raise OSError("no ansible")

        gathering = Gathering(work, pause=lambda: None)
        with pytest.raises(OSError, match="no ansible"):
            gathering.do(1)
        with pytest.raises(OSError, match="no ansible"):
            gathering.do(2)


def test_a_host_key_is_unknown_in_a_preview():
    request = rpc.CreateRequest("urn", properties({"name": "app-1"}), 0, True)
    assert plain(HostKey().create(request).properties) == {
        "name": "app-1", "privateKey": UNKNOWN, "publicKey": UNKNOWN,
    }  # fmt: skip


class TestWhatAHostIsToldBy:
    """``hosts.py``, as far as it decides."""

    RECAP = Recap("app-1", ok=80, changed=3, unreachable=0, failed=0)

    @pytest.fixture(autouse=True)
    def _apart(self, monkeypatch, tmp_path):
        monkeypatch.setenv("SEAWALL_DIR", str(tmp_path / "seawall"))

    def finding(self, control: str, status: str, name: str = "app-1") -> Finding:
        return Finding(
            control=control, title="t", subject=Subject(kind="droplet", name=name), status=status, severity="high",
            expected="no" if status == "fail" else "", seen="yes" if status == "fail" else "",
            reason="it hung" if status == "unknown" else "", at="2026-06-01T00:00:00Z", run="r1",
            by={"version": "1", "commit": "c"},
        )  # fmt: skip

    def judged(self, *found: Finding, update: bool = False) -> Any:
        droplets = {"app-1": {"public_ip": "203.0.113.1", "id": "11", "tier": "app"}}
        network = {"ssh_port": 2222, "admin_user": "ops", "droplets": droplets}
        job = Job(URN + "app-1", inputs() | {"network": network}, update)
        return hosts.judgement(job, self.RECAP, Outcome("r1", list(found), Path("/f/r1.jsonl"), 1.0))

    def test_all_passed(self):
        told = self.judged(
            self.finding("sshd-root-login", "pass"),
            self.finding("clock-source", "not-applicable"),
            self.finding("nginx-up", "waived"),
            self.finding("sshd-root-login", "fail", name="app-2"),
        )
        assert told == {"verification": {"run": "r1", "passed": 1, "ok": 80, "changed": 3}}

    def test_a_failure_names_droplet_control_and_next_step(self):
        told = str(self.judged(self.finding("sshd-root-login", "fail")))
        assert told.startswith(
            "app-1 failed its controls and gets no traffic: control sshd-root-login failed: expected no, seen yes. "
            "`seawall explain sshd-root-login` tells what to do; then run `pulumi up` (or `seawall up`) again. "
            "Findings: /f/r1.jsonl. The way in: ssh "
        )

    def test_one_that_served_goes_on(self):
        assert "serves as it did before" in str(self.judged(self.finding("a-b", "fail"), update=True))

    def test_what_nobody_could_judge_is_no_pass_and_no_failure(self):
        told = str(self.judged(self.finding("sshd-root-login", "unknown")))
        assert "was not judged" in told
        assert "it hung" in told
        assert "failed its controls" not in told

    def test_many_are_counted(self):
        told = str(self.judged(*(self.finding(f"sshd-a{n}", "fail") for n in range(9))))
        assert "and 6 more" in told

    def test_parts_of_one_network_put_together(self):
        one = {"ssh_port": 1, "droplets": {"a": {"id": "1", "public_ip": "203.0.113.1"}}}
        two = {"ssh_port": 1, "droplets": {"b": {"id": "2"}}}
        droplets = {"a": {"id": "1", "public_ip": "203.0.113.1"}, "b": {"id": "2", "public_ip": ""}}
        assert hosts.union([one, two]) == {"ssh_port": 1, "droplets": droplets}

    def test_where_sshd_has_not_moved_yet_it_is_reached_where_it_was(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as moved, socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            there, not_there = moved.getsockname()[1], closed.getsockname()[1]

            def job(name: str, port: int, was: int | None) -> Job:
                droplets = {name: {"public_ip": "127.0.0.1", "id": "1", "tier": "app"}}
                network = {"ssh_port": port, "admin_user": "ops", "droplets": droplets}
                return Job(URN + name, inputs() | {"name": name, "network": network}, was is not None, was)

            same, new, done = (
                job("a-1", not_there, not_there),
                job("a-2", not_there, None),
                job("a-3", there, 22),
            )
            assert hosts.moving([same, new, done], tmp_path) == []
            options = hosts.moving([same, job("a-4", not_there, 2222)], tmp_path)
        assert options[::2] == ["-i", "-i"]
        written = yaml.safe_load((tmp_path / "moving.yml").read_text())
        assert written == {"all": {"hosts": {"a-4": {"ansible_port": 2222}}}}
