"""Judges that did not grow up with the code, before the standing stack: ssh-audit, sslyze, nmap, Lynis.

What they are expected to say is written by hand; what Lynis may still suggest stands, with a reason, in docs/judges.md.
The judges come with `make e2e`; nmap and Lynis visit two droplets as packages, and leave them again.
"""

from __future__ import annotations

import shlex
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.instance import tag
from tests.e2e.world import CHECKOUT
from tests.judges import hosts

DROPLETS = ("app-1", "app-2", "logs-1")
VISITED = ("app-1", "logs-1")
"""One droplet of each tier: Lynis judges it, and nmap looks at the others from it."""

POST_QUANTUM = "does not provide protection against post-quantum attacks"
HARDENING_INDEX = {"container": 85, "own kernel": 90}

# The ports whose state must not hang on one lost packet; each is asked until it answers or is known not to.
USUAL = "T:21-23,25,53,80,110,111,139,143,443,445,514,873,2222,3306,5432,6379,6514,8000,8080,8443,9000,9200,11211,27017"
UDP = "U:53,67-69,111,123,137,161,500,514,1900,4500,5353,5355,6514,11211"

# From the outside, the administrator's address and a stranger's; from a tier, through the VPC; on the host itself.
FROM_THE_ADMINISTRATOR = {"loadbalancer": {"80/tcp", "443/tcp"}} | {name: {"2222/tcp"} for name in DROPLETS}
FROM_A_STRANGER = {"loadbalancer": {"80/tcp", "443/tcp"}} | {name: set() for name in DROPLETS}
FROM_A_TIER = {
    "app-1": {"app-2 vpc": set(), "logs-1 vpc": {"6514/tcp"}},
    "logs-1": {"app-1 vpc": set(), "app-2 vpc": set()},
}
ON_THE_HOST = {"app-1": {"443/tcp", "2222/tcp", "8000/tcp"}, "logs-1": {"2222/tcp", "6514/tcp"}}


@pytest.fixture(scope="module")
def names(world, up) -> dict[str, str]:
    """What the tests call an address → the address."""
    if not (hosts.BIN / "sslyze").exists() or not shutil.which("nmap"):
        pytest.fail("The judges are not here: `make e2e` sets them up.")
    outputs = world.outputs()
    found = {"loadbalancer": outputs["loadbalancer_ip"]}
    for name, droplet in outputs["droplets"].items():
        found[name], found[f"{name} vpc"] = droplet["public_ip"], droplet["private_ip"]
    return found


def as_root(world, name: str, script: str, timeout: float = 600) -> str:
    ended = world.ssh(name, "sudo", "sh", "-ec", shlex.quote(script), timeout=timeout)
    assert ended.returncode == 0, f"{name}: {script}: {ended.stdout[-1000:]}{ended.stderr[-1000:]}"
    return ended.stdout


APT = "export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1; apt-get -qq -o DPkg::Lock::Timeout=300"
INSTALLED = "dpkg-query --show --showformat='${Package}\\n'"


@pytest.fixture(scope="module")
def visits(world, names) -> Iterator[None]:
    """Lynis and nmap are on the visited droplets, and afterwards nothing of them is."""

    def come(name: str) -> None:
        noted = f"[ -s /run/before-judges ] || {INSTALLED} > /run/before-judges"
        as_root(world, name, f"{noted}; {APT} install -y --no-install-recommends lynis nmap >/dev/null")

    def go(name: str) -> None:
        as_root(
            world, name,
            f"{APT} purge -y $({INSTALLED} | grep -vxFf /run/before-judges) >/dev/null; "
            "rm -f /run/before-judges /var/log/lynis*",
        )  # fmt: skip

    with ThreadPoolExecutor() as pool:
        try:
            list(pool.map(come, VISITED))
            yield
        finally:
            list(pool.map(go, VISITED))


# --- sshd and TLS -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DROPLETS)
def test_ssh_audit_has_nothing_against_sshd_but_what_paramiko_needs(names, name):
    """curve25519 stays for clients without a post-quantum exchange: docs/judges.md."""
    found = hosts.ssh_audit(names[name], 2222)
    assert {each for each in found if each[2] != POST_QUANTUM} == set()
    assert {algorithm for _, algorithm, _ in found} <= {"curve25519-sha256", "curve25519-sha256@libssh.org"}
    assert {level for level, _, _ in found} <= {"warn"}


def test_sslyze_finds_mozillas_intermediate_profile_at_the_load_balancer(world, names):
    """The lab's is our haproxy: this says nothing of DigitalOcean's own."""
    authority = world.folder / "tls" / "ca.pem"
    assert hosts.sslyze(names["loadbalancer"], "app.seawall.test", authority) == ""


@pytest.mark.parametrize("name", ["app-1", "app-2"])
def test_sslyze_finds_mozillas_intermediate_profile_at_nginx(world, names, name):
    """From where the load balancer sits: nobody else gets to nginx."""
    authority = world.folder / "ca" / "ca.pem"
    inside = ["ip", "netns", "exec", balancer_namespace(world)]
    assert hosts.sslyze(names[f"{name} vpc"], name, authority, inside) == ""


@pytest.mark.parametrize("name", ["app-1", "app-2"])
def test_gixy_finds_nothing_in_nginx_but_its_resolvers(world, names, tmp_path, name):
    """Its resolvers are DigitalOcean's, inside the region; gixy takes every address but loopback for a stranger's."""
    (tmp_path / "nginx.txt").write_text(as_root(world, name, "nginx -T 2>/dev/null"))
    assert hosts.gixy(tmp_path / "nginx.txt") == {"resolver_external"}


def balancer_namespace(world) -> str:
    listed = hosts.ask("ip", "netns", "list").stdout.split()
    return next(each for each in listed if each.startswith(f"seawall-{tag(world.instance)}-lb-"))


# --- Ports --------------------------------------------------------------------------------------------------------


def ports(run, addresses: dict[str, str], *options: str) -> dict[str, set[str]]:
    """Which ports are open, by name: all of TCP once, quickly; the usual ones of TCP and UDP with patience."""

    def scan(*more: str) -> dict[str, hosts.Scan]:
        return hosts.scans(run(hosts.nmap_arguments(addresses.values(), *options, *more)))

    every = scan("-sS", "-p-", "-T4", "--min-rate=15000", "--max-retries=0")
    usual = scan("-sS", "-sU", "-p", f"{USUAL},{UDP}", "-T4", "--max-retries=3", "--host-timeout=120s")
    assert {scan.looked_at for scan in every.values()} == {65535}
    return {name: set(every[address].open | usual[address].open) for name, address in addresses.items()}


@pytest.fixture(scope="module")
def seen(world, names, visits) -> dict[str, dict[str, set[str]]]:
    """What nmap sees from each place, looked at from all at once."""

    def here(argv: list[str]) -> str:
        return hosts.ask(*argv).stdout

    def outside(argv: list[str]) -> str:
        inside = ["ip", "netns", "exec", f"seawall-{tag(world.instance)}-outside"]
        return hosts.ask(*argv, inside=inside).stdout

    def droplet(name: str):
        return lambda argv: as_root(world, name, shlex.join(argv))

    public = {name: names[name] for name in FROM_THE_ADMINISTRATOR}
    with ThreadPoolExecutor() as pool:
        looks = {
            "administrator": pool.submit(ports, here, public),
            "stranger": pool.submit(ports, outside, public),
        }
        for name, expected in FROM_A_TIER.items():
            addresses = {other: names[other] for other in expected}
            # Frames of its own making, which ufw here does not see: only the others' firewalls stop them.
            looks[name] = pool.submit(ports, droplet(name), addresses, "--send-eth", "-e", "eth1")
            looks[f"{name} itself"] = pool.submit(ports, droplet(name), {name: "127.0.0.1"})
        return {place: look.result() for place, look in looks.items()}


def test_nmap_sees_from_the_administrators_address_ssh_and_the_site_only(seen):
    assert seen["administrator"] == FROM_THE_ADMINISTRATOR


def test_nmap_sees_from_a_strangers_address_the_site_only(seen):
    assert seen["stranger"] == FROM_A_STRANGER


@pytest.mark.parametrize("name", VISITED)
def test_nmap_sees_from_a_tier_what_its_flows_declare_only(seen, name):
    assert seen[name] == FROM_A_TIER[name]


@pytest.mark.parametrize("name", VISITED)
def test_nmap_sees_on_the_host_what_is_declared_only(world, seen, name):
    assert seen[f"{name} itself"] == {name: ON_THE_HOST[name]}
    assert as_root(world, name, "ss --no-header --listening --udp --numeric") == "", "nothing listens on UDP"


# --- Lynis --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lynis(world, visits) -> dict[str, hosts.Lynis]:
    def audit(name: str) -> hosts.Lynis:
        as_root(world, name, "lynis audit system --cronjob --no-colors >/dev/null", timeout=900)
        report, log = (as_root(world, name, f"cat /var/log/lynis{end}") for end in ("-report.dat", ".log"))
        return hosts.lynis_report(report, log)

    with ThreadPoolExecutor() as pool:
        return dict(zip(VISITED, pool.map(audit, VISITED), strict=True))


@pytest.mark.parametrize("name", VISITED)
def test_lynis_index_is_high_with_every_test_it_has(world, lynis, name):
    kind = (
        "container" if world.ssh(name, "systemd-detect-virt", "--container").returncode == 0 else "own kernel"
    )
    print(
        f"Lynis {lynis[name].version} on {name} ({kind}): {lynis[name].index}, {lynis[name].tests_done} tests"
    )
    assert lynis[name].index >= HARDENING_INDEX[kind], lynis[name].suggestions
    assert lynis[name].tests_done > 200
    assert lynis[name].switched_off == frozenset()


@pytest.mark.parametrize("name", VISITED)
def test_lynis_warns_of_nothing(lynis, name):
    assert lynis[name].warnings == frozenset()


def test_what_lynis_still_suggests_has_a_reason(lynis):
    told = frozenset().union(*(report.suggestions for report in lynis.values()))
    reasons = hosts.explained((CHECKOUT / "docs" / "judges.md").read_text())
    unexplained = {each for each in told if not any(each.startswith(known) for known in reasons)}
    assert unexplained == set(), "without a reason in docs/judges.md"
    gone = {known for known in reasons if not any(each.startswith(known) for each in told)}
    if gone:
        warnings.warn(
            f"explained in docs/judges.md, but not suggested on these droplets: {sorted(gone)}", stacklevel=1
        )
