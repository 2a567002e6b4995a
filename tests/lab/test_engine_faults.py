"""`up` killed at picked API calls of an API that misbehaves: the next one converges, nothing twice, no stranger.

The product's own engine and program against the record-only API with its fault switch. The seed is printed; the same
seed kills at the same calls. Three kills here; SEAWALL_SOAK=1 makes it twenty.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab.engine import choose
from seawall import prepare
from seawall.environment import Stack, for_process
from seawall.places import CHECKOUT, Places
from seawall.problem import Problem
from seawall.progress import Progress
from seawall.pulumi import Engine

SOAK = bool(os.environ.get("SEAWALL_SOAK"))
KILLS = 20 if SOAK else 3
SEED = int(os.environ.get("SEAWALL_SEED") or 20261124)
STACK = "lab-faults"

KINDS = {
    "Vpc": ("/v2/vpcs", "vpcs", "id"),
    "Tag": ("/v2/tags", "tags", "name"),
    "SshKey": ("/v2/account/keys", "ssh_keys", "id"),
    "Droplet": ("/v2/droplets", "droplets", "id"),
    "Firewall": ("/v2/firewalls", "firewalls", "id"),
    "Certificate": ("/v2/certificates", "certificates", "name"),
    "LoadBalancer": ("/v2/load_balancers", "load_balancers", "id"),
}
WANTED = {"Vpc": 1, "Tag": 3, "SshKey": 1, "Droplet": 3, "Firewall": 3, "Certificate": 1, "LoadBalancer": 1}


@dataclass
class World:
    """A stack of the tests' own, and the API it talks to."""

    where: Places
    lab: dict[str, Any]
    api: httpx.Client
    stack: Stack

    @property
    def engine(self) -> Engine:
        return Engine(self.stack, self.where, for_process(self.stack, self.where, self.lab))

    def faults(self, **plan: Any) -> dict[str, Any]:
        answer = self.api.put("/lab/faults", json=plan)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def up(self) -> subprocess.Popen[str]:
        """What `seawall up` does of Pulumi, as a process of its own that can be killed with all it started."""
        script = f"from tests.lab.test_engine_faults import bring_up; bring_up({str(self.where.root)!r}, {self.lab!r})"
        return subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def held(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """What the fault switch tells once it holds a request of the process, or that has ended by itself."""
        deadline = time.monotonic() + 240
        while not (told := self.api.get("/lab/faults").json())["held"] and process.poll() is None:
            assert time.monotonic() < deadline, "neither held nor ended"
            time.sleep(0.05)
        return told

    def settled(self) -> str:
        """Brought up to its end, whatever it takes: what it said."""
        process = self.up()
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        return said

    def there(self) -> dict[str, list[str]]:
        """The ids in the account, by kind; the default VPC is everybody's."""
        found = {}
        for kind, (path, key, identity) in KINDS.items():
            items = self.api.get(f"{path}?per_page=200").json()[key]
            found[kind] = sorted(str(each[identity]) for each in items if not each.get("default"))
        return found

    def known(self) -> dict[str, list[str]]:
        """The ids in Pulumi's state."""
        held = json.loads(self.engine.ask("stack", "export"))["deployment"].get("resources", [])
        found: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for each in held:
            if (kind := each["type"].rpartition(":")[2]) in KINDS:
                found[kind].append(each["id"])
        return {kind: sorted(ids) for kind, ids in found.items()}


def bring_up(root: str, lab: dict[str, Any]) -> None:
    where, stack = Places(Path(root)), Stack(STACK)
    engine = Engine(stack, where, for_process(stack, where, lab))
    with Progress().phase("pulumi") as phase:
        try:
            engine.ensure()
            for said in engine.recover(phase):
                print(said)
            print(engine.up(phase))
        except Problem as problem:
            sys.exit(str(problem))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if not choose.toolchain().engine.ready:
        pytest.skip(f"no Pulumi engine here yet: {choose.toolchain().engine.remedy}")
    where, stack = Places(tmp_path_factory.mktemp("seawall")), Stack(STACK)
    for folder in (where.state, where.logs):
        folder.mkdir(mode=0o700)
    prepare.secrets_and_login(where)
    prepare.site_certificate(where, "app.seawall.test")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    words = ["--record-only", "--port", str(port), "--data", str(where.root / "api"), "--test-faults"]
    api = f"http://127.0.0.1:{port}"
    lab = {"api": api, "spaces": api, "outside": "198.51.100.7/32"}
    settings = prepare.LAB_SETTINGS.read_text().replace("$outside", lab["outside"])
    # No hosts and no buckets are behind this API.
    settings = re.sub(r"  seawall:evidenceStore:.*\n", "", settings) + "  seawall:harden: false\n" * (
        "harden" in _known()
    )
    stack.settings.write_text(settings)
    with (where.logs / "api.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.api", *words, "--token-file", str(where.token)],
            cwd=CHECKOUT,
            stdout=log,
            stderr=log,
        )
    headers = {"Authorization": f"Bearer {where.token.read_text()}"}
    try:
        with httpx.Client(base_url=api, headers=headers, timeout=30) as client:
            until(lambda: _answers(client), process)
            yield World(where, lab, client, stack)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        stack.settings.unlink(missing_ok=True)


def _known() -> set[str]:
    from infra.settings import Settings

    return set(Settings.model_fields)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def until(condition: Any, process: subprocess.Popen[Any], seconds: float = 240) -> Any:
    """Poll until it holds, or the process that was to bring it about ends."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert process.poll() is None, process.stdout.read() if process.stdout else "it ended"
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return value


def test_an_api_has_no_faults_unless_it_was_started_for_them(tmp_path: Path) -> None:
    from tests.lab.api_support import cloud

    with cloud(tmp_path / "api.sqlite3") as lab:
        assert lab.http.put("/lab/faults", json={"rate": 1}).status_code == 404
        assert lab.http.get("/v2/account").status_code == 200


def test_killed_again_and_again_it_converges(world: World) -> None:
    dice = random.Random(SEED)
    print(f"seed {SEED}, {KILLS} kills (SEAWALL_SEED repeats it)")
    done: Counter[str] = Counter()
    for number in range(KILLS):
        if number and number % 5 == 0:  # all is there by now: begin anew, with faults on the way down as well
            world.faults(seed=dice.randrange(10**6), rate=0.1, most=12)
            with Progress().phase("destroy") as phase:
                world.engine.destroy(phase)
            assert world.there() == {kind: [] for kind in KINDS}
        call, after = dice.randrange(1, 7), dice.random() < 0.7
        world.faults(seed=dice.randrange(10**6), rate=0.08, most=6, hold=call, after=after)
        process = world.up()
        told = world.held(process)
        print(
            f"  kill {number + 1} at change {call}: {told['held'] or 'it had ended'}; faults {told['done']}"
        )
        if told["held"]:
            os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        assert told["held"] or process.returncode == 0 or told["done"], said
        done.update(told["done"])
    world.faults(
        seed=dice.randrange(10**6), rate=0.05, most=6, kinds=["limited", "slow", "busy", "error", "reset"]
    )
    process = world.up()
    process.communicate(timeout=300)  # an `up` may fail of a fault, and says so; the next one converges
    world.faults()
    world.settled()
    there = world.there()
    assert {kind: len(ids) for kind, ids in there.items()} == WANTED, "nothing twice, nothing missing"
    assert there == world.known(), "no stranger"
    assert re.search(r"(?m)^\d+ unchanged$", world.settled()), "and the next finds nothing to do"


def test_a_creation_whose_answer_is_lost_is_found_again_and_not_made_twice(world: World) -> None:
    """The provider alone, no kill: every POST is done and answered with an error or a closed connection."""
    from lab.engine.digitalocean.api import Api
    from lab.engine.digitalocean.droplet import DROPLET
    from lab.engine.digitalocean.vpc import VPC

    api = Api(world.where.token.read_text(), world.lab["api"])
    for kind in ("error-after", "reset-after"):
        world.faults(rate=1, most=1, kinds=[kind])
        identity, _ = VPC.create(api, {"name": f"lost-{kind}", "region": "fra1"})
        world.faults(rate=1, most=1, kinds=[kind])
        plan = {
            "name": f"lost-{kind}", "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-12-x64",
            "vpcUuid": identity, "tags": ["seawall-lost"],
        }  # fmt: skip
        droplet, _ = DROPLET.create(api, plan)
        world.faults()
        found = [each["id"] for each in api.pages("/v2/droplets", "droplets", "", tag_name="seawall-lost")]
        assert found == [int(droplet)], kind
        DROPLET.delete(api, droplet, plan, 30)
        VPC.delete(api, identity, plan, 30)
    world.api.delete("/v2/tags/seawall-lost").raise_for_status()  # a tag outlives what it was on


LOST = {
    "domain.DNS_RECORD": {"domain": "lost.test", "type": "CAA", "name": "@", "value": "letsencrypt.org.", "flags": 0,
                          "tag": "issue"},
    "monitoring.MONITOR_ALERT": {"description": "lost", "type": "v1/insights/droplet/cpu", "compare": "GreaterThan",
                                 "value": 90, "window": "5m", "tags": ["lost"],
                                 "alerts": {"emails": ["sammy@example.com"]}},
    "monitoring.UPTIME_CHECK": {"name": "lost", "target": "https://lost.test/", "type": "https"},
    "monitoring.UPTIME_ALERT": {"checkId": "", "name": "lost", "type": "down_global", "period": "2m",
                                "notifications": [{"emails": ["sammy@example.com"]}]},
    "project.PROJECT": {"name": "lost", "purpose": "Web Application"},
    "reserved_ip.RESERVED_IP": {"region": "fra1"},
}  # fmt: skip


@pytest.mark.parametrize("kind", LOST)
def test_what_has_no_tag_is_found_again_as_well(world: World, kind: str) -> None:
    """One of each, made with the answer lost: exactly one is there, and it is the one that was told."""
    from lab.engine.digitalocean.api import Api

    module, _, name = kind.partition(".")
    resource = getattr(importlib.import_module(f"lab.engine.digitalocean.{module}"), name)
    api, plan = Api(world.where.token.read_text(), world.lab["api"]), dict(LOST[kind])
    if "domain" in plan:
        api.call("POST", "/v2/domains", "", {"name": plan["domain"]})
    if "checkId" in plan:
        body = {
            "name": "parent",
            "target": "https://parent.test/",
            "type": "https",
            "regions": [],
            "enabled": True,
        }
        plan["checkId"] = api.call("POST", "/v2/uptime/checks", "", body)["check"]["id"]
    before = _listed(world, resource, plan)
    world.faults(rate=1, most=1, kinds=["error-after"])
    identity, _ = resource.create(api, plan)
    world.faults()
    assert [each for each in _listed(world, resource, plan) if each not in before] == [identity]
    resource.delete(api, identity, plan, 30)


def test_a_key_whose_secret_is_lost_is_taken_away(world: World) -> None:
    from lab.engine.digitalocean.api import Api, Refusal
    from lab.engine.digitalocean.spaces import KEY

    api, plan = Api(world.where.token.read_text(), world.lab["api"]), {"name": "lost", "grants": []}
    world.faults(rate=1, most=1, kinds=["error-after"])
    with pytest.raises(Refusal, match="server-side error"):
        KEY.create(api, plan)
    world.faults()
    assert "lost" not in [each["name"] for each in api.pages("/v2/spaces/keys", "keys", "")]


def _listed(world: World, resource: Any, plan: dict[str, Any]) -> list[str]:
    found = world.api.get(f"{resource.collection(plan)}?per_page=200").json()
    return [str(each[resource.key]) for each in found[resource.listed or "reserved_ips"]]


def test_a_droplet_of_that_name_that_was_there_before_is_not_taken_for_it(world: World) -> None:
    from lab.engine.digitalocean.api import Api, Refusal
    from lab.engine.digitalocean.droplet import DROPLET

    api = Api(world.where.token.read_text(), world.lab["api"])
    world.faults(rate=1, most=1, kinds=["error"])
    plan = {
        "name": "app-1",
        "region": "fra1",
        "size": "s-1vcpu-1gb",
        "image": "debian-12-x64",
        "tags": ["another"],
    }
    with pytest.raises(Refusal, match="server-side error"):
        DROPLET.create(api, plan)
    world.faults()


def test_members_that_still_leave_and_a_busy_load_balancer_are_waited_for(world: World) -> None:
    world.faults(seed=1, rate=0.5, most=8, kinds=["conflict", "busy", "limited"])
    with Progress().phase("destroy") as phase:
        world.engine.destroy(phase)
    assert world.api.get("/lab/faults").json()["done"], "there was trouble on the way"
    assert world.there() == {kind: [] for kind in KINDS}
