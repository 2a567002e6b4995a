"""A droplet with a kernel of its own: what it is after its first boot, what that kernel gives, what becomes of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import packages
from lab.backend import Machines
from lab.world import Size
from tests.lab.machines_support import OTHER, WEB1, WEB2, Lab, eventually, tcp, wall

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        not os.environ.get("SEAWALL_SOAK"), reason="part of make soak: its processor is emulated"
    ),
]

PATIENCE = 600.0
"""Seconds for an emulated machine to boot, on a host that has much else to do. Alone it takes under a minute."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """web-1 is a virtual machine; web-2, in its VPC, and other-1, in another, are containers."""
    if os.geteuid() != 0 or not shutil.which("systemd-nspawn"):
        pytest.skip("machines need root and systemd-nspawn")
    packages.install(of=packages.OWN_KERNEL)
    lab = Lab(f"test-qemu-{os.getpid()}", tmp_path_factory.mktemp("lab"))
    some = {number: lab.droplet(number) for number in (WEB1, WEB2, OTHER)}
    some[WEB1] = replace(some[WEB1], size=Size("c-2", 4096, 2, 25))
    lab.world = replace(lab.world, droplets=some)
    try:
        lab.backend.network(lab.world)
        for droplet in some.values():
            lab.backend.boot(droplet)
        for number in some:
            assert eventually(lambda number=number: answers(lab, number), PATIENCE), lab.machine(
                number
            ).console.read_text()[-3000:]
        yield lab
    finally:
        lab.purge()


def answers(lab: Lab, number: int = WEB1) -> bool:
    return lab.probe("host", lab.droplet(number).public_ipv4, 2222) == "open"


def said(lab: Lab, command: str) -> str:
    done = lab.ssh(WEB1, command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_the_droplet_that_was_declared(lab: Lab) -> None:
    assert said(lab, "systemd-detect-virt").strip() in ("qemu", "kvm")
    assert said(lab, "hostname") == "web-1\n"
    assert said(lab, "cat /sys/class/dmi/id/sys_vendor") == "DigitalOcean\n"
    assert said(lab, "sudo cat /sys/class/dmi/id/product_serial") == f"{WEB1}\n"
    addresses = said(lab, "ip -4 -o address show")
    assert f"eth0    inet {lab.droplet(WEB1).public_ipv4}/24" in addresses
    assert "eth1    inet 10.77.0.2/24" in addresses
    assert said(lab, "nproc") == "2\n"
    assert 23 * 1024**2 < int(said(lab, "df --output=size / | tail -1")) < 25 * 1024**2
    assert 3600 < int(said(lab, "free -m | awk '/Mem:/ {print $2}'")) < 4096
    assert "status: done" in said(lab, "cloud-init status --wait")
    assert said(lab, "systemctl is-system-running --wait") == "running\n"


def test_its_kernel_is_its_own(lab: Lab) -> None:
    """What no container here can: settings of the whole kernel, AppArmor, modules. This host's stay as they are."""
    assert said(lab, "uname -r").strip() != os.uname().release
    assert said(lab, "cat /sys/module/apparmor/parameters/enabled") == "Y\n"
    here = Path("/proc/sys/kernel/panic")
    before = here.read_text()
    assert said(lab, "sudo sysctl -w kernel.panic=47") == "kernel.panic = 47\n"
    assert here.read_text() == before != "47\n"
    said(lab, "sudo modprobe dummy && grep ^dummy /proc/modules")


def test_it_stands_behind_the_same_firewalls(lab: Lab) -> None:
    address, inside = lab.droplet(WEB1).public_ipv4, lab.droplet(WEB1).private_ipv4
    assert lab.probe(WEB2, inside, 2222) == "open"
    assert lab.probe(OTHER, inside, 2222) == "silence", "another VPC"
    assert lab.probe("outside", address, 2222) == "open"
    lab.network(wall({WEB1}, inbound=(tcp(2222, f"{lab.instance.address(3)}/32"),)))
    try:
        assert lab.probe("outside", address, 2222) == "silence"
        assert lab.probe(WEB2, inside, 2222) == "silence"
        reach = f"timeout 3 bash -c '</dev/tcp/{lab.droplet(WEB2).private_ipv4}/2222' && echo out || echo no"
        assert said(lab, reach) == "no\n", "nothing outward is allowed"
    finally:
        lab.network()
    assert said(lab, reach) == "out\n"


def test_power(lab: Lab) -> None:
    """Rebooted, adopted by another backend, switched off in order, on again, unplugged: the disk stays."""
    droplet = lab.droplet(WEB1)
    boot = said(lab, "sudo sh -c 'echo kept > /root/kept'; cat /proc/sys/kernel/random/boot_id")
    lab.backend.reboot(droplet)
    assert eventually(lambda: answers(lab), PATIENCE)
    assert said(lab, "sudo cat /root/kept") == "kept\n"
    assert said(lab, "cat /proc/sys/kernel/random/boot_id") != boot
    assert "Power down" in lab.machine(WEB1).console.read_text(errors="replace"), "it was not unplugged"

    other = Machines(lab.instance)
    other.network(lab.world)
    assert WEB1 in other.running()
    other.shutdown(droplet)
    assert WEB1 not in lab.backend.running()
    assert lab.probe("host", droplet.public_ipv4, 2222) == "silence"
    other.boot(droplet)
    assert WEB1 in lab.backend.running()
    other.shutdown(droplet, force=True)
    assert WEB1 not in lab.backend.running()
    other.destroy(WEB1)
    assert not lab.machine(WEB1).folder.exists()
    lab.network(droplets={number: each for number, each in lab.world.droplets.items() if number != WEB1})
