"""Every seeded difference of the account is found, with the right subject and nothing beside it, and undone.

Runs on the lab of the main job (the file's name puts it first), and leaves it as it found it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json

import pytest

from lab.api.app import reader_token
from tests.e2e.drift_seeds_cloud import OFF, SEEDS, Account
from tests.e2e.world import World

LAYERS = ("--layer", "cloud", "--layer", "strangers")
KINDS = (
    "droplets",
    "firewalls",
    "load_balancers",
    "certificates",
    "account/keys",
    "vpcs",
    "tags",
    "domains",
    "volumes",
)


@pytest.fixture(scope="module")
def account(world: World, up) -> Account:
    asked = world.by_hand("echo $DIGITALOCEAN_API_URL; echo $DIGITALOCEAN_TOKEN; pulumi stack output stack")
    url, token, stack = asked.stdout.split()
    return Account(url, token, f"seawall-{stack}")


def look(world: World, *options: str) -> tuple[int, dict]:
    ended = world.seawall("drift", "--json", *LAYERS, *options)
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def whole(account: Account) -> dict:
    """Everything the account holds, byte for byte."""
    return {
        kind: json.dumps(account.ask("GET", f"/v2/{kind}?per_page=200"), sort_keys=True) for kind in KINDS
    }


def settled(account: Account) -> None:
    walls = lambda: account.ask("GET", "/v2/firewalls?per_page=200")["firewalls"]  # noqa: E731
    account.until(lambda: all(wall["status"] == "succeeded" for wall in walls()), "the firewalls settle")


def named(found: dict) -> set[tuple[str, str, str, str]]:
    return {
        (each["layer"], each["subject"]["kind"], each["subject"]["name"], each["what"])
        for each in found["differences"]
    }


def test_a_clean_account_is_clean_and_looking_changes_nothing(world, account):
    before = whole(account)
    for how in ("--full", "--quick", "--quick"):
        code, found = look(world, how)
        assert (code, found["differences"]) == (0, []), how
    assert whole(account) == before


def test_every_seed_is_found_and_nothing_else(world, account):
    with contextlib.ExitStack() as undo:
        for seed in SEEDS:
            undo.callback(seed.make(account))
        settled(account)
        before = whole(account)
        quick_code, quick = look(world, "--quick")
        code, found = look(world, "--full")
        assert whole(account) == before, "looking changed the account"
    settled(account)
    expected = {
        (seed.layer, seed.kind, seed.subject.format(**account.words), seed.what) for seed in SEEDS
    } | {also for seed in SEEDS for also in seed.also}
    assert (quick_code, code) == (2, 2)
    assert named(found) == named(quick) == expected
    for seed in SEEDS:
        key = (seed.layer, seed.kind, seed.subject.format(**account.words), seed.what)
        (each,) = [each for each in found["differences"] if named({"differences": [each]}) == {key}]
        assert seed.seen.format(**account.words) in each["seen"], seed.name
        assert each["first_seen"], seed.name
        assert each["who"].startswith("unknown"), seed.name
        assert each["requirements"], seed.name
        assert each["remedy"], seed.name
    code, found = look(world, "--quick")
    assert (code, found["differences"]) == (0, [])
    kept = json.loads(world.seawall("drift", "history", "--json").stdout)["differences"]
    kept = [each for each in kept if each["layer"] in ("cloud", "strangers")]
    assert named({"differences": kept}) == expected
    assert all(each["went"] for each in kept)


def test_what_is_safe_is_put_right_and_only_that(world, account):
    seeds = {seed.name: seed for seed in [*SEEDS, OFF]}
    safe = ("firewall widened", "TLS policy lowered", "tag taken off", "droplet powered off")
    with contextlib.ExitStack() as undo:
        for name in safe:
            seeds[name].make(account)
        undo.callback(seeds["key added"].make(account))
        settled(account)
        ended = world.seawall("drift", "--json", *LAYERS, "--quick", "--fix")
        assert ended.returncode == 2, ended.stderr
        assert named(json.loads(ended.stdout)) == {("strangers", "ssh-key", "eve", "managed by no code")}
        assert ended.stderr.count("fixed:") == len(safe)
    code, found = look(world, "--quick")
    assert (code, found["differences"]) == (0, [])


def test_an_api_that_cannot_be_asked_is_unknown_never_clean(world, account):
    token = world.folder / "token"
    good = token.read_bytes()
    try:
        token.write_bytes(b"dop_v1_" + b"0" * 64)
        code, found = look(world, "--quick")
    finally:
        token.write_bytes(good)
    assert code == 1
    assert {each["status"] for each in found["differences"]} == {"unknown"}
    assert {each["layer"] for each in found["differences"]} == {"cloud", "strangers"}


def test_a_token_that_only_reads_is_enough_and_cannot_write(world, account):
    token = world.folder / "token"
    good = token.read_bytes()
    reading = reader_token(hashlib.sha256(good.strip()).hexdigest())
    with pytest.raises(AssertionError, match="403"):
        Account(account.url, reading, account.stack).ask("POST", "/v2/tags", {"name": "written"})
    before = whole(account)
    try:
        token.write_text(reading)
        code, found = look(world, "--full")
    finally:
        token.write_bytes(good)
    assert (code, found["differences"]) == (0, [])
    assert whole(account) == before


def test_two_looks_never_overlap(world, account):
    import fcntl

    with open(world.folder / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = world.seawall("drift", "--quick", *LAYERS)
    assert ended.returncode == 1
    assert "Another seawall is at work" in ended.stderr
