"""A droplet with a kernel of its own, in QEMU: for what a container cannot show (auditd, AppArmor, ``kernel.*``).

Sizes with dedicated processors are such machines, the basic ones (``s-…``) are containers. Image, files, addresses,
metadata service and firewalls are the same; the disk is a filesystem, and each link a tap device in the region's
namespace. It is stopped and rebooted by its power button, over QEMU's machine protocol (QMP).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from lab import host
from lab.host import locked, patiently, run, succeeds, write_whole
from lab.instance import Instance
from lab.machines import image
from lab.machines.machine import Machine
from lab.network import router
from lab.network.plan import Link
from lab.world import BackendError, Droplet, Size

QEMU = "qemu-system-x86_64"

TRANSLATED = 256
"""MiB of translated code that an emulated processor may keep."""

OVERHEAD = TRANSLATED + 256
"""MiB that QEMU may use beside the machine's memory."""

PROBE_DEADLINE = 10.0
"""Seconds within which a kernel must reach its first process under KVM. Where KVM works it takes less than one."""


def has_own_kernel(size: str) -> bool:
    """Whether droplets of this size slug are virtual machines: all but DigitalOcean's basic ones."""
    return not size.startswith("s-")


def of(instance: Instance, number: int, size: Size | None = None) -> Machine:
    """The machine of a droplet: what it was made as or, if it is not made yet, what ``size`` calls for."""
    machine = Machine(instance, number)
    if size and not (machine.folder / "made").exists():
        is_virtual = has_own_kernel(size.slug)
    else:
        is_virtual = (machine.folder / "vmlinuz").exists()
    return Virtual(instance, number) if is_virtual else machine


@dataclass(frozen=True)
class Virtual(Machine):
    """The virtual machine of one droplet id."""

    comes_up: ClassVar[str] = "QEMU"
    patience: ClassVar[float] = 300.0

    @property
    def namespace(self) -> None:
        """None: its network is its own kernel's."""
        return None

    def build(self, droplet: Droplet, links: tuple[Link, ...]) -> None:
        if (self.folder / "made").exists():
            return
        if not shutil.which(QEMU):
            raise BackendError(
                f"Droplet {droplet.name} can't boot: its size {droplet.size.slug} has a kernel of its own, and "
                f"`{QEMU}` is not installed. `seawall doctor` names the Debian packages the lab needs; droplets of the "
                "basic sizes (s-…) do without."
            )
        source = image.bootable(droplet.image)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Copies: the cache may be cleared at any time.
        shutil.copy(source.kernel, self.folder / "vmlinuz")
        shutil.copy(source.initrd, self.folder / "initrd.img")
        file = self.folder / "disk.ext4"
        why = f"make the disk of droplet {droplet.name}"
        run("cp", "--sparse=always", "--reflink=auto", source.disk, file, why=why, timeout=300)
        run("resize2fs", file, f"{droplet.size.disk}G", why=why, timeout=300)
        self.root.mkdir(exist_ok=True)
        run("mount", "-o", "loop,noinit_itable", file, self.root, why=why)
        try:
            self._individualise(droplet, links)
        finally:
            run("umount", self.root, why=why)
        write_whole(self.folder / "made", f"{source.disk}\n")

    def init(self) -> int | None:
        """The pid of the machine's QEMU, once it listens to its power button."""
        for pid in self.group.processes():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/exe").resolve().name == QEMU and self._told("query-status"):
                    return pid
        return None

    def halt(self) -> None:
        super().halt()
        # A tap device outlives its QEMU, and would have the region say "unreachable" where nothing is to answer.
        with contextlib.suppress(FileNotFoundError):
            region = (self.folder / "region").read_text().strip()
            for port in (self.folder / "ports").read_text().split():
                succeeds("ip", "-n", region, "link", "delete", port)

    def _bounds(self, size: Size) -> Size:
        return replace(size, memory=size.memory + OVERHEAD)

    def _ask(self, init: int, *, reboot: bool) -> None:
        again = self.folder / "again"
        if reboot:
            again.touch()
        else:
            again.unlink(missing_ok=True)
        self._told("system_powerdown")

    def _told(self, command: str) -> bool:
        """Give QEMU a command and say whether it took it."""
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(5)
            channel.connect(str(self.folder / "qmp"))
            lines = channel.makefile("rw")
            lines.readline()  # the greeting
            for each in ("qmp_capabilities", command):
                lines.write(json.dumps({"execute": each}) + "\n")
                lines.flush()
                while "event" in (answer := json.loads(lines.readline())):
                    pass
            return "return" in answer
        return False

    def _command(self, droplet: Droplet, links: tuple[Link, ...]) -> list[str]:
        name = f"seawall-{self.instance.tag}-{self.id}"
        cards = [
            word
            for link in links
            for word in (
                "-netdev", f"tap,id={link.name},ifname={link.port},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev={link.name},mac={link.mac},romfile=",
            )
        ]  # fmt: skip
        return [
            *router.inside(self.instance.namespace(droplet.region)),
            QEMU, "-name", name, "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "q35,vmport=off", *accelerator(self.folder / "vmlinuz", self.folder / "initrd.img"),
            "-smp", str(droplet.size.vcpus), "-m", f"{droplet.size.memory}M",
            "-kernel", "vmlinuz", "-initrd", "initrd.img", "-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0",
            # What DigitalOcean's droplets say of themselves.
            "-smbios", f"type=1,manufacturer=DigitalOcean,product=Droplet,serial={self.id}",
            # As with a container, only a crash of this host can lose the last seconds.
            "-drive", "file=disk.ext4,format=raw,if=virtio,cache=unsafe,discard=unmap",
            *cards,
            "-device", "virtio-rng-pci",
            # Memory that the machine no longer uses goes back to this host.
            "-device", "virtio-balloon-pci,free-page-reporting=on",
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-qmp", "unix:qmp,server=on,wait=off",
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        ]  # fmt: skip


def accelerator(kernel: Path, initrd: Path) -> list[str]:
    """QEMU's words for the processor: KVM where a kernel was seen to boot under it since this host started."""
    verdict = host.cache() / "kvm"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with locked(host.cache() / ".kvm.lock"):
        known = verdict.read_text().split() if verdict.exists() else []
        if known[:1] != [boot]:
            known = [boot, "kvm" if _boots_under_kvm(kernel, initrd) else "tcg"]
            write_whole(verdict, " ".join(known) + "\n")
    if known[1] == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", f"tcg,thread=multi,tb-size={TRANSLATED}", "-cpu", "max"]


def _boots_under_kvm(kernel: Path, initrd: Path) -> bool:
    """Whether a kernel gets as far as its first process. /dev/kvm may open, and run, and yet the kernel hang."""
    if not Path("/dev/kvm").exists():
        return False
    words = [
        QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "kvm", "-cpu", "host",
        "-m", "512M", "-kernel", str(kernel), "-initrd", str(initrd), "-append", "console=ttyS0 root=/dev/none",
        "-serial", "stdio",
    ]  # fmt: skip
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout
            said = _heard(process.stdout.fileno(), b"Run /init as init process", PROBE_DEADLINE)
        finally:
            process.kill()
    return said


def _heard(stream: int, words: bytes, deadline: float) -> bool:
    """Whether ``words`` come out of a stream within ``deadline`` seconds."""
    os.set_blocking(stream, False)
    heard = bytearray()
    ended = False

    def over() -> bool:
        nonlocal ended
        with contextlib.suppress(BlockingIOError):
            piece = os.read(stream, 65536)
            ended = not piece
            heard.extend(piece)
        return ended or words in heard

    patiently(over, deadline)
    return words in heard
