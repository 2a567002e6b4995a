"""The main job as its user lives it: interrupted, brought up, looked at from every side, brought up again, taken down.

The tests run in the order they stand in, on one lab. What they expect is written by hand.
"""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from lab.instance import tag
from tests.e2e.watch import DROPLETS as WATCHED
from tests.e2e.world import CHECKOUT, PROBE, handshake, probe_here

DROPLETS = {"app-1": "app", "app-2": "app", "logs-1": "logs"}


def test_up_after_a_kill_ends_verified(up):
    assert "picked up" in up.stdout or "released the lock" in up.stdout, up.stdout
    assert re.search(r"verified +\d+ controls on 3 droplets: \d+ pass", up.stdout), up.stdout
    assert " fail" not in up.stdout
    for phase in ("packages", "engine", "image", "lab", "pulumi", "harden", "verify"):
        assert re.search(rf"✓ {phase} +[\d.]+ s", up.stderr), up.stderr


def test_the_interrupted_run_left_nothing_twice(world, up):
    """Each name once in the account: what the killed run had begun was adopted, not made again."""
    for kind in ("droplets", "vpcs", "firewalls", "certificates", "load_balancers", "tags"):
        asked = world.by_hand(
            f'curl -sS -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" "$DIGITALOCEAN_API_URL/v2/{kind}?per_page=200"'
        )
        names = [item["name"] for item in json.loads(asked.stdout)[kind]]
        assert len(names) == len(set(names)), f"{kind}: {names}"
    assert sorted(world.outputs()["droplets"]) == sorted(DROPLETS)


def test_outputs_say_what_stands(world, up):
    outputs = world.outputs()
    assert outputs["url"] == "https://app.seawall.test"
    assert (outputs["admin_user"], outputs["ssh_port"]) == ("ops", 2222)
    assert {name: droplet["tier"] for name, droplet in outputs["droplets"].items()} == DROPLETS
    for droplet in outputs["droplets"].values():
        assert re.fullmatch(r"198\.1[89]\.\d+\.\d+|203\.0\.113\.\d+|198\.51\.100\.\d+", droplet["public_ip"])
        assert droplet["private_ip"].startswith("10.20.")


def curl(world, *options: str) -> subprocess.CompletedProcess[str]:
    outputs = world.outputs()
    address, domain = outputs["loadbalancer_ip"], outputs["domain"]
    resolve = [word for port in (80, 443) for word in ("--resolve", f"{domain}:{port}:{address}")]
    authority = world.folder / "tls" / "ca.pem"
    return subprocess.run(
        ["curl", "-sS", "--max-time", "15", "--cacert", authority, *resolve, *options],
        capture_output=True,
        text=True,
    )


def test_the_network_is_as_declared_and_costs_what_it_costs(world, up):
    drawn = world.seawall("graph", "--live", "--json", "-o", str(world.folder / "network.html"))
    assert drawn.returncode == 0, drawn.stdout + drawn.stderr
    assert {each["state"] for each in json.loads(drawn.stdout)["openings"]} == {"declared"}
    assert "seawall-lab-test-app-loadbalancer" in (world.folder / "network.html").read_text()
    cost = json.loads(world.seawall("cost", "--json").stdout)
    droplets = {"s-1vcpu-1gb": 6, "s-1vcpu-2gb": 12}  # larger ones, if test_hardening.py ran before
    of_droplets = sum(droplets[each["size"]] for each in world.outputs()["droplets"].values())
    assert (cost["month"], cost["unknown"]) == (of_droplets + 12 + 5, []), (
        "a load balancer at 12, Spaces at 5"
    )


def test_both_application_droplets_answer_through_the_load_balancer(world, up):
    seen = set()
    for _ in range(20):
        answer = curl(world, "https://app.seawall.test/")
        assert answer.returncode == 0, answer.stderr
        seen |= set(re.findall(r"served by (app-\d)", answer.stdout))
    assert seen == {"app-1", "app-2"}


def test_port_80_only_redirects(world, up):
    answer = curl(
        world, "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "http://app.seawall.test/x?y=1"
    )
    assert answer.stdout == "301 https://app.seawall.test/x?y=1"


def test_tls_1_2_and_1_3_are_spoken_and_nothing_older(world, up):
    address = world.outputs()["loadbalancer_ip"]
    authority = world.folder / "tls" / "ca.pem"
    for version, spoken in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        assert handshake(address, "app.seawall.test", authority, version) == spoken
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises((ssl.SSLError, OSError)):
            handshake(address, "app.seawall.test", authority, version)


def addresses(world) -> dict[str, str]:
    outputs = world.outputs()
    found = {"loadbalancer": outputs["loadbalancer_ip"]}
    for name, droplet in outputs["droplets"].items():
        found[name], found[f"{name} vpc"] = droplet["public_ip"], droplet["private_ip"]
    octets = outputs["loadbalancer_ip"].rpartition(".")[0]
    return found | {"mirror": f"{octets}.2", "administrator": f"{octets}.3", "stranger": f"{octets}.4"}


FROM_THE_ADMINISTRATOR = {
    ("loadbalancer", 443): "open",
    ("loadbalancer", 80): "open",
    ("loadbalancer", 22): "timeout",
    ("loadbalancer", 2222): "timeout",
    ("loadbalancer", 8080): "timeout",
    **{(name, 2222): "open" for name in DROPLETS},
    **{(name, port): "timeout" for name in DROPLETS for port in (22, 80, 443, 514, 6514, 8000)},
}
FROM_A_STRANGER = {
    ("loadbalancer", 443): "open",
    ("loadbalancer", 80): "open",
    ("loadbalancer", 22): "timeout",
    **{(name, port): "timeout" for name in DROPLETS for port in (22, 80, 443, 2222, 6514, 8000)},
}
# Outward, `packages` is the world on 80 and 443, since mirrors have no fixed addresses; the load balancer is in it.
OUTWARD = {
    ("mirror", 80): "open",
    ("loadbalancer", 443): "open",
    ("mirror", 22): "timeout",
    ("administrator", 22): "timeout",
    ("administrator", 25): "timeout",
    ("stranger", 8443): "timeout",
}
FROM_APP_1 = OUTWARD | {
    ("logs-1 vpc", 6514): "open",
    **{("logs-1 vpc", port): "timeout" for port in (22, 80, 443, 514, 2222)},
    **{("app-2 vpc", port): "timeout" for port in (22, 80, 443, 2222, 6514, 8000)},
    **{("app-2", port): "timeout" for port in (443, 2222)},
    ("logs-1", 2222): "timeout",
}
FROM_LOGS_1 = OUTWARD | {
    **{("app-1 vpc", port): "timeout" for port in (22, 80, 443, 2222, 6514, 8000)},
    **{("app-2 vpc", port): "timeout" for port in (443, 2222, 6514)},
    ("app-1", 443): "timeout",
}


def named(world, seen: dict[tuple[str, int], str], names: dict[str, str]) -> dict[tuple[str, int], str]:
    by_address = {address: name for name, address in names.items()}
    return {(by_address[address], port): what for (address, port), what in seen.items()}


def test_the_administrator_reaches_ssh_and_the_site_and_nothing_else(world, up):
    names = addresses(world)
    seen = probe_here((names[name], port) for name, port in FROM_THE_ADMINISTRATOR)
    assert named(world, seen, names) == FROM_THE_ADMINISTRATOR


def test_a_stranger_reaches_the_site_and_nothing_else(world, up):
    names = addresses(world)
    targets = [[names[name], port] for name, port in FROM_A_STRANGER]
    mark = tag(world.instance)
    script = f"import json; exec({PROBE!r}); print(json.dumps(probe({targets!r})))"
    answer = subprocess.run(
        ["ip", "netns", "exec", f"seawall-{mark}-outside", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    seen = {(address, port): what for address, port, what in json.loads(answer.stdout)}
    assert named(world, seen, names) == FROM_A_STRANGER


@pytest.mark.parametrize(("droplet", "expected"), [("app-1", FROM_APP_1), ("logs-1", FROM_LOGS_1)])
def test_a_droplet_reaches_what_a_flow_declares_and_nothing_else(world, up, droplet, expected):
    names = addresses(world)
    seen = world.probe_from(droplet, [(names[name], port) for name, port in expected])
    assert named(world, seen, names) == expected


def test_the_one_use_host_key_is_refused(world, up):
    """Someone who read it from user data can't be the droplet: it is no longer its key, and nobody would believe it."""
    outputs = world.outputs()
    first = outputs["droplets"]["app-1"]["first_contact_host_key"].split()[1]
    assert first not in (world.folder / "known_hosts").read_text()
    address = outputs["droplets"]["app-1"]["public_ip"]
    scan = subprocess.run(["ssh-keyscan", "-T", "5", "-p", "2222", address], capture_output=True, text=True)
    assert "ssh-ed25519" in scan.stdout
    assert first not in scan.stdout
    only_first = world.folder / "known_hosts_first"
    only_first.write_text(f"app-1 ssh-ed25519 {first}\n")
    options = {"UserKnownHostsFile": only_first, "HostKeyAlias": "app-1", "StrictHostKeyChecking": "yes"}
    refused = subprocess.run(
        [
            "ssh", "-o", "BatchMode=yes", "-p", "2222", "-i", world.folder / "ssh" / "id_ed25519",
            *(f"-o{key}={value}" for key, value in options.items()), f"ops@{address}", "true",
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert refused.returncode == 255
    assert re.search("host key verification failed", refused.stderr, re.IGNORECASE)


def test_no_secret_lies_open(world, up):
    """Not in the state in the clear, not in a log, not on a command line, and in user data only that host key."""
    secrets = {name: (world.folder / name).read_text().strip() for name in ("token", "passphrase")}
    secrets["ssh key"] = (world.folder / "ssh" / "id_ed25519").read_text().splitlines()[2]
    secrets["site key"] = (world.folder / "tls" / "site.key").read_text().splitlines()[2]
    places = [path for folder in ("state", "logs", "findings") for path in (world.folder / folder).rglob("*")]
    places += list(Path("/proc").glob("[0-9]*/cmdline"))
    for path in places:
        try:
            text = path.read_bytes().decode(errors="replace") if path.is_file() else ""
        except OSError:  # a process that ended meanwhile
            continue
        for name, secret in secrets.items():
            assert secret not in text, f"{name} lies open in {path}"
    data = world.ssh("app-1", "sudo", "cat", "/var/lib/cloud/instance/user-data.txt").stdout
    assert data.count("PRIVATE KEY-----") == 2, "one begin and one end"
    for name, secret in secrets.items():
        assert secret not in data, name


def test_no_droplet_was_ever_reachable_before_its_firewall_stood(world, up, from_outside):
    """A stranger tried the first addresses from before they were given out until the main job had ended."""
    address = world.outputs()["loadbalancer_ip"]
    assert (address, 443, "open") in from_outside.reached, "the stranger has eyes"
    assert {(where, port) for where, port, _ in from_outside.reached} <= {(address, 443), (address, 80)}
    given = {int(each["public_ip"].rpartition(".")[2]) for each in world.outputs()["droplets"].values()}
    assert given <= set(WATCHED), "it tried where the droplets came to be"


def test_logs_of_a_droplet_arrive_under_its_authenticated_name(world, up):
    marker = "e2e-marker-4711"
    world.ssh("app-2", "logger", "-t", "e2e", marker)
    # In its own folder: this very command, with the marker in it, is a line of logs-1's.
    found = world.ssh(
        "logs-1",
        "timeout 30 sh -c \"until sudo grep -rl " + marker + " /var/log/remote/app-2; do sleep 0.2; done\"",
    )  # fmt: skip
    assert found.stdout.strip() == "/var/log/remote/app-2/e2e.log", found.stdout + found.stderr


def test_the_tools_work_by_hand(world, up):
    for command, shows in (
        ("pulumi preview --expect-no-changes", "19 unchanged"),
        ("pulumi refresh --yes", "19 unchanged"),
        ("pulumi stack output url", "https://app.seawall.test"),
        ("ansible-inventory --graph", "app-1"),
        ("pytest tests/controls --host app-1 -k sshd", "passed"),
    ):
        ended = world.by_hand(command)
        assert ended.returncode == 0, f"{command}: {ended.stdout[-1500:]}{ended.stderr[-1500:]}"
        assert shows in ended.stdout, f"{command}: {ended.stdout[-1500:]}"


def test_the_site_playbook_by_hand_changes_nothing(world, up):
    # Seeds of drift and judges came and went, and the database of files is of the host they left.
    again = world.seawall("harden")
    assert again.returncode == 0, again.stderr
    ended = world.by_hand("ansible-playbook playbooks/site.yml", timeout=600)
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert set(re.findall(r"changed=(\d+)", ended.stdout)) == {"0"}, ended.stdout[-1500:]


def test_check_mode_tells_the_truth_and_changes_nothing(world, up):
    world.ssh("app-1", "sudo", "touch", "/etc/ssh/sshd_config.d/zz-by-hand.conf")
    world.ssh("app-2", "sudo rm /etc/issue.net")
    ended = world.seawall("harden", "--check", "--json", "--host", "app-2")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["hosts"][-1]["changed"] >= 1
    assert world.ssh("app-2", "test", "-e", "/etc/issue.net").returncode == 1, "check mode changed the host"


def test_up_again_mends_what_was_changed_by_hand(world, up):
    """A droplet that somebody switched off among it: to Pulumi that is no difference."""
    droplet = f"$DIGITALOCEAN_API_URL/v2/droplets/{world.outputs()['droplets']['app-1']['id']}"
    ask = """curl -sSf -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" -H 'Content-Type: application/json' """
    switch = f"""{ask} -d '{{"type":"power_off"}}' {droplet}/actions"""
    is_off = f"""{ask} {droplet} | grep -Eq '"status": ?"off"'"""
    switched = world.by_hand(f"{switch}; until {is_off}; do sleep 0.3; done")
    assert switched.returncode == 0, switched.stderr
    ended = world.seawall("up", "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert "started what was off: app-1" in told["notes"]
    assert told["changed"] is True
    assert told["hosts"]["app-2"]["changed"] >= 1
    assert world.ssh("app-2", "test", "-e", "/etc/issue.net").returncode == 0


def test_up_again_asks_every_host_and_changes_nothing(world, up):
    ended = world.seawall("up", "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["changed"] is False
    assert set(told["resources"]) == {"unchanged"}
    assert {name: host["changed"] for name, host in told["hosts"].items()} == dict.fromkeys(DROPLETS, 0)
    assert all(host["ok"] > 10 for host in told["hosts"].values())


def test_bad_settings_are_refused_before_anything_changes(world, up):
    settings = CHECKOUT / f"Pulumi.{world.stack}.yaml"
    good = settings.read_text()
    state = world.folder / "state" / ".pulumi" / "stacks" / "seawall" / f"{world.stack}.json"
    before = json.loads(state.read_text())["checkpoint"]["latest"]["resources"]
    try:
        bad = good.replace("vpcRange: 10.20.0.0/20", "vpcRange: 8.8.0.0/20")
        settings.write_text(re.sub(r'sshPort: "?2222"?', "sshPort: 99999", bad))
        ended = world.seawall("up")
    finally:
        settings.write_text(good)
    assert ended.returncode == 64, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "8.8.0.0/20 is not private" in ended.stderr
    assert "sshPort" in ended.stderr, "every fault is told at once"
    assert json.loads(state.read_text())["checkpoint"]["latest"]["resources"] == before


def test_a_restarted_machine_is_picked_up(world, up):
    """Everything the lab runs is killed at once, as by a power cut; the next `up` brings it back as it was."""
    status = json.loads(world.by_hand("python -m lab status").stdout)
    script = "import sys; from tests.e2e.power import cut; cut(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, world.instance], cwd=CHECKOUT, check=True)
    ended = world.seawall("up", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["resources"] == {"unchanged": 19}
    assert json.loads(world.by_hand("python -m lab status").stdout)["machines"] == status["machines"]


def test_down_leaves_nothing(world, up):
    ended = world.seawall("down")
    assert ended.returncode == 0, ended.stderr
    assert "19 deleted" in ended.stderr
    eyes = "ip netns list; mount; ip -br link; ip route; losetup -a; nft list tables 2>/dev/null; ps axww -o args"
    seen = subprocess.run(["bash", "-c", eyes], capture_output=True, text=True, check=True).stdout
    mark = tag(world.instance)
    left = [
        line
        for line in seen.splitlines()
        if world.instance in line or f"seawall-{mark}" in line or f"sw{mark}" in line
    ]
    assert left == []
    assert not Path("/var/lib/seawall-lab", world.instance).exists()
    assert shutil.which("systemd-nspawn"), "the eyes above need a lab that could have run"
