"""One droplet as a machine: its disk, its root, its processes. Here a container; ``virtual.py`` has the other kind.

The root is an overlay of the image and an upper layer on a filesystem of the size's disk, in a sparse
file of its own, so that a full disk is the droplet's own. It runs in systemd-nspawn under ``supervise.sh``, which
a later daemon finds again by the droplet's control groups.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lab.host import patiently, run, succeeds, write_whole
from lab.instance import Instance
from lab.machines import image
from lab.machines.groups import Group
from lab.network.plan import MIRROR, Link
from lab.world import BackendError, Droplet, Size

BOOT_DEADLINE = 60.0
"""Seconds within which a started machine's systemd must run. It takes about one."""


@dataclass(frozen=True)
class Machine:
    """The machine of one droplet id. Everything about it lies in its folder."""

    instance: Instance
    id: int

    comes_up: ClassVar[str] = "systemd"
    """What ``init`` looks for, in an error's words."""

    patience: ClassVar[float] = 90.0
    """Seconds an orderly shutdown may take before the plug is pulled: systemd's own patience with one service."""

    @property
    def folder(self) -> Path:
        return self.instance.droplets / str(self.id)

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def console(self) -> Path:
        """What the machine printed on its console, all boots since its last start."""
        return self.folder / "console.log"

    @property
    def group(self) -> Group:
        return Group(self.instance.tag, str(self.id))

    @property
    def namespace(self) -> str | None:
        """The network namespace of the machine's own."""
        return self.instance.namespace(f"d{self.id}")

    def running(self) -> bool:
        return bool(self.group.processes())

    def build(self, droplet: Droplet, links: tuple[Link, ...]) -> None:
        """Make the disk and, on it, what tells this droplet from its image. Nothing if it was done before."""
        source = image.root(droplet.image)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self.folder / "disk.ext4"
        if not file.exists():
            draft = self.folder / "disk.draft"
            with draft.open("wb") as blank:
                blank.truncate(droplet.size.disk * 1024**3)
            # 64 MiB of journal and no tables written ahead keep a new droplet's disk small and quick to make.
            options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
            run(
                "mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=64", "-E", options, draft,
                why=f"make the disk of droplet {droplet.name}",
            )  # fmt: skip
            draft.rename(file)
        self._mount(droplet, source)
        if not (self.folder / "made").exists():
            self._individualise(droplet, links)
            write_whole(self.folder / "made", f"{source}\n")

    def start(self, droplet: Droplet, links: tuple[Link, ...]) -> None:
        """Boot. Returns once the machine's own systemd runs, its links up since before it began."""
        commands = {
            "groups": "".join(f"{door}\n" for door in self.group.make(self._bounds(droplet.size))),
            "region": self.instance.namespace(droplet.region) + "\n",
            "namespace": f"{self.namespace or ''}\n",
            "ports": "".join(f"{link.port}\n" for link in links),
            "links": "".join(f"{line}\n" for link in links for line in link.commands(self.namespace)),
        }
        for name, content in commands.items():
            write_whole(self.folder / name, content)
        (self.folder / "again").unlink(missing_ok=True)
        command = self._command(droplet, links)
        with open(self.console, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as console:
            process = subprocess.Popen(
                ["/bin/sh", str(Path(__file__).with_name("supervise.sh")), *command],
                cwd=self.folder,
                # What belongs to its network namespace a container may set, as a machine of its own would.
                env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        up = patiently(lambda: process.poll() is not None or self.init() is not None, BOOT_DEADLINE)
        if not up or process.poll() is not None:
            self.halt()
            raise BackendError(
                f"Droplet {droplet.name} did not boot: "
                + (f"its {self.comes_up} did not come up within {BOOT_DEADLINE:.0f} s. " if not up else
                   f"{command[0]} ended with exit code {process.returncode}. ")
                + f"Its console's last lines: {self._last_lines()}. The whole is in {self.console}."
            )  # fmt: skip

    def stop(self, *, force: bool = False) -> None:
        """An orderly shutdown, the plug pulled if it takes too long (or at once, by ``force``)."""
        init = self.init()
        if init and not force:
            self._ask(init, reboot=False)
            patiently(lambda: not self.running(), self.patience)
        self.halt()

    def reboot(self) -> None:
        """Ask the machine's systemd to reboot; returns once a new one runs."""
        before = self.init()
        if before is None:
            raise BackendError(f"Droplet {self.id} can't reboot: it does not run. Power it on instead.")
        self._ask(before, reboot=True)
        patiently(lambda: not self.running() or self.init() not in (None, before), self.patience)
        if self.init() in (None, before):
            raise BackendError(
                f"Droplet {self.id} did not come back from its reboot within {self.patience:.0f} s. "
                f"Its console's last lines: {self._last_lines()}. Power-cycle it."
            )

    def halt(self) -> None:
        """End what runs, take away links and mounts. The disk stays."""

        def over() -> bool:
            self.group.kill()
            return not self.running()

        if not patiently(over, 30.0):
            raise BackendError(
                f"Processes {sorted(self.group.processes())} of droplet {self.id} can't be ended."
            )
        self.group.remove()
        if self.namespace:
            succeeds("ip", "netns", "delete", self.namespace)
        for mount in (self.root, self.disk):
            if mount.is_mount():
                run("umount", mount, why=f"unmount {mount}")

    def destroy(self) -> None:
        """End the machine and remove all it had."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _mount(self, droplet: Droplet, lower: Path) -> None:
        for mount in (self.disk, self.root):
            mount.mkdir(mode=0o755, exist_ok=True)
        why = f"mount the root of droplet {droplet.name}"
        if not self.disk.is_mount():
            run("mount", "-o", "loop,noatime", self.folder / "disk.ext4", self.disk, why=why)
        for part in ("upper", "work"):
            (self.disk / part).mkdir(mode=0o755, exist_ok=True)
        if not self.root.is_mount():
            layers = f"lowerdir={lower},upperdir={self.disk}/upper,workdir={self.disk}/work"
            run("mount", "-t", "overlay", "-o", layers, f"seawall-{self.instance.tag}", self.root, why=why)

    def _individualise(self, droplet: Droplet, links: tuple[Link, ...]) -> None:
        files = {
            "etc/hostname": f"{droplet.name}\n",
            "etc/machine-id": uuid.uuid4().hex + "\n",
            "etc/apt/apt.conf.d/01mirror": f'Acquire::http::Proxy "http://{self.instance.address(MIRROR)}:80";\n',
            **{f"etc/systemd/network/10-{link.name}.network": link.settings() for link in links},
        }
        for name, content in files.items():
            write_whole(self.root / name, content)

    def _bounds(self, size: Size) -> Size:
        """What the machine's processes may use of this host."""
        return size

    def _ask(self, init: int, *, reboot: bool) -> None:
        """Ask the machine to shut itself down in order, or to reboot."""
        os.kill(init, signal.SIGINT if reboot else signal.SIGRTMIN + 4)  # systemd's own signals

    def _command(self, droplet: Droplet, links: tuple[Link, ...]) -> list[str]:
        return [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            f"--directory={self.root}",
            f"--machine=seawall-{self.instance.tag}-{self.id}",
            f"--hostname={droplet.name}",
            f"--network-namespace-path=/run/netns/{self.namespace}",
            "--register=no",
            "--keep-unit",
            "--settings=no",
            "--console=read-only",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            # The kernel keeps what a killed machine wrote, so the disk need not be waited for at every fsync: a
            # droplet installs packages in a third of the time. Only a crash of this host can lose the last seconds.
            "--suppress-sync=yes",
            # Beside this, nspawn's own choice of capabilities. It has neither CAP_SYS_TIME nor CAP_SYS_MODULE, with
            # which a droplet could set this host's clock or load modules into its kernel.
            "--capability=CAP_NET_ADMIN",
        ]

    def init(self) -> int | None:
        """The pid of the machine's systemd, once it has begun its work."""
        for pid in self.group.processes():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                spaces = status.partition("NSpid:")[2].partition("\n")[0].split()
                if (
                    spaces[-1] == "1"
                    and len(spaces) > 1
                    and Path(f"/proc/{pid}/root/run/systemd/private").exists()
                ):
                    return pid
        return None

    def _last_lines(self) -> str:
        lines = self.console.read_text(errors="replace").splitlines() if self.console.exists() else []
        return " / ".join(line.strip() for line in lines[-12:] if line.strip()) or "(none)"
