"""Drift as its user lives it: made by hand on a standing lab, found by name; nothing invented, nothing changed.

The seeds lie in ``drift_seeds.yml``, apart from the code under test.
"""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.e2e.world import _shell_quoted

HOSTS = ("app-1", "app-2", "logs-1")
SEEDS = yaml.safe_load(Path(__file__).with_name("drift_seeds.yml").read_text())
BATCHES = SEEDS["batches"]
CLEAN_RUNS = 50 if os.environ.get("SEAWALL_SOAK") else 10


def look(world, *options: str) -> tuple[int, list[dict]]:
    ended = world.seawall("drift", "--json", *options)
    assert ended.stdout.startswith("{"), ended.stderr
    return ended.returncode, json.loads(ended.stdout)["differences"]


def as_root(world, lines: dict[str, list[str]]) -> None:
    """What each host's root types, the hosts side by side."""

    def one(host: str) -> None:
        # By its path: one of the seeds is another sudo that comes first.
        typed = world.ssh(
            host, "/usr/bin/sudo", "sh", "-ec", _shell_quoted("\n".join(lines[host])), timeout=600
        )
        assert typed.returncode == 0, f"{host}: {typed.stderr}"

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, lines))


def by_host(seeds: list[dict], verb: str) -> dict[str, list[str]]:
    return {
        host: typed
        for host in HOSTS
        if (typed := [s[verb] for s in seeds if s["host"] == host and verb in s])
    }


def said(differences: list[dict]) -> str:
    return "\n".join(
        f"{d['subject']['name']}: {d['what']}: {d['expected']} → {d['seen']}" for d in differences
    )


def test_nothing_is_invented(world, up):
    """Nor is it drift that fail2ban shuts somebody out, which makes a table of its own, and lets them in again."""
    for run in range(CLEAN_RUNS):
        ban = "banip" if run % 2 == 0 else "unbanip"
        as_root(world, {"app-1": [f"fail2ban-client set sshd {ban} 192.0.2.77"]})
        code, found = look(world, "--quick", "--layer", "hosts")
        assert (code, found) == (0, []), f"clean run {run + 1}: {said(found)}"


@pytest.mark.parametrize("seeds", BATCHES, ids=["what lies there", "what runs"])
def test_what_was_made_by_hand_is_found(world, up, seeds):
    if prepared := by_host(seeds, "prepare"):
        as_root(world, prepared)
        look(world, "--quick", "--layer", "hosts")  # it has been seen once as it should be
    try:
        as_root(world, by_host(seeds, "do"))
        code, found = look(world, "--quick", "--layer", "hosts")
    finally:
        as_root(world, by_host(list(reversed(seeds)), "undo"))
    assert code == 2
    told = {(each["subject"]["name"], each["what"]) for each in found if each["status"] == "differs"}
    missed = [
        (s["name"], s["host"], what) for s in seeds for what in s["finds"] if (s["host"], what) not in told
    ]
    assert not missed, f"missed: {missed}\nfound:\n{said(found)}"
    for each in found:
        assert each["requirements"], each
        assert each["remedy"], each
        assert each["first_seen"], each
    code, found = look(world, "--quick", "--layer", "hosts")
    assert (code, found) == (0, []), f"after all was undone: {said(found)}"


def test_controls_that_turned_are_found_and_no_other(world, up):
    seeds = SEEDS["controls"]
    try:
        as_root(world, by_host(seeds, "do"))
        code, found = look(world, "--layer", "controls")
    finally:
        as_root(world, by_host(list(reversed(seeds)), "undo"))
    assert code == 2
    told = {(each["subject"]["name"], each["what"]) for each in found}
    assert told == {(seed["host"], what) for seed in seeds for what in seed["finds"]}, said(found)
    for each in found:
        assert (each["layer"], each["status"]) == ("controls", "differs"), each
        assert each["requirements"], each
        assert each["remedy"], each
        assert each["first_seen"], each
    code, found = look(world, "--layer", "controls")
    assert (code, found) == (0, []), f"after all was undone: {said(found)}"


TREE = (
    "find / -xdev ( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/log -o -path"
    " /var/tmp -o -path /var/lib/systemd -o -path /var/lib/fail2ban -o"
    " -path /var/lib/private/seawall-journal ) -prune -o -printf '%p %y %m %U %G %s %T@ %C@\\n'"
)


def state(world) -> dict[str, str]:
    """Every file's face on every host (its ctime too: no content changes without it), and the account's listing."""
    tree = TREE.replace("( ", "\\( ").replace(" )", " \\)")
    found = {
        host: world.ssh(host, "sudo", "sh", "-c", _shell_quoted(f"{tree} | LC_ALL=C sort")).stdout
        for host in HOSTS
    }
    for kind in ("droplets", "vpcs", "firewalls", "certificates", "load_balancers", "tags", "account/keys"):
        found[kind] = world.by_hand(
            f'curl -sS -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" "$DIGITALOCEAN_API_URL/v2/{kind}?per_page=200"'
        ).stdout
    return found


def test_a_full_look_changes_nothing_and_fix_does(world, up):
    as_root(world, {"app-2": ["echo hello > /etc/issue.net"]})
    before = state(world)
    code, found = look(world, "--layer", "hosts", "--host", "app-2")
    after = state(world)
    assert code == 2
    for what, held in before.items():
        changed = set(held.splitlines()) ^ set(after[what].splitlines())
        assert held == after[what], f"{what} changed: {sorted(changed)[:20]}"
    assert "file /etc/issue.net" in {each["what"] for each in found}, said(found)
    assert any(re.match("task accounts", each["what"]) and each["fix"] for each in found), said(found)
    code, found = look(world, "--layer", "hosts", "--host", "app-2", "--fix")
    assert (code, found) == (0, []), said(found)
