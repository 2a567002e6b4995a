"""How states settle, who follows whom, and what is left after failures, restarts and kills."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from lab.api.limits import Limits
from lab.api.record_only import RecordOnly
from lab.api.store import Store
from lab.api.transitions import DROPLET_ACTIONS, Transitions
from lab.world import BackendError, Rule

from .api_support import ANYWHERE, AT_ONCE, TOKEN, Clock, cloud, custom_certificate, until

HTTP = {"entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80}


class Held(RecordOnly):
    """A backend whose effects wait to be let go, and fail where told to."""

    def __init__(self) -> None:
        super().__init__()
        self.network_may, self.machines_may = threading.Event(), threading.Event()
        self.network_may.set(), self.machines_may.set()
        self.fails: dict[str, str] = {}

    def _wait(self, event: threading.Event, what: str) -> None:
        assert event.wait(10), f"{what} was never let go"
        if what in self.fails:
            raise BackendError(self.fails[what])

    def network(self, world):
        self._wait(self.network_may, "network")
        super().network(world)

    def boot(self, droplet):
        assert self.world.droplets[droplet.id].public_ipv4 == droplet.public_ipv4, "booted before its network"
        self._wait(self.machines_may, "boot")
        super().boot(droplet)

    def destroy(self, droplet_id):
        self._wait(self.machines_may, "destroy")
        super().destroy(droplet_id)

    def reboot(self, droplet):
        self._wait(self.machines_may, "reboot")
        super().reboot(droplet)


@pytest.fixture
def held():
    return Held()


@pytest.fixture
def lab(tmp_path, held):
    with cloud(tmp_path / "api.sqlite3", backend=held) as lab:
        yield lab
        held.network_may.set(), held.machines_may.set()


def _droplet(lab, droplet_id):
    return lab.ask("GET", f"/v2/droplets/{droplet_id}", expect=200)["droplet"]


def _action(lab, droplet_id):
    return lab.ask("GET", f"/v2/droplets/{droplet_id}/actions", expect=200)["actions"][0]


def _wall(lab, wall):
    return lab.ask("GET", f"/v2/firewalls/{wall['id']}", expect=200)["firewall"]


def test_a_droplet_is_new_until_its_machine_has_booted(lab, held):
    held.machines_may.clear()
    made = lab.droplet(settle=False, monitoring=True)
    assert (made["status"], made["locked"], made["features"]) == (
        "new",
        True,
        ["monitoring", "private_networking"],
    )
    v4 = {each["type"]: each for each in made["networks"]["v4"]}
    assert v4["public"] == {
        "type": "public",
        "ip_address": "203.0.113.10",
        "netmask": "255.255.255.0",
        "gateway": "203.0.113.1",
    }
    assert v4["private"]["netmask"] == "255.255.240.0"
    assert v4["private"]["ip_address"].endswith(".2")
    until(lambda: ("network", 1) in held.calls)
    assert _action(lab, made["id"])["status"] == "in-progress"
    assert _action(lab, made["id"])["completed_at"] is None
    held.machines_may.set()
    lab.settle()
    now, action = _droplet(lab, made["id"]), _action(lab, made["id"])
    assert (now["status"], now["locked"]) == ("active", False)
    assert (action["status"], action["type"], action["region_slug"]) == ("completed", "create", "fra1")


def test_a_locked_droplet_takes_no_other_action(lab, held):
    held.machines_may.clear()
    made = lab.droplet(settle=False)
    for method, path, body in (
        ("POST", f"/v2/droplets/{made['id']}/actions", {"type": "rename", "name": "other"}),
        ("DELETE", f"/v2/droplets/{made['id']}", None),
    ):
        assert "pending event" in lab.ask(method, path, body, 422)["message"]
    held.machines_may.set()
    lab.settle()
    held.machines_may.clear()
    lab.ask("DELETE", f"/v2/droplets/{made['id']}", expect=204)
    lab.ask("DELETE", f"/v2/droplets/{made['id']}", expect=204)  # on its way already
    assert _droplet(lab, made["id"])["locked"]
    held.machines_may.set()
    lab.settle()
    lab.ask("GET", f"/v2/droplets/{made['id']}", expect=404)
    assert held.running() == set()


@pytest.mark.parametrize(
    ("first", "kind", "call", "leaves", "powered"),
    [
        (None, "shutdown", "shutdown", "off", False),
        (None, "power_off", "power_off", "off", False),
        (None, "reboot", "reboot", "active", True),
        (None, "power_cycle", "boot", "active", True),
        (None, "rebuild", "boot", "active", True),
        ("power_off", "power_on", "boot", "active", True),
    ],
)
def test_power_actions_reach_the_machine(lab, held, first, kind, call, leaves, powered):
    made = lab.droplet()
    for each in (first, kind):
        if each:
            body = {"type": each, "image": "debian-12-x64"}
            assert lab.ask("POST", f"/v2/droplets/{made['id']}/actions", body, 201)["action"]["type"] == each
            lab.settle()
    assert held.calls[-1] == (call, made["id"])
    assert _droplet(lab, made["id"])["status"] == leaves
    assert held.world.droplets[made["id"]].powered is powered


def test_rename_and_resize(lab, held):
    made = lab.droplet()
    at = f"/v2/droplets/{made['id']}/actions"
    lab.ask("POST", at, {"type": "rename", "name": "app-9"}, 201)
    lab.settle()
    lab.ask("POST", at, {"type": "power_off"}, 201)
    lab.settle()
    lab.ask("POST", at, {"type": "resize", "size": "s-1vcpu-2gb"}, 201)
    lab.settle()
    now = _droplet(lab, made["id"])
    assert (now["name"], now["memory"], now["disk"], now["status"]) == ("app-9", 2048, 25, "off")
    lab.ask("POST", at, {"type": "resize", "size": "s-1vcpu-2gb", "disk": True}, 201)
    lab.settle()
    assert _droplet(lab, made["id"])["disk"] == held.world.droplets[made["id"]].size.disk == 50
    assert "disk" in lab.ask("POST", at, {"type": "resize", "size": "s-1vcpu-1gb"}, 422)["message"]


def test_a_machine_that_does_not_boot_is_off_and_says_why(lab, held):
    held.fails["boot"] = "droplet app-1: the disk is full"
    made = lab.droplet()
    assert (made["status"], made["locked"]) == ("off", False)
    action = _action(lab, made["id"])
    assert (action["status"], action["message"]) == ("errored", "droplet app-1: the disk is full")
    assert held.world.droplets[made["id"]].powered is False
    held.fails.clear()
    lab.ask("POST", f"/v2/droplets/{made['id']}/actions", {"type": "power_on"}, 201)
    lab.settle()
    assert _droplet(lab, made["id"])["status"] == "active"


def test_a_machine_that_cannot_be_destroyed_is_there_to_be_tried_again(lab, held):
    made = lab.droplet()
    held.fails["destroy"] = "its root is busy"
    lab.ask("DELETE", f"/v2/droplets/{made['id']}", expect=204)
    lab.settle()
    assert _droplet(lab, made["id"])["status"] == "active"
    held.fails.clear()
    lab.ask("DELETE", f"/v2/droplets/{made['id']}", expect=204)
    lab.settle()
    lab.ask("GET", f"/v2/droplets/{made['id']}", expect=404)


def test_without_a_network_nothing_boots_and_what_waits_has_failed(lab, held):
    running = lab.droplet("app-0")
    held.fails["network"] = "haproxy is not installed"
    made, wall, balancer = lab.droplet(settle=False), lab.firewall(), lab.balancer()
    until(lambda: _action(lab, made["id"])["status"] == "errored")
    until(lambda: _wall(lab, wall)["status"] == "failed")
    at = f"/v2/load_balancers/{balancer['id']}"
    until(lambda: lab.ask("GET", at)["load_balancer"]["status"] == "errored")
    assert lab.ask("GET", at)["load_balancer"]["message"] == "haproxy is not installed"
    assert ("boot", made["id"]) not in held.calls
    assert _droplet(lab, running["id"])["status"] == "active"
    lab.ask("DELETE", f"/v2/droplets/{made['id']}", expect=204)  # what takes away still works
    until(lambda: lab.http.get(f"/v2/droplets/{made['id']}").status_code == 404)
    held.fails.clear()
    lab.settle()  # tried again by itself
    assert _wall(lab, wall)["status"] == "succeeded"
    assert lab.ask("GET", at)["load_balancer"]["status"] == "active"


def test_a_firewall_waits_until_it_stands(lab, held):
    lab.tag("web")
    one = lab.droplet("app-1", tags=["web"])
    held.network_may.clear()
    wall = lab.firewall(tags=["web"])
    assert wall["status"] == "waiting"
    assert wall["pending_changes"] == [{"droplet_id": one["id"], "removing": False, "status": "waiting"}]
    held.network_may.set()
    lab.settle()
    assert (_wall(lab, wall)["status"], _wall(lab, wall)["pending_changes"]) == ("succeeded", [])

    held.network_may.clear()
    two = lab.droplet("app-2", tags=["web"], settle=False)
    assert [each["droplet_id"] for each in _wall(lab, wall)["pending_changes"]] == [two["id"]]
    held.network_may.set()
    lab.settle()
    held.network_may.clear()
    body = {"resources": [{"resource_id": str(one["id"]), "resource_type": "droplet"}]}
    lab.ask("DELETE", "/v2/tags/web/resources", body, 204)
    leaving = {"droplet_id": one["id"], "removing": True, "status": "waiting"}
    assert _wall(lab, wall)["pending_changes"] == [leaving]
    held.network_may.set()
    lab.settle()
    assert held.world.firewalls[wall["id"]].droplet_ids == {two["id"]}


def test_delays_follow_the_clock(tmp_path):
    clock, slow = Clock(), replace(DROPLET_ACTIONS["create"], delay=20)
    transitions = Transitions(
        firewall=5, load_balancer=10, certificate=15, actions={**DROPLET_ACTIONS, "create": slow}
    )
    with cloud(tmp_path / "api.sqlite3", clock=clock, transitions=transitions) as lab:
        droplet, wall, balancer = lab.droplet(settle=False), lab.firewall(), lab.balancer()

        def states():
            get = lambda path: lab.ask("GET", path, expect=200)  # noqa: E731
            return (
                get(f"/v2/firewalls/{wall['id']}")["firewall"]["status"],
                get(f"/v2/load_balancers/{balancer['id']}")["load_balancer"]["status"],
                get(f"/v2/droplets/{droplet['id']}")["droplet"]["status"],
            )

        until(lambda: ("network", 1) in lab.backend.calls)
        assert states() == ("waiting", "new", "new")
        clock.pass_by(5)
        until(lambda: states() == ("succeeded", "new", "new"))
        clock.pass_by(5)
        until(lambda: states() == ("succeeded", "active", "new"))
        clock.pass_by(10)
        lab.reconciler.wake()
        until(lambda: states() == ("succeeded", "active", "active"))
    with cloud(tmp_path / "api.sqlite3", clock=clock, transitions=transitions) as lab:
        made = lab.ask("POST", "/v2/certificates", {"name": "c", **custom_certificate(at=clock.now)}, 201)
        at = f"/v2/certificates/{made['certificate']['id']}"
        assert made["certificate"]["state"] == "pending"
        clock.pass_by(15)
        assert lab.ask("GET", at)["certificate"]["state"] == "verified"


def test_a_clock_set_back_stalls_nothing(tmp_path):
    clock, delay = Clock(), replace(DROPLET_ACTIONS["reboot"], delay=1)
    transitions = Transitions(actions={**DROPLET_ACTIONS, "reboot": delay}, load_balancer=1)
    with cloud(tmp_path / "api.sqlite3", clock=clock, transitions=transitions, limits=Limits(60, 60)) as lab:
        droplet, balancer = lab.droplet(), lab.balancer()
        lab.ask("POST", f"/v2/droplets/{droplet['id']}/actions", {"type": "reboot"}, 201)
        clock.pass_by(-3 * 365 * 86400)
        lab.reconciler.wake()
        until(lambda: _action(lab, droplet["id"])["status"] == "completed")
        assert lab.ask("GET", f"/v2/load_balancers/{balancer['id']}")["load_balancer"]["status"] == "active"
        assert int(lab.http.get("/v2/account").headers["ratelimit-remaining"]) > 50


def test_a_busy_load_balancer_answers_403_until_its_change_stands(lab, held):
    held.network_may.clear()
    balancer = lab.balancer()
    at = f"/v2/load_balancers/{balancer['id']}"
    assert (balancer["status"], balancer["ip"]) == ("new", "")
    body = {"name": "edge", "region": "fra1", "forwarding_rules": [HTTP], "tls_cipher_policy": "STRONG"}
    for method, path, payload in (
        ("PUT", at, body),
        ("POST", f"{at}/droplets", {"droplet_ids": [1]}),
        ("DELETE", f"{at}/forwarding_rules", {"forwarding_rules": [HTTP]}),
    ):
        refused = lab.ask(method, path, payload, 403)
        assert refused["message"] == "Load Balancer can't be updated while it processes previous actions"
    held.network_may.set()
    lab.settle()
    now = lab.ask("PUT", at, body, 200)["load_balancer"]
    assert (now["status"], now["ip"], now["tls_cipher_policy"]) == ("active", "203.0.113.10", "STRONG")
    lab.settle()
    assert held.world.load_balancers[balancer["id"]].tls_cipher_policy == "STRONG"
    lab.ask("PUT", at, {"name": "edge", "forwarding_rules": [HTTP]}, 200)  # what is left out is reset
    lab.settle()
    assert held.world.load_balancers[balancer["id"]].tls_cipher_policy == "DEFAULT"


def test_rules_by_tag_and_uid_follow_membership(lab, held):
    lab.tag("app")
    lab.tag("logs")
    logs, balancer = lab.droplet("logs-1", tags=["logs"]), lab.balancer()
    uid = balancer["id"]
    wall = lab.firewall(
        inbound_rules=[
            {"protocol": "tcp", "ports": "6514", "sources": {"tags": ["app"]}},
            {"protocol": "tcp", "ports": "all", "sources": {"load_balancer_uids": [uid]}, "action": "deny"},
            {"protocol": "icmp", "sources": {"addresses": ["192.0.2.7"]}},
        ],
        outbound_rules=[{"protocol": "udp", "ports": 53, "destinations": {"droplet_ids": [logs["id"]]}}],
        tags=["logs"],
    )
    lab.settle()

    def addresses(droplet):
        return tuple(sorted(f"{each['ip_address']}/32" for each in droplet["networks"]["v4"]))

    made = held.world.load_balancers[uid]
    fronts = tuple(sorted((f"{made.public_ipv4}/32", f"{made.private_ipv4}/32")))
    assert held.world.firewalls[wall["id"]].inbound == (
        Rule("tcp", (6514, 6514), ()),
        Rule("tcp", (1, 65535), fronts, "deny"),
        Rule("icmp", None, ("192.0.2.7/32",)),
    )
    assert held.world.firewalls[wall["id"]].outbound == (Rule("udp", (53, 53), addresses(logs)),)

    app = lab.droplet("app-1", tags=["app"])
    assert held.world.firewalls[wall["id"]].inbound[0].addresses == addresses(app)
    lab.ask("DELETE", f"/v2/droplets/{app['id']}", expect=204)
    lab.ask("DELETE", f"/v2/load_balancers/{uid}", expect=204)
    lab.settle()
    assert [rule.addresses for rule in held.world.firewalls[wall["id"]].inbound[:2]] == [(), ()]


def test_rules_are_answered_as_the_cloud_answers_them_and_keep_what_nobody_knows(lab):
    rules = [
        {"protocol": "tcp", "ports": "all", "sources": ANYWHERE, "action": "deny"},
        {"protocol": "icmp", "sources": ANYWHERE, "comment": {"from": "the future"}},
        {"protocol": "udp", "ports": "8000-8000", "sources": ANYWHERE | {"region": "eu"}},
    ]
    wall = lab.firewall(inbound_rules=rules)
    assert _wall(lab, wall)["inbound_rules"] == [
        {"protocol": "tcp", "ports": "0", "sources": ANYWHERE, "action": "deny"},
        {"protocol": "icmp", "ports": "0", "sources": ANYWHERE, "comment": {"from": "the future"}},
        {"protocol": "udp", "ports": "8000", "sources": ANYWHERE | {"region": "eu"}},
    ]
    body = {"name": "web", "inbound_rules": _wall(lab, wall)["inbound_rules"][:1]}
    replaced = lab.ask("PUT", f"/v2/firewalls/{wall['id']}", body, 200)["firewall"]
    assert (len(replaced["inbound_rules"]), replaced["tags"]) == (1, [])


def test_members_of_a_load_balancer_follow_its_tag_and_leave_with_their_droplet(lab, held):
    vpc = lab.vpc()
    one = lab.droplet("app-1", tags=["web"], vpc_uuid=vpc["id"])
    tagged = lab.balancer("tagged", tag="web", vpc_uuid=vpc["id"])
    named = lab.balancer("named", droplet_ids=[one["id"]], vpc_uuid=vpc["id"])
    lab.settle()
    for balancer in (tagged, named):
        assert held.world.load_balancers[balancer["id"]].members == {one["id"]}
    held.machines_may.clear()
    lab.ask("DELETE", f"/v2/droplets/{one['id']}", expect=204)
    until(lambda: not held.world.load_balancers[named["id"]].members)  # before the machine is gone
    held.machines_may.set()
    lab.settle()
    assert lab.ask("GET", f"/v2/load_balancers/{named['id']}")["load_balancer"]["droplet_ids"] == []
    elsewhere = lab.droplet("far", region="ams3")
    refused = lab.ask(
        "POST", f"/v2/load_balancers/{named['id']}/droplets", {"droplet_ids": [elsewhere["id"]]}, 422
    )
    assert "VPC" in refused["message"]


def test_an_effect_that_could_not_be_written_down_is_done_again(lab, held, monkeypatch):
    real, tries = lab.reconciler._finish, []

    def full(*arguments):
        tries.append(arguments)
        if len(tries) == 1:
            raise OSError("no space left on device")
        real(*arguments)

    monkeypatch.setattr(lab.reconciler, "_finish", full)
    made = lab.droplet(settle=False)
    until(lambda: tries)
    lab.reconciler.wake()
    until(lambda: _droplet(lab, made["id"])["status"] == "active")


def test_bursts_of_changes_are_one_network(lab, held):
    held.network_may.clear()
    for number in range(12):
        lab.firewall(f"wall-{number}")
    before = len([call for call in held.calls if call[0] == "network"])
    held.network_may.set()
    lab.settle()
    assert len([call for call in held.calls if call[0] == "network"]) - before <= 3


def test_many_clients_at_once(lab, held):
    lab.tag("web")

    def life(number):
        made = lab.droplet(f"app-{number}", tags=["web"], settle=False)
        until(lambda: _droplet(lab, made["id"])["status"] == "active")
        lab.firewall(f"wall-{number}", droplet_ids=[made["id"]])
        return made["networks"]["v4"][0]["ip_address"], made["networks"]["v4"][1]["ip_address"]

    with ThreadPoolExecutor(16) as pool:
        addresses = list(pool.map(life, range(20)))
    assert len(set(addresses)) == len({public for public, _ in addresses}) == 20
    lab.settle()
    assert len(held.running()) == 20
    assert len(held.world.firewalls) == 20


def test_everything_is_there_after_a_restart(tmp_path):
    backend, path = RecordOnly(), tmp_path / "api.sqlite3"
    with cloud(path, backend=backend) as lab:
        lab.droplet("app-1", tags=["web"], user_data="#cloud-config")
        lab.firewall(tags=["web"])
        lab.balancer(tag="web")
        lab.settle()
        before = {
            noun: lab.ask("GET", f"/v2/{noun}")
            for noun in ("droplets", "firewalls", "load_balancers", "vpcs")
        }
    backend.calls.clear()
    with cloud(path, backend=backend) as lab:
        lab.settle()
        after = {noun: lab.ask("GET", f"/v2/{noun}") for noun in before}
        strip = lambda answers: str(answers).replace(lab.url, "")  # noqa: E731
        assert strip(after) == strip(before)
        assert [call[0] for call in backend.calls] == ["network"]  # nothing rebooted
        assert "#cloud-config" not in lab.http.get("/v2/droplets").text
    assert path.stat().st_mode & 0o077 == 0


def test_a_restart_converges(tmp_path):
    path = tmp_path / "api.sqlite3"
    with cloud(path) as lab:
        on, off = lab.droplet("on"), lab.droplet("off")
        lab.ask("POST", f"/v2/droplets/{off['id']}/actions", {"type": "power_off"}, 201)
        lab.settle()
    machine = RecordOnly()  # as after a restart of the machine, with one left that nobody declares
    machine._running = {off["id"], 4711}
    with cloud(path, backend=machine) as lab:
        lab.settle()
        assert machine.running() == {on["id"]}
        assert ("destroy", 4711) in machine.calls
        assert [_droplet(lab, each["id"])["status"] for each in (on, off)] == ["active", "off"]


def test_a_machine_that_switched_itself_off_is_off(tmp_path):
    with cloud(tmp_path / "api.sqlite3", transitions=replace(AT_ONCE, look=0.05)) as lab:
        one, two = lab.droplet("one"), lab.droplet("two")
        lab.backend._running.discard(one["id"])
        until(lambda: _droplet(lab, one["id"])["status"] == "off")
        assert _droplet(lab, two["id"])["status"] == "active"
        lab.ask("POST", f"/v2/droplets/{one['id']}/actions", {"type": "power_on"}, 201)
        until(lambda: _droplet(lab, one["id"])["status"] == "active")


def test_a_file_of_another_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "api.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(ValueError, match="another version"):
        Store(tmp_path / "api.sqlite3")


def test_a_range_is_kept(tmp_path):
    with cloud(tmp_path / "api.sqlite3"):
        pass
    with (
        pytest.raises(ValueError, match=r"203\.0\.113\.0/24"),
        cloud(tmp_path / "api.sqlite3", public_range="198.51.100.0/24"),
    ):
        pass


@pytest.fixture
def serve(tmp_path):
    """Start ``python -m lab.api`` on one directory, as often as wanted; each a process to be killed."""
    (tmp_path / "token").write_text(TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started = []

    def start():
        command = [sys.executable, "-m", "lab.api", "--record-only", "--port", str(port)]
        command += ["--data", str(tmp_path / "data"), "--token-file", str(tmp_path / "token")]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
        started.append(process)
        http = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"})

        def up():
            assert process.poll() is None, "the API ended"
            try:
                return http.get("/healthz").is_success
            except httpx.TransportError:
                return False

        until(up, 20)
        return process, http

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_killed_between_write_and_effect(serve):
    process, http = serve()
    assert (
        int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        < 150 * 2**20
    )
    body = {"names": ["a", "b", "c"], "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-12-x64"}
    made = http.post("/v2/droplets", json=body).json()["droplets"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, http = serve()

    def states():
        droplets = http.get("/v2/droplets").json()["droplets"]
        return {(droplet["id"], droplet["status"], droplet["locked"]) for droplet in droplets}

    until(lambda: states() == {(droplet["id"], "active", False) for droplet in made})


def test_a_token_file_without_a_token(tmp_path):
    (tmp_path / "token").write_text("short")
    command = [sys.executable, "-m", "lab.api", "--record-only", "--port", "1", "--data", str(tmp_path / "d")]
    command += ["--token-file", str(tmp_path / "token")]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (ended.returncode, "16 printable characters" in ended.stderr) == (1, True)
    assert "Traceback" not in ended.stderr


def test_a_certificate_of_the_labs_authority_is_renewed_under_its_name(tmp_path):
    """As DigitalOcean renews Let's Encrypt's: thirty days before the end, with another id, load balancers following."""
    clock = Clock()
    with cloud(tmp_path / "api.sqlite3", clock=clock) as lab:
        lab.ask("POST", "/v2/domains", {"name": "seawall.test"}, 201)
        body = {"name": "site", "type": "lets_encrypt", "dns_names": ["app.seawall.test"]}
        first = lab.ask("POST", "/v2/certificates", body, 201)["certificate"]
        vpc = lab.vpc()["id"]
        rule = {"entry_protocol": "https", "entry_port": 443, "target_protocol": "https", "target_port": 443}
        balancer = {"name": "lb", "region": "fra1", "vpc_uuid": vpc}
        balancer["forwarding_rules"] = [rule | {"certificate_id": first["id"]}]
        made = lab.ask("POST", "/v2/load_balancers", balancer, 202)["load_balancer"]["id"]

        def now():
            (held,) = lab.ask("GET", "/v2/certificates")["certificates"]
            (served,) = lab.ask("GET", f"/v2/load_balancers/{made}")["load_balancer"]["forwarding_rules"]
            assert served["certificate_id"] == held["id"]
            return held

        clock.pass_by(59 * 86400)
        lab.reconciler.wake()
        lab.settle()
        assert now() == first | {"state": "verified"}
        clock.pass_by(2 * 86400)
        lab.reconciler.wake()
        lab.settle()
        assert lab.store.world().certificates.keys() == {now()["id"]}
        assert (now()["name"], now()["id"] != first["id"]) == ("site", True)
        assert now()["not_after"] > first["not_after"]
