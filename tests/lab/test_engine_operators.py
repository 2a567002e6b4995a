"""Two operators at one stack, and what DigitalOcean refuses: one clear paragraph each, and nothing is lost.

On the API and the stack of test_engine_faults.py, which this module starts anew.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess

import pytest
import yaml

from lab.api.app import reader_token
from seawall.places import CHECKOUT
from seawall.problem import Problem
from seawall.progress import Progress
from tests.lab.test_engine_faults import World, world  # noqa: F401 (a fixture)


def up(world: World) -> str:  # noqa: F811
    with Progress().phase("pulumi") as phase:
        world.engine.ensure()
        world.engine.recover(phase)
        return str(world.engine.up(phase))


def change(world: World, **settings: object) -> None:  # noqa: F811
    """Change these settings of the stack."""
    document = yaml.safe_load(world.stack.settings.read_text())
    for name, value in settings.items():
        document["config"][f"seawall:{name}"] = value
    world.stack.settings.write_text(yaml.safe_dump(document))


def test_a_second_operator_waits_and_loses_nothing(world):  # noqa: F811
    """The first stands in the middle of its creations: the second is told who works there, and changes nothing."""
    world.faults(hold=4)
    first = world.up()
    assert world.held(first)["held"]
    with pytest.raises(
        Problem, match=rf"Stack {world.stack.name} is being changed by process \d+ on .* Wait for it"
    ):
        up(world)
    # By hand as well, where Seawall does not look first.
    by_hand = subprocess.run(
        ["pulumi", "up", "--yes", "--skip-preview", "--stack", world.stack.name, "--non-interactive"],
        cwd=CHECKOUT, env=world.engine.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert by_hand.returncode != 0
    assert "the stack is currently locked" in by_hand.stdout + by_hand.stderr
    world.faults()  # the first goes on; its one lost answer is found again
    said, _ = first.communicate(timeout=300)
    assert first.returncode == 0, said
    assert world.there() == world.known(), "what the first made is all in the state"
    assert re.fullmatch(r"\d+ unchanged", up(world))


SOAK = pytest.mark.skipif(
    not os.environ.get("SEAWALL_SOAK"), reason="make soak; its words: test_infra_account.py"
)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"region": "lon1", "tiers": "s-1vcpu-512mb-10gb"},
            r"region lon1 has no size s-1vcpu-512mb-10gb\. Choose one",
        ),
        pytest.param(
            {"region": "mars1"}, r"there is no region mars1 to create in\. Choose one it has", marks=SOAK
        ),
        pytest.param(
            {"vpcRange": "10.100.0.0/20"}, r"10\.100\.0\.0/20 overlaps .* Choose another", marks=SOAK
        ),
    ],
    ids=["size", "region", "range"],
)
def test_what_the_account_cannot_hold_is_told_before_anything_changes(world, settings, says):  # noqa: F811
    before, good = world.there(), world.stack.settings.read_text()
    if "vpcRange" in settings:
        body = {"name": "somebody-elses", "region": "fra1", "ip_range": "10.100.0.0/20"}
        world.api.post("/v2/vpcs", json=body).raise_for_status()
        before = world.there()
    settings = dict(settings)
    if size := settings.pop("tiers", None):
        tiers = yaml.safe_load(good)["config"]["seawall:tiers"]
        settings["tiers"] = {name: {**tier, "size": size} for name, tier in tiers.items()}
    try:
        change(world, **settings)
        with pytest.raises(Problem, match=says) as problem:
            up(world)
    finally:
        world.stack.settings.write_text(good)
    assert problem.value.code == 64
    assert "Traceback" not in str(problem.value)
    assert world.there() == before


def test_a_name_that_is_taken_and_a_reached_limit_are_one_paragraph_each(world):  # noqa: F811
    from lab.engine.digitalocean.api import Api, Refusal
    from lab.engine.digitalocean.droplet import DROPLET
    from lab.engine.digitalocean.vpc import VPC

    api = Api(world.where.token.read_text(), world.lab["api"])
    with pytest.raises(Refusal) as taken:
        VPC.create(api, {"name": f"seawall-{world.stack.name}", "region": "fra1", "ipRange": "10.99.0.0/24"})
    assert re.search(r"refused creating the VPC .*name", str(taken.value)), taken.value
    plan = {
        "name": "one-more",
        "region": "fra1",
        "size": "s-1vcpu-1gb",
        "image": "debian-12-x64",
        "tags": ["more"],
    }
    room = world.api.get("/v2/account").json()["account"]["droplet_limit"] - len(world.there()["Droplet"])
    made = [DROPLET.create(api, plan)[0] for _ in range(room)]
    with pytest.raises(Refusal, match=r"refused creating the droplet one-more: .*limit") as full:
        DROPLET.create(api, plan)
    assert "\n" not in str(full.value)
    for identity in made:
        DROPLET.delete(api, identity, plan, 60)


def test_a_token_that_may_not_is_told_with_the_scopes_it_needs(world):  # noqa: F811
    engine = world.engine
    engine.environment = {**engine.environment, "DIGITALOCEAN_TOKEN": "dop_v1_mistyped"}
    with Progress().phase("pulumi") as phase, pytest.raises(Problem) as problem:
        engine.up(phase)
    assert "lacks the scope" in str(problem.value)
    assert "dop_v1_mistyped" not in str(problem.value)


def test_a_token_that_may_only_read_is_told_so_once_and_the_next_goes_on(world):  # noqa: F811
    """Preview and every question pass; the first creation is refused. With a better token nothing is made twice."""
    good = world.stack.settings.read_text()
    tiers = yaml.safe_load(good)["config"]["seawall:tiers"]
    before, engine = world.there(), world.engine
    reader = reader_token(hashlib.sha256(world.where.token.read_text().strip().encode()).hexdigest())
    engine.environment = {**engine.environment, "DIGITALOCEAN_TOKEN": reader}
    try:
        change(world, tiers={**tiers, "app": {**tiers["app"], "count": 3}})
        with Progress().phase("pulumi") as phase, pytest.raises(Problem) as problem:
            engine.up(phase)
        said = str(problem.value)
        assert "refused creating the droplet app-3: You are not authorized to perform this operation" in said
        assert "The token lacks the scope for that: make one with all the scopes that README" in said
        assert "\n" not in said
        assert reader not in said
        assert world.there() == before
        up(world)
        assert len(world.there()["Droplet"]) == len(before["Droplet"]) + 1
    finally:
        world.stack.settings.write_text(good)
    up(world)


def test_a_certificates_key_may_be_a_secret_of_the_stack(world):  # noqa: F811
    """By Pulumi's own command, from standard input. The key is the same, so nothing changes; it lies nowhere open."""
    good, key = world.stack.settings.read_text(), (world.where.site_certificate / "site.key").read_text()
    command = ["pulumi", "config", "set", "--path", "--secret", "seawall:certificate.privateKey"]
    try:
        subprocess.run(
            [*command, "--stack", world.stack.name, "--non-interactive"],
            cwd=CHECKOUT, env=world.engine.environment, input=key, text=True, check=True,
        )  # fmt: skip
        written = world.stack.settings.read_text()
        assert "secure:" in written
        assert re.fullmatch(r"\d+ unchanged", up(world))
    finally:
        world.stack.settings.write_text(good)
    for text in (
        written,
        world.engine.ask("stack", "export"),
        (world.where.logs / "pulumi-up.log").read_text(),
    ):
        assert key.splitlines()[1] not in text


def test_what_is_protected_is_not_deleted(world):  # noqa: F811
    """As in production (`seawall:protect: true`): a destroy is refused whole, and says what to do first."""
    change(world, protect=True)
    up(world)
    before = world.there()
    with Progress().phase("destroy") as phase, pytest.raises(Problem, match="protect"):
        world.engine.destroy(phase)
    assert world.there() == before
    change(world, protect=False)
    up(world)
    with Progress().phase("destroy") as phase:
        world.engine.destroy(phase)
    left = world.there()
    assert len(left.pop("Vpc")) == bool(os.environ.get("SEAWALL_SOAK")), "only somebody else's"
    left.pop("Tag")  # one outlives what it was on
    assert not any(left.values())
