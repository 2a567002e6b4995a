"""Connections, against a real SSH server: whom they believe, how they ask, what they say when nobody answers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from seawall.connection import Unreachable, connect, routes
from seawall.problem import Problem
from tests.unit.connection_server import Server, _private_key


@pytest.fixture
def user_key(tmp_path):
    path = tmp_path / "id_ed25519"
    path.write_text(_private_key().read())
    path.chmod(0o600)
    return path


@pytest.fixture
def servers(tmp_path, user_key):
    made = []

    def serve():
        key = paramiko.Ed25519Key.from_private_key_file(str(user_key))
        made.append(Server(tmp_path / "bin", key))
        return made[-1]

    yield serve
    for server in made:
        server.hang_up()


@pytest.fixture
def known_hosts(tmp_path):
    path = tmp_path / "known_hosts"
    path.touch()
    return path


def pin(known_hosts, alias, server):
    with known_hosts.open("a") as file:
        file.write(f"{alias} {server.host_key.get_name()} {server.host_key.get_base64()}\n")


def variables(server, name, known_hosts, user_key, more=""):
    return {
        "ansible_host": "127.0.0.1",
        "ansible_port": server.port,
        "ansible_user": "ops",
        "ansible_ssh_private_key_file": str(user_key),
        "ansible_ssh_common_args": f"-o HostKeyAlias={name}.7 -o UserKnownHostsFile={known_hosts} {more}",
    }


@pytest.fixture
def backends(known_hosts, user_key):
    made = []

    def reach(**servers):
        found = routes(
            {name: variables(server, name, known_hosts, user_key) for name, server in servers.items()}
        )
        made.append(connect(found, ThreadPoolExecutor(8)))
        return made[-1]

    yield reach
    for backend in (backend for held in made for backend in held.values()):
        backend.close()


# --- Whom it believes ---------------------------------------------------------------------------------------


def test_the_pinned_host_is_asked(servers, backends, known_hosts):
    server = servers()
    pin(known_hosts, "app-1.7", server)
    answer = backends(**{"app-1": server})["app-1"].run("echo %s; echo no >&2; exit 3", "ä b")
    assert (answer.rc, answer.stdout, answer.stderr) == (3, "ä b\n", "no\n")


def test_a_host_with_another_key_is_not(servers, backends, known_hosts):
    server, impostor = servers(), servers()
    pin(known_hosts, "app-1.7", server)
    with pytest.raises(Unreachable, match=r"app-1 could not be asked: .*app-1\.7"):
        backends(**{"app-1": impostor})["app-1"].run("id")


def test_a_host_without_a_pinned_key_is_not(servers, backends):
    with pytest.raises(Unreachable, match="not found in known_hosts"):
        backends(**{"app-1": servers()})["app-1"].run("id")


def test_a_key_pinned_for_another_alias_does_not_count(servers, backends, known_hosts):
    server = servers()
    pin(known_hosts, "app-1.6", server)
    with pytest.raises(Unreachable):
        backends(**{"app-1": server})["app-1"].run("id")


def test_a_missing_known_hosts_is_said(servers, backends, known_hosts):
    known_hosts.unlink()
    with pytest.raises(Unreachable, match="No such file"):
        backends(**{"app-1": servers()})["app-1"].run("id")


def test_a_refused_user_key_is_said(servers, backends, known_hosts, user_key):
    server = servers()
    pin(known_hosts, "app-1.7", server)
    user_key.write_text(_private_key().read())
    with pytest.raises(Unreachable, match="Authentication failed"):
        backends(**{"app-1": server})["app-1"].run("id")


# --- How it asks --------------------------------------------------------------------------------------------


def test_one_connection_and_one_answer_a_run(servers, backends, known_hosts, tmp_path):
    server, count = servers(), tmp_path / "count"
    pin(known_hosts, "app-1.7", server)
    backend = backends(**{"app-1": server})["app-1"]
    for _ in range(3):
        backend.run("echo x >> %s", str(count))
    assert count.read_text() == "x\n"
    backend.run("echo x >> %s", str(count), fresh=True)
    assert count.read_text() == "x\nx\n"
    assert server.connections == 1


def test_what_one_is_asked_all_are(servers, backends, known_hosts, tmp_path):
    one, two = servers(), servers()
    pin(known_hosts, "app-1.7", one)
    pin(known_hosts, "app-2.7", two)
    found = backends(**{"app-1": one, "app-2": two})
    found["app-1"].run("echo asked >> %s", str(tmp_path / "asked"))
    assert found["app-2"].ask(f"echo asked >> {tmp_path / 'asked'}").result(5)[0] == 0
    assert (tmp_path / "asked").read_text() == "asked\nasked\n"


def test_a_host_that_is_down_keeps_nobody_else_from_answering(servers, backends, known_hosts):
    one, two = servers(), servers()
    pin(known_hosts, "app-1.7", one)
    two.hang_up()
    found = backends(**{"app-1": one, "app-2": two})
    assert found["app-1"].run("echo here").stdout == "here\n"
    with pytest.raises(Unreachable, match="app-2"):
        found["app-2"].run("echo here")


def test_a_connection_lost_on_the_way_is_said_at_once(servers, backends, known_hosts):
    server = servers()
    pin(known_hosts, "app-1.7", server)
    backend = backends(**{"app-1": server})["app-1"]
    waiting = backend.ask("echo begun; sleep 25")
    backend.run("true")
    server.hang_up()
    with pytest.raises(Unreachable, match="stopped answering"):
        waiting.result(10)


def test_bytes_that_are_no_text_survive(servers, backends, known_hosts):
    server = servers()
    pin(known_hosts, "app-1.7", server)
    assert backends(**{"app-1": server})["app-1"].run(r"printf '\377\000a'").stdout_bytes == b"\xff\x00a"


def test_a_bastion_carries_those_behind_it(servers, known_hosts, user_key):
    bastion, inner = servers(), servers()
    pin(known_hosts, "bastion-1.7", bastion)
    pin(known_hosts, "app-1.7", inner)
    behind = variables(inner, "app-1", known_hosts, user_key, "-o ProxyJump=ops@bastion-1")
    found = routes({"bastion-1": variables(bastion, "bastion-1", known_hosts, user_key), "app-1": behind})
    assert found["app-1"].jump == found["bastion-1"]
    backends = connect({"app-1": found["app-1"]}, ThreadPoolExecutor(8))
    assert backends["app-1"].run("echo inside").stdout == "inside\n"
    assert bastion.forwarded == [("127.0.0.1", inner.port)]
    assert (bastion.connections, inner.connections) == (1, 1)
    backends["app-1"].jump.close()


# --- What the inventory says --------------------------------------------------------------------------------

COMMON = "-o StrictHostKeyChecking=yes -o HostKeyAlias=app-1.4711 -o 'UserKnownHostsFile=/k h' "


def held(**more):
    return {"ansible_host": "203.0.113.9", "ansible_user": "ops", "ansible_ssh_common_args": COMMON, **more}


def test_a_route_is_what_ansible_would_take():
    route = routes({"app-1": held(ansible_port="2222")})["app-1"]
    assert (route.address, route.port, route.user, route.alias) == ("203.0.113.9", 2222, "ops", "app-1.4711")
    assert (route.known_hosts, route.key, route.jump) == (Path("/k h"), None, None)


@pytest.mark.parametrize("jump", ["-J ops@203.0.113.5:2222", "-o ProxyJump=203.0.113.5", "-oProxyJump=gate"])
def test_a_jump_names_a_host_of_the_inventory(jump):
    gate = held(ansible_host="203.0.113.5")
    found = routes({"app-1": held(ansible_ssh_common_args=COMMON + jump), "gate": gate})
    assert found["app-1"].jump == found["gate"]


def test_a_jump_through_a_stranger_is_refused():
    with pytest.raises(Problem, match=r"203\.0\.113\.66, which the inventory does not list"):
        routes({"app-1": held(ansible_ssh_common_args=COMMON + "-J ops@203.0.113.66")})


@pytest.mark.parametrize("missing", ["ansible_host", "ansible_ssh_common_args"])
def test_an_inventory_that_does_not_say_how_is_refused(missing):
    with pytest.raises(Problem, match="does not say how to reach app-1"):
        routes({"app-1": {name: value for name, value in held().items() if name != missing}})


# --- What it remembers --------------------------------------------------------------------------------------


def test_what_one_run_asked_can_be_asked_at_once_in_the_next(servers, backends, known_hosts):
    server = servers()
    pin(known_hosts, "app-1.7", server)
    backend = backends(**{"app-1": server})["app-1"]
    backend.run("echo %s", "same")
    backend.run("echo slow", seconds=90)
    backend.run("echo this-run-only", unique=True)
    backend.run("echo now", fresh=True)
    assert backend.questions == {"echo same": 30, "echo slow": 90}
