"""A power cut, as near as one machine can come to it without one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress

from lab import control
from lab.backend import machines
from lab.instance import find


def cut(name: str, patience: float = 20.0) -> None:
    """SIGKILL every process of the instance's lab, then take what a restart would: mounts, namespaces, links."""
    instance = find(name)
    assert instance, f"there is no lab {name}"
    deadline = time.monotonic() + patience
    while doomed := [pid for pid, _ in control._processes(f"seawall-{instance.tag}", name)]:
        assert time.monotonic() < deadline, f"processes {doomed} outlive SIGKILL"
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for machine in machines(instance):
        # Killing nspawn leaves what runs inside, which its control groups know.
        while machine.running():
            assert time.monotonic() < deadline, f"droplet {machine.id} outlives SIGKILL"
            machine.group.kill()
        for mount in (machine.root, machine.disk):
            subprocess.run(["umount", "--lazy", mount], capture_output=True)
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        if line.startswith(f"seawall-{instance.tag}-"):
            subprocess.run(["ip", "netns", "delete", line.split()[0]], check=True)
    subprocess.run(["ip", "link", "delete", f"sw{instance.tag}"], capture_output=True)
