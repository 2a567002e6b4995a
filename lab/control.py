"""Start, stop, look at and clear away a lab. What ``python -m lab`` and ``seawall`` call."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import daemon
from lab.backend import machines
from lab.host import patiently, remembered
from lab.instance import DATA, Instance, allocate, check_name, find, forget, tag
from lab.machines import groups
from lab.network import balancer, mirror, plan, router
from lab.world import BackendError

START_SECONDS = 30.0
STOP_SECONDS = 20.0


def start(name: str, token_file: Path) -> dict[str, object]:
    """Start the instance's daemon unless it runs, and wait until its API is healthy. Returns what it is.

    The token's text is read by the daemon from ``token_file`` and never stands on a command line.
    """
    if os.geteuid() != 0:
        raise BackendError(
            "The lab makes namespaces, mounts and containers, which only root may. Run it as root."
        )
    if not token_file.is_file():
        raise BackendError(f"The lab's API token is read from {token_file}, and there is no such file.")
    instance = allocate(name)
    if not _daemon(instance):
        _launch(instance, token_file)
    return describe(instance)


def stop(name: str) -> None:
    """Stop the instance's machines and load balancers in order, and its daemon. Disks and state stay."""
    if instance := find(name):
        _end_daemon(instance)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda machine: machine.stop(), machines(instance)))
        balancer.stop_all(instance)
        router.remove(instance)
        mirror.release()


def purge(name: str) -> list[str]:
    """Remove all of an instance, pulling the plug on its machines. Returns what is left: nothing, if all went well."""
    # What is removed is found by the name alone: a lab whose record is gone can be purged too.
    instance = find(name) or Instance(check_name(name), api_port=0, public_range="0.0.0.0/24")
    _end_daemon(instance)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda machine: machine.destroy(), machines(instance)))
    balancer.stop_all(instance)
    router.remove(instance)
    mirror.release()
    forget(instance)
    return check(name)


def status(name: str) -> dict[str, object]:
    """Whether the daemon runs, and which machines do."""
    instance = find(name)
    if not instance:
        return {"instance": check_name(name), "running": False, "machines": []}
    running = sorted(machine.id for machine in machines(instance) if machine.running())
    return {**describe(instance), "running": _daemon(instance) is not None, "machines": running}


def describe(instance: Instance) -> dict[str, object]:
    """What others need to use a lab: its API, its public range, and the address an administrator comes from."""
    return {
        "instance": instance.name,
        "api": instance.api,
        "spaces": instance.spaces,
        "public_range": instance.public_range,
        "outside": f"{instance.address(plan.ADMINISTRATOR)}/32",
        "pid": _daemon(instance),
        "kind": "machines",
    }


def check(name: str) -> list[str]:
    """All that exists of an instance on this machine, one line each: empty after a purge."""
    mark = f"seawall-{tag(check_name(name))}"
    found = [f"process {pid}: {line}" for pid, line in _processes(mark, name)]
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    found += [
        f"mount {mount}" for mount in mounts if mount.startswith((f"{DATA / name}/", f"/run/netns/{mark}-"))
    ]
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if (file := backing.read_text().strip()).startswith(f"{DATA / name}/"):
                found.append(f"loop device {backing.parts[3]} of {file}")
    if router.NAMESPACES.exists():
        found += [f"namespace {path.name}" for path in sorted(router.NAMESPACES.glob(f"{mark}-*"))]
    link = f"sw{tag(name)}"
    if Path(f"/sys/class/net/{link}").exists():
        found.append(f"link {link}, with its route and address")
    found += [f"control group {place}" for place in groups.left(tag(name))]
    if (DATA / name).exists():
        found.append(f"folder {DATA / name}")
    if (pid := mirror.running()) and not mirror.in_use():
        found.append(f"process {pid}: the package mirror, which no lab uses")
    return found


def _launch(instance: Instance, token_file: Path) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", instance.api_port))
        listener.listen(128)
    except OSError:
        raise BackendError(
            f"The lab's API can't listen on 127.0.0.1:{instance.api_port}: another process uses this port (`ss -ltnp` "
            f"names it). End that process, or purge this lab (`python -m lab purge`) so that it takes another port."
        ) from None
    with listener, open(instance.log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as output:
        words = [instance.name, str(token_file.resolve()), str(listener.fileno())]
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.daemon", *words],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(listener.fileno(),),
        )
    healthy = patiently(lambda: process.poll() is not None or _healthy(instance), START_SECONDS)
    if not healthy or process.poll() is not None:
        last = instance.log.read_text(errors="replace").splitlines()[-6:]
        _end_daemon(instance)
        raise BackendError(
            f"The lab's daemon did not become healthy. Its last words: {' / '.join(last) or '(none)'}. "
            f"The whole is in {instance.log}."
        )


def _healthy(instance: Instance) -> bool:
    try:
        with urllib.request.urlopen(f"{instance.api}/healthz", timeout=2) as answer:  # noqa: S310 (loopback)
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def _daemon(instance: Instance) -> int | None:
    return remembered(instance.data / daemon.PID)


def _end_daemon(instance: Instance) -> None:
    """SIGTERM, patience, SIGKILL. The daemon's lock says when it is gone even where its pid file does not."""
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        pid = _daemon(instance)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        patiently(lambda: _daemon(instance) is None, patience)


def _processes(mark: str, name: str) -> list[tuple[int, str]]:
    """Processes that an instance started: its daemon, machines and load balancers, by their command lines."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            is_daemon = words[1:4] == ["-m", "lab.daemon", name]
            if is_daemon or any(f"{mark}-" in word or f"{DATA / name}/" in word for word in words):
                found.append((int(folder.name), " ".join(words).strip()[:160]))
    return found
