"""Droplets as machines: what they are after their first boot, and what becomes of them."""

from __future__ import annotations

import time

import pytest

from lab.world import BackendError
from tests.lab.machines_support import FAR, OTHER, WEB1, WEB2, Lab, eventually

pytestmark = pytest.mark.timeout(240)


def test_all_answer_ssh_soon(small_lab: Lab) -> None:
    # Four at once on a machine that may be busy; `make bench` holds three to 10 s on a quiet one.
    assert max(small_lab.seconds.values()) < 45, small_lab.seconds


def test_user_data_ran_before_sshd_listened(small_lab: Lab) -> None:
    assert small_lab.ssh(WEB1, "id -un").stdout == "ops\n"
    assert small_lab.ssh(WEB1, "true", user="root").returncode == 255
    assert small_lab.probe("host", small_lab.droplet(WEB1).public_ipv4, 22) == "refused"
    ports = small_lab.run(
        WEB1, "journalctl -o cat -u ssh | grep -o 'listening on .*' | grep -o 'port [0-9]*' | sort -u"
    ).split("\n")
    assert [port for port in ports if port] == ["port 2222"]


def test_machine_is_itself(small_lab: Lab) -> None:
    assert eventually(
        lambda: small_lab.run(WEB1, "systemctl is-system-running", check=False) == "running\n", 30
    )
    assert small_lab.run(WEB1, "hostname") == "web-1\n"
    addresses = small_lab.run(WEB1, "ip -4 -o address show")
    assert f"eth0    inet {small_lab.droplet(WEB1).public_ipv4}/24" in addresses
    assert "eth1    inet 10.77.0.2/24" in addresses
    ids = {small_lab.run(each, "cat /etc/machine-id") for each in (WEB1, WEB2, OTHER, FAR)}
    keys = {small_lab.run(each, "cat /etc/ssh/ssh_host_ed25519_key.pub") for each in (WEB1, WEB2, OTHER, FAR)}
    assert len(ids) == len(keys) == 4
    assert small_lab.run(WEB1, "cloud-init status --wait").strip() == "status: done"
    assert "DataSourceDigitalOcean" in small_lab.run(WEB1, "cat /var/lib/cloud/instance/datasource")


def test_limits_are_the_sizes(small_lab: Lab) -> None:
    """1 GiB of memory, one processor, 25 GiB of disk."""
    kilobytes = int(small_lab.run(WEB1, "df --output=size / | tail -1"))
    assert 24 * 1024**2 < kilobytes < 25 * 1024**2
    # The kernel may end the shell along with it: systemd puts both in one unit.
    greedy = "python3 -c 'bytearray(1200 << 20); print(\"had it\")'"
    assert "had it" not in small_lab.run(WEB1, greedy, check=False)
    assert eventually(lambda: small_lab.run(WEB1, "systemctl is-active ssh", check=False) == "active\n")
    code = "import time; t=time.time()+2\nwhile time.time()<t: pass"
    spin = f'python3 -c "{code}" & python3 -c "{code}" & wait'
    before = _cpu(small_lab, WEB1)
    begun = time.monotonic()
    small_lab.run(WEB1, spin)
    assert (_cpu(small_lab, WEB1) - before) / (time.monotonic() - begun) < 1.15


def test_full_disk_is_the_droplets_own(small_lab: Lab) -> None:
    said = small_lab.run(
        WEB2, "fallocate -l 30G /full 2>&1 || true; rm -f /full; df --output=pcent / | tail -1"
    )
    assert "No space left" in said
    assert small_lab.probe("host", small_lab.droplet(WEB1).public_ipv4, 2222) == "open"


def test_droplet_can_neither_set_the_clock_nor_load_modules(small_lab: Lab) -> None:
    """Asked of the kernel, not tried: were it wrong, trying would set this machine's clock."""
    for process in ("1", "self"):
        held = int(small_lab.run(WEB1, f"grep CapBnd /proc/{process}/status").split()[1], 16)
        assert not held & (1 << 25), hex(held)  # CAP_SYS_TIME
        assert not held & (1 << 16), hex(held)  # CAP_SYS_MODULE


def test_idle_droplet_is_small(small_lab: Lab) -> None:
    """At most 100 MiB that are not page cache."""
    group = small_lab.machine(FAR).group
    folder = next(h for h in _hierarchies() if "memory" in h.controllers or h.unified)
    stat = (folder.mount / "seawall" / group.tag / group.name / "memory.stat").read_text()
    values = dict(line.split() for line in stat.splitlines())
    anonymous = int(values.get("total_rss") or values["anon"])
    assert anonymous < 100 * 1024**2, anonymous


def test_reboot_keeps_the_disk_and_begins_the_network_anew(small_lab: Lab) -> None:
    droplet = small_lab.droplet(OTHER)
    small_lab.run(OTHER, "echo kept > /root/kept && sync && iptables -A INPUT -p tcp --dport 9 -j DROP")
    before = small_lab.run(OTHER, "cat /proc/sys/kernel/random/boot_id")
    small_lab.backend.reboot(droplet)
    assert eventually(lambda: small_lab.probe("host", droplet.public_ipv4, 2222) == "open", 30)
    assert small_lab.run(OTHER, "cat /root/kept") == "kept\n"
    assert small_lab.run(OTHER, "cat /proc/sys/kernel/random/boot_id") != before
    assert "--dport 9" not in small_lab.run(OTHER, "iptables -S")


def test_reboot_from_inside_comes_back(small_lab: Lab) -> None:
    droplet = small_lab.droplet(OTHER)
    before = small_lab.machine(OTHER).init()
    small_lab.run(OTHER, "systemctl reboot", check=False)
    assert eventually(lambda: small_lab.machine(OTHER).init() not in (None, before), 180)
    assert eventually(lambda: small_lab.probe("host", droplet.public_ipv4, 2222) == "open", 30)


def test_power_cycle(small_lab: Lab) -> None:
    droplet = small_lab.droplet(OTHER)
    small_lab.backend.shutdown(droplet)
    assert OTHER not in small_lab.backend.running()
    assert small_lab.probe("host", droplet.public_ipv4, 2222) == "silence"
    assert not small_lab.machine(OTHER).root.is_mount()
    small_lab.backend.boot(droplet)
    assert OTHER in small_lab.backend.running()
    small_lab.backend.shutdown(droplet, force=True)
    assert OTHER not in small_lab.backend.running()
    small_lab.backend.boot(droplet)
    assert eventually(lambda: small_lab.probe("host", droplet.public_ipv4, 2222) == "open", 30)
    small_lab.backend.boot(droplet)  # idempotent


def test_machine_that_does_not_boot_is_named_with_its_last_words(small_lab: Lab) -> None:
    droplet = small_lab.droplet(FAR)
    small_lab.backend.shutdown(droplet, force=True)
    upper = small_lab.machine(FAR)
    upper.build(droplet, ())
    (upper.root / "usr/lib/systemd/systemd").write_text("#!/bin/sh\necho the disk is damaged\nexit 1\n")
    with pytest.raises(BackendError, match=r"Droplet far-1 did not boot.*the disk is damaged"):
        small_lab.backend.boot(droplet)
    assert FAR not in small_lab.backend.running()
    small_lab.backend.destroy(FAR)
    assert not small_lab.machine(FAR).folder.exists()
    small_lab.backend.boot(droplet)  # a new one under the same id
    assert eventually(lambda: small_lab.probe("host", droplet.public_ipv4, 2222) == "open", 30)


def _cpu(lab: Lab, number: int) -> float:
    """Seconds of processor time a droplet has used."""
    group = lab.machine(number).group
    for hierarchy in _hierarchies():
        folder = hierarchy.mount / "seawall" / group.tag / group.name
        if (folder / "cpuacct.usage").exists():
            return int((folder / "cpuacct.usage").read_text()) / 1e9
        if (folder / "cpu.stat").exists() and "usage_usec" in (folder / "cpu.stat").read_text():
            return int((folder / "cpu.stat").read_text().split()[1]) / 1e6
    raise AssertionError("no hierarchy counts processor time")


def _hierarchies() -> tuple:
    from lab.machines.groups import hierarchies

    return hierarchies()
