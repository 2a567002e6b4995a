"""A lab behind a world written by hand: the backend's own tests, without the API in front of it."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lab import control, instance
from lab.backend import Machines
from lab.host import patiently
from lab.machines.machine import Machine
from lab.network import plan, router
from lab.network.relay import Relays
from lab.world import Droplet, Firewall, Rule, Size, Vpc, World

SMALL = Size("s-1vcpu-1gb", 1024, 1, 25)
WEB1, WEB2, OTHER, FAR = 101, 102, 103, 104

USER_DATA = """#cloud-config
users:
  - name: ops
    ssh_authorized_keys: ["{key}"]
    sudo: "ALL=(ALL) NOPASSWD:ALL"
    shell: /bin/bash
disable_root: true
ssh_genkeytypes: [ed25519]
write_files:
  - path: /etc/ssh/sshd_config.d/00-test.conf
    content: "Port 2222\\nPermitRootLogin no\\n"
"""


class Lab:
    """The small lab of conftest.py. ``world`` is what stands; ``network`` changes it."""

    def __init__(self, name: str, scratch: Path) -> None:
        self.scratch = scratch
        self.instance = instance.allocate(name)
        self.key = scratch / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        router.ensure_core(self.instance)
        self.relays = Relays(self.instance)
        self.backend = Machines(self.instance, self._serve_metadata)
        public = iter(range(10, 200))
        self.world = World(
            vpcs={
                "vpc-a": Vpc("vpc-a", "fra1", "10.77.0.0/24"),
                "vpc-b": Vpc("vpc-b", "fra1", "10.78.0.0/24"),
                "vpc-c": Vpc("vpc-c", "ams3", "10.79.0.0/24"),
            },
            droplets={
                number: Droplet(
                    number, name, region, "debian-12-x64", SMALL, vpc,
                    self.instance.address(next(public)), private,
                )
                for number, name, region, vpc, private in (
                    (WEB1, "web-1", "fra1", "vpc-a", "10.77.0.2"),
                    (WEB2, "web-2", "fra1", "vpc-a", "10.77.0.3"),
                    (OTHER, "other-1", "fra1", "vpc-b", "10.78.0.2"),
                    (FAR, "far-1", "ams3", "vpc-c", "10.79.0.2"),
                )
            },
        )  # fmt: skip
        self.seconds: dict[int, float] = {}

    def build(self) -> None:
        """Boot everything at once and wait until each answers on its own ssh port."""
        self.backend.network(self.world)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._boot, self.world.droplets.values()))

    def purge(self) -> None:
        self.relays.close()
        left = control.purge(self.instance.name)
        assert left == [], left

    def network(self, *firewalls: Firewall, **changes: object) -> None:
        """The world with these firewalls, and no others."""
        self.world = replace(self.world, firewalls={wall.id: wall for wall in firewalls}, **changes)
        self.backend.network(self.world)

    def droplet(self, number: int) -> Droplet:
        return self.world.droplets[number]

    def machine(self, number: int) -> Machine:
        return Machine(self.instance, number)

    def run(self, number: int, command: str, *, check: bool = True) -> str:
        """Run a shell command in a droplet, as its root and by its own systemd.

        A process brought in from outside would keep this machine's capabilities and escape the droplet's limits:
        what a droplet may not do could then be done for real, to this machine.
        """
        enter = ["nsenter", "--all", "--target", str(self.machine(number).init())]
        words = [*enter, "systemd-run", "--quiet", "--pipe", "--wait", "--collect", "sh", "-c", command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def ssh(
        self, number: int, command: str, *, user: str = "ops", port: int = 2222
    ) -> subprocess.CompletedProcess[str]:
        options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "ConnectTimeout=5",
            "BatchMode=yes",
        ]
        flags = [word for option in options for word in ("-o", option)]
        where = f"{user}@{self.droplet(number).public_ipv4}"
        words = ["ssh", "-q", "-i", str(self.key), "-p", str(port), *flags, where, command]
        return subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)

    def serve(self, number: int, port: int) -> None:
        """Have a droplet answer HTTP on ``port`` with its name."""
        self.run(number, "mkdir -p /srv/www && hostname > /srv/www/index.html")
        self.run(number, f"systemd-run -q --unit=www-{port} python3 -m http.server -d /srv/www {port}")
        assert patiently(lambda: f":{port} " in self.run(number, "cat /proc/net/tcp | wc -l; ss -ltn"), 10)

    def probe(self, where: int | str, address: str, port: int, *, seconds: float = 1.0) -> str:
        """What TCP to ``port`` meets from a droplet (its id), ``outside`` or ``host``: open, refused, silence.

        Silence is a firewall's answer; a refusal got through.
        """

        def attempt() -> str:
            with socket.socket() as client:
                client.settimeout(seconds)
                try:
                    client.connect((address, port))
                except ConnectionRefusedError:
                    return "refused"
                except TimeoutError:
                    return "silence"
                except OSError:
                    return "unroutable"
                return "open"

        if where == "host":
            return attempt()
        return router.made_in(self.namespace(where), attempt)

    def namespace(self, where: int | str) -> str:
        return self.machine(where).namespace if isinstance(where, int) else self.instance.namespace(where)

    def connect(self, where: int | str, address: str, port: int) -> socket.socket:
        """An open connection from somewhere."""

        def make() -> socket.socket:
            client = socket.create_connection((address, port), timeout=3)
            return client

        return make() if where == "host" else router.made_in(self.namespace(where), make)

    def _boot(self, droplet: Droplet) -> None:
        begun = time.monotonic()
        self.backend.boot(droplet)
        assert patiently(lambda: self.probe("host", droplet.public_ipv4, 2222) == "open", 180), droplet
        self.seconds[droplet.id] = time.monotonic() - begun

    def _serve_metadata(self, region: str) -> None:
        listener = router.listening(self.instance.namespace(region), plan.METADATA, 80)
        listener.setblocking(True)
        document = self._document

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = document(self.client_address[0])
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """The tests' output is pytest's."""

        server = ThreadingHTTPServer((plan.METADATA, 80), Answer, bind_and_activate=False)
        server.socket.close()
        server.socket = listener
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def _document(self, client: str) -> bytes:
        for droplet in self.world.droplets.values():
            if client in (droplet.public_ipv4, droplet.private_ipv4):
                key = self.key.with_suffix(".pub").read_text().strip()
                return json.dumps(
                    {
                        "droplet_id": droplet.id,
                        "hostname": droplet.name,
                        "region": droplet.region,
                        "public_keys": [key],
                        "user_data": USER_DATA.format(key=key),
                        "vendor_data": "",
                        "interfaces": {},
                    }
                ).encode()
        return b""


def wall(
    droplets: set[int], inbound: tuple[Rule, ...] = (), outbound: tuple[Rule, ...] = (), name: str = "w"
) -> Firewall:
    return Firewall(name, frozenset(droplets), inbound, outbound)


def tcp(first: int, *addresses: str, last: int | None = None, action: str = "allow") -> Rule:
    return Rule("tcp", (first, last or first), addresses or ("0.0.0.0/0", "::/0"), action)


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    return patiently(condition, seconds)
