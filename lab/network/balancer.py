"""Load balancers: one haproxy each, in a namespace of its own with a public and a VPC address.

``configuration`` decides, purely, what haproxy should do; the rest starts it, reloads it without dropping a
connection, and ends it. Like droplets they outlive the daemon and are found again by their control groups.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.host import patiently, remember, remembered, run, succeeds, write_whole
from lab.instance import Instance
from lab.machines.groups import Group
from lab.network import plan, router
from lab.world import BackendError, Certificate, Forwarding, HealthCheck, LoadBalancer, World

START_SECONDS = 15.0

STRONG = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
DEFAULT = (
    f"{STRONG}:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
    "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:"
    "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA"
)
POLICIES = {"DEFAULT": DEFAULT, "STRONG": STRONG}
"""TLS 1.2 suites of DigitalOcean's two policies. Both take TLS 1.2 and 1.3 only; DEFAULT adds CBC and suites
without forward secrecy for old clients, STRONG keeps what has both AEAD and ECDHE."""

CURVES = "X25519:P-256:P-384"
"""Mozilla's intermediate profile, version 5.7."""

GLOBAL = """\
global
    user haproxy
    group haproxy
    # An old worker ends with its last connection after a reload; one that never closes must not keep it for ever.
    hard-stop-after 10m
    log stderr format raw daemon notice
    stats socket {folder}/control mode 600 level admin
    server-state-file {folder}/servers
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    tune.ssl.default-dh-param 2048

defaults
    log global
    timeout connect 5s
    timeout client {idle}s
    timeout server {idle}s
    timeout http-keep-alive {idle}s
    timeout http-request 30s
    timeout tunnel {idle}s
    option redispatch
    retries 3
    load-server-state-from-file global
"""


@dataclass(frozen=True)
class Balancer:
    """The running side of one load balancer."""

    instance: Instance
    id: str

    @property
    def folder(self) -> Path:
        return self.instance.balancers / self.id

    @property
    def namespace(self) -> str:
        return self.instance.namespace(f"lb-{self.id[:8]}")

    @property
    def group(self) -> Group:
        return Group(self.instance.tag, f"lb-{self.id[:8]}")

    def make(self, links: tuple[plan.Link, ...], region: str, settings: dict[str, str]) -> None:
        """Serve by ``settings`` (file name → text): start, or reload if they changed, or leave alone."""
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._link(links, region)
        master = remembered(self.folder / "master")
        if master and self._settings() == settings:
            return
        for name in self._settings().keys() - settings.keys():
            (self.folder / name).unlink(missing_ok=True)
        for name, text in settings.items():
            write_whole(self.folder / name, text, mode=0o600)
        run(
            "haproxy", "-c", "-q", "-f", self.folder / "haproxy.cfg", why=f"configure load balancer {self.id}"
        )
        if master:
            self._save_health()
            os.kill(master, signal.SIGUSR2)
        else:
            self._start()

    def stop(self) -> None:
        """End haproxy at once and take away its namespace."""

        def over() -> bool:
            self.group.kill()
            return not self.group.processes()

        if not patiently(over, START_SECONDS):
            raise BackendError(f"The haproxy of load balancer {self.id} can't be ended.")
        self.group.remove()
        succeeds("ip", "netns", "delete", self.namespace)

    def destroy(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _settings(self) -> dict[str, str]:
        return {
            path.name: path.read_text() for path in self.folder.iterdir() if path.suffix in (".cfg", ".pem")
        }

    def _link(self, links: tuple[plan.Link, ...], region: str) -> None:
        there = self.instance.namespace(region)
        router.make_namespace(self.namespace)
        for link in links:
            if not router.has_link(self.namespace, link.name) or not router.has_link(there, link.port):
                succeeds("ip", "-n", there, "link", "delete", link.port)
                router.batch(there, link.commands(self.namespace))
        router.batch(
            self.namespace, ["link set lo up", *(line for link in links for line in link.configure())]
        )

    def _start(self) -> None:
        self.group.kill()  # workers whose master was killed
        doors = " ".join(f"'{door}'" for door in self.group.make())
        (self.folder / "servers").touch(mode=0o600)
        script = f'for door in {doors}; do echo $$ >"$door" || exit 1; done; exec "$@"'
        words = [*router.inside(self.namespace), "haproxy", "-W", "-f", str(self.folder / "haproxy.cfg")]
        log = self.folder / "haproxy.log"
        with open(log, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", script, "sh", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        remember(self.folder / "master", process.pid)
        up = patiently(
            lambda: process.poll() is not None or self._ask("show info") is not None, START_SECONDS
        )
        if not up or process.poll() is not None:
            self.stop()
            raise BackendError(
                f"The haproxy of load balancer {self.id} did not start: {log.read_text()[-800:].strip() or 'silent'}."
            )

    def _save_health(self) -> None:
        """Hand what is known of the members' health to the next worker, which would begin by trusting all."""
        write_whole(self.folder / "servers", self._ask("show servers state") or "", mode=0o600)

    def _ask(self, question: str) -> str | None:
        """An answer of the running worker, None if it gives none."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5)
            try:
                control.connect(str(self.folder / "control"))
                control.sendall(question.encode() + b"\n")
                return b"".join(iter(lambda: control.recv(1 << 16), b"")).decode(errors="replace")
            except OSError:
                return None


def apply(instance: Instance, world: World) -> None:
    """Make the load balancers that run be those of ``world``. One that can't be does not hold up the others."""
    for stranger in existing(instance) - world.load_balancers.keys():
        Balancer(instance, stranger).destroy()
    failures = []
    for balancer in world.load_balancers.values():
        try:
            links = plan.links_of(instance, world, balancer)
            Balancer(instance, balancer.id).make(links, balancer.region, settings(instance, world, balancer))
        except BackendError as failure:
            failures.append(f"Load balancer {balancer.name}: {failure}")
    if failures:
        raise BackendError(" ".join(failures))


def stop_all(instance: Instance) -> None:
    for each in existing(instance):
        Balancer(instance, each).stop()


def existing(instance: Instance) -> set[str]:
    """The ids of load balancers that have a folder, running or not."""
    return {path.name for path in instance.balancers.iterdir()} if instance.balancers.exists() else set()


def settings(instance: Instance, world: World, balancer: LoadBalancer) -> dict[str, str]:
    """haproxy's configuration and the certificates it names, each a file of the balancer's folder. Pure."""
    folder = instance.balancers / balancer.id
    members = {
        member: world.droplets[member].private_ipv4
        for member in sorted(balancer.members)
        if member in world.droplets
    }
    names = sorted({each.certificate_id for each in balancer.forwarding if each.certificate_id})
    certificates = {name: world.certificates[name] for name in names if name in world.certificates}
    return {
        "haproxy.cfg": configuration(balancer, members, folder),
        **{f"{name}.pem": bundle(certificate) for name, certificate in certificates.items()},
    }


def bundle(certificate: Certificate) -> str:
    """A certificate as haproxy reads it: leaf, chain and private key in one text."""
    parts = (certificate.leaf, certificate.chain, certificate.private_key)
    return "".join(part.strip() + "\n" for part in parts if part.strip())


def configuration(balancer: LoadBalancer, members: dict[int, str], folder: Path) -> str:
    """haproxy's configuration for a load balancer whose ``members`` are droplet id → VPC address. Pure."""
    parts = [GLOBAL.format(folder=folder, idle=balancer.idle_timeout)]
    for number, forwarding in enumerate(balancer.forwarding):
        parts += [
            _frontend(number, forwarding, balancer, folder),
            _backend(number, forwarding, balancer, members),
        ]
    entries = {each.entry_port for each in balancer.forwarding}
    if balancer.redirect_http_to_https and 80 not in entries:
        lines = [f"bind {balancer.public_ipv4}:80", "mode http", *_admission(balancer), REDIRECT]
        parts.append(_section("frontend redirect", lines))
    return "\n".join(parts)


REDIRECT = "http-request redirect scheme https code 301"


def _frontend(number: int, forwarding: Forwarding, balancer: LoadBalancer, folder: Path) -> str:
    kind = _entry_kind(forwarding)
    bind = f"bind {balancer.public_ipv4}:{forwarding.entry_port}"
    if kind == "tls":
        bind += (
            f" ssl crt {folder}/{forwarding.certificate_id}.pem alpn h2,http/1.1"
            f" ciphers {POLICIES[balancer.tls_cipher_policy]} curves {CURVES}"
        )
    lines = [bind, f"mode {'tcp' if kind == 'tcp' else 'http'}", *_admission(balancer)]
    if kind == "plain" and balancer.redirect_http_to_https:
        lines.append(REDIRECT)
    if kind != "tcp":
        lines += [
            "option forwardfor",
            f"http-request set-header X-Forwarded-Proto {'https' if kind == 'tls' else 'http'}",
            f"http-request set-header X-Forwarded-Port {forwarding.entry_port}",
        ]
    return _section(f"frontend entry{number}", [*lines, f"default_backend members{number}"])


def _backend(number: int, forwarding: Forwarding, balancer: LoadBalancer, members: dict[int, str]) -> str:
    kind = _entry_kind(forwarding)
    lines = [f"mode {'tcp' if kind == 'tcp' else 'http'}", "balance roundrobin"]
    lines += _health(balancer.health_check)
    options = _server(forwarding, kind, balancer)
    lines += [
        f"server droplet-{member} {address}:{forwarding.target_port} {options}"
        for member, address in members.items()
    ]
    return _section(f"backend members{number}", lines)


def _entry_kind(forwarding: Forwarding) -> str:
    """How an entry is read: ``tls`` (terminated here), ``plain`` HTTP, or ``tcp`` (handed on as it comes)."""
    if forwarding.entry_protocol in ("udp", "http3"):
        raise BackendError(
            f"the lab's load balancers are haproxy from Debian, which does not speak {forwarding.entry_protocol} "
            f"(entry port {forwarding.entry_port}). Use https, http2, http or tcp."
        )
    if forwarding.entry_protocol == "tcp" or forwarding.tls_passthrough:
        return "tcp"
    return "plain" if forwarding.entry_protocol == "http" else "tls"


def _server(forwarding: Forwarding, kind: str, balancer: LoadBalancer) -> str:
    check = balancer.health_check
    words = [f"check port {check.port} inter {check.interval}s fall {check.unhealthy} rise {check.healthy}"]
    encrypted = kind != "tcp" and forwarding.target_protocol in ("https", "http2")
    if encrypted:
        # As DigitalOcean does: members are encrypted to, their certificates not verified.
        words.append(
            f"ssl verify none alpn {'h2,http/1.1' if forwarding.target_protocol == 'http2' else 'http/1.1'}"
        )
    if check.protocol == "https":
        words.append("check-ssl" if encrypted else "check-ssl verify none")
        words.append("check-alpn http/1.1")
    elif encrypted:
        words.append("no-check-ssl")
    if balancer.proxy_protocol:
        words.append("send-proxy")
        if check.port == forwarding.target_port:
            words.append("check-send-proxy")
    return " ".join(words)


def _health(check: HealthCheck) -> list[str]:
    lines = [f"timeout check {check.timeout}s"]
    if check.protocol in ("http", "https"):
        lines += ["option httpchk", f"http-check send meth GET uri {check.path} ver HTTP/1.1 hdr Host lb"]
        lines.append("http-check expect status 200-399")
    return lines


def _admission(balancer: LoadBalancer) -> list[str]:
    """The load balancer's own firewall: a denied address never, with an allow list only what it names."""
    lines = [f"tcp-request connection reject if {{ src {' '.join(balancer.deny)} }}"] if balancer.deny else []
    if balancer.allow:
        lines.append(f"tcp-request connection reject unless {{ src {' '.join(balancer.allow)} }}")
    return lines


def _section(head: str, lines: Iterable[str]) -> str:
    return "\n".join([head, *(f"    {line}" for line in lines)]) + "\n"
