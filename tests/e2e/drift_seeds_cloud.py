"""Differences made by hand in the account, through the API by plain HTTP: what, and what has to be found.

Written apart from the code under test, which knows none of it. Each seed is made, looked for, and undone.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Account:
    """A client of the API that shares nothing with the product's."""

    def __init__(self, url: str, token: str, stack: str) -> None:
        self.url, self.token, self.stack = url, token, stack
        self.words = {"stack": stack}
        """What seeds' texts can name: `reserved` is known once that address is."""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's body. What is locked or busy is asked again, as a person would."""
        until = monotonic() + 120
        while True:
            try:
                return self._once(method, path, body)
            except urllib.error.HTTPError as error:
                said = error.read().decode()
                busy = "processes previous actions" in said or "pending event" in said
                if not busy or monotonic() > until:
                    raise AssertionError(f"{method} {path}: {error.code} {said}") from None
                sleep(0.5)

    def _once(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def named(self, kind: str, name: str) -> dict[str, Any]:
        listed = self.ask("GET", f"/v2/{kind}?per_page=200")
        return next(each for each in listed[kind.rpartition("/")[2]] if each["name"] == name)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        end = monotonic() + 120
        while not condition():
            assert monotonic() < end, f"never came about: {what}"
            sleep(0.2)


@dataclass(frozen=True)
class Seed:
    """``make`` does it and returns what undoes it; then ``found`` is told: layer, kind, subject and part of what."""

    name: str
    make: Callable[[Account], Callable[[], Any]]
    layer: str
    kind: str
    subject: str
    what: str
    seen: str
    also: tuple[tuple[str, str, str, str], ...] = ()
    """What has to come with it: layer, kind, subject, what."""


def _firewall(change: Callable[[dict[str, Any]], Any]) -> Callable:
    """A firewall written anew with something changed; undone by writing it as it was."""

    def make(account: Account) -> Callable[[], Any]:
        was = account.named("firewalls", f"{account.stack}-app")
        fields = ("name", "inbound_rules", "outbound_rules", "droplet_ids", "tags")
        old = {field: was[field] for field in fields}
        new = json.loads(json.dumps(old))
        change(new)
        path = f"/v2/firewalls/{was['id']}"
        settled = lambda: account.ask("GET", path)["firewall"]["status"] == "succeeded"  # noqa: E731
        account.ask("PUT", path, new)
        account.until(settled, "the firewall settles")

        def undo() -> None:
            account.ask("PUT", path, old)
            account.until(settled, "the firewall settles")

        return undo

    return make


def _balancer(**fields: Any) -> Callable:
    """The load balancer written anew with other ``fields``."""

    def make(account: Account) -> Callable[[], Any]:
        was = account.named("load_balancers", account.stack)
        old = {
            name: value for name, value in was.items() if name not in ("tag", "ip", "status", "created_at")
        }
        old["region"] = was["region"]["slug"]
        path = f"/v2/load_balancers/{was['id']}"
        account.ask("PUT", path, old | fields)
        return lambda: account.ask("PUT", path, old)

    return make


def _made(path: str, body: dict[str, Any], key: str, identity: str = "id", below: str = "") -> Callable:
    def make(account: Account) -> Callable[[], Any]:
        made = account.ask("POST", path, body)[key]
        return lambda: account.ask("DELETE", f"{below or path}/{made[identity]}")

    return make


def _reserved(account: Account) -> Callable[[], Any]:
    address = account.ask("POST", "/v2/reserved_ips", {"region": "fra1"})["reserved_ip"]["ip"]
    account.words["reserved"] = address
    return lambda: account.ask("DELETE", f"/v2/reserved_ips/{address}")


def _droplet_action(name: str, there: dict[str, Any], back: dict[str, Any], status: str) -> Callable:
    def make(account: Account) -> Callable[[], Any]:
        path = f"/v2/droplets/{account.named('droplets', name)['id']}"

        def act(action: dict[str, Any], wanted: str) -> None:
            account.ask("POST", f"{path}/actions", action)
            now = lambda: account.ask("GET", path)["droplet"]  # noqa: E731
            account.until(lambda: now()["status"] == wanted and not now()["locked"], str(action))

        act(there, status)
        return lambda: act(back, "active")

    return make


def _tag(name: str, put_on: str = "", taken_off: str = "") -> Callable:
    def make(account: Account) -> Callable[[], Any]:
        resource = {"resource_id": str(account.named("droplets", name)["id"]), "resource_type": "droplet"}
        body = {"resources": [resource]}
        tag = (put_on or taken_off).format(stack=account.stack)
        if put_on:
            account.ask("POST", f"/v2/tags/{tag}/resources", body)
            return lambda: account.ask("DELETE", f"/v2/tags/{tag}/resources", body)
        account.ask("DELETE", f"/v2/tags/{tag}/resources", body)
        return lambda: account.ask("POST", f"/v2/tags/{tag}/resources", body)

    return make


def _by_hand(**more: Any) -> Callable:
    """A droplet that nobody declared, in our VPC."""

    def make(account: Account) -> Callable[[], Any]:
        vpc = account.named("vpcs", account.stack)["id"]
        body = {"name": "by-hand", "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-12-x64"}
        made = account.ask("POST", "/v2/droplets", {**body, "vpc_uuid": vpc, **more})["droplet"]["id"]
        path = f"/v2/droplets/{made}"
        account.until(lambda: not account.ask("GET", path)["droplet"]["locked"], "the droplet is up")

        def undo() -> None:
            account.ask("DELETE", path)
            there = lambda: account.ask("GET", "/v2/droplets?per_page=200")["droplets"]  # noqa: E731
            account.until(lambda: all(each["id"] != made for each in there()), "the droplet is gone")

        return undo

    return make


def _renamed_vpc(account: Account) -> Callable[[], Any]:
    path = f"/v2/vpcs/{account.named('vpcs', account.stack)['id']}"
    account.ask("PATCH", path, {"description": "borrowed"})
    return lambda: account.ask("PATCH", path, {"description": ""})


def _swapped(account: Account) -> Callable[[], Any]:
    """Another certificate for the same name, by somebody else's key, behind the same door."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app.seawall.test")])
    now = datetime.now(UTC)
    leaf = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("app.seawall.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    made = account.ask(
        "POST",
        "/v2/certificates",
        {
            "name": "swapped",
            "type": "custom",
            "leaf_certificate": leaf.public_bytes(pem).decode(),
            "private_key": key.private_bytes(pem, form, serialization.NoEncryption()).decode(),
        },
    )["certificate"]["id"]
    rules = account.named("load_balancers", account.stack)["forwarding_rules"]
    other = [{**rule, "certificate_id": made if rule["certificate_id"] else ""} for rule in rules]
    back = _balancer(forwarding_rules=other)(account)

    def undo() -> None:
        back()
        account.ask("DELETE", f"/v2/certificates/{made}")

    return undo


def _record(account: Account) -> Callable[[], Any]:
    """In a domain that the seed brings along."""
    account.ask("POST", "/v2/domains", {"name": "strange.example"})
    account.ask(
        "POST", "/v2/domains/strange.example/records", {"type": "A", "name": "www", "data": "192.0.2.9"}
    )
    return lambda: account.ask("DELETE", "/v2/domains/strange.example")


def _widen(wall: dict[str, Any]) -> None:
    wall["inbound_rules"].append({"protocol": "tcp", "ports": "22", "sources": {"addresses": ["0.0.0.0/0"]}})


def _deny(wall: dict[str, Any]) -> None:
    wall["inbound_rules"][0]["action"] = "deny"


def _outward(wall: dict[str, Any]) -> None:
    wall["outbound_rules"].append(
        {"protocol": "tcp", "ports": "0", "destinations": {"addresses": ["192.0.2.0/24"]}}
    )


def _narrow(wall: dict[str, Any]) -> None:
    wall["outbound_rules"] = [rule for rule in wall["outbound_rules"] if rule["protocol"] != "udp"]


def _detach(wall: dict[str, Any]) -> None:
    wall["tags"] = []


STACK = "{stack}"
"""Stands for the stack's name in the account."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUbQFP1Wm9x1W0mVqjD3vuhLtu6wXjOdkFcN9DJlC1T stranger"

SEEDS = [
    Seed("firewall widened", _firewall(_widen), "cloud", "firewall", "{stack}-app", "inbound rules", "tcp 22 from 0.0.0.0/0"),
    Seed("action field added", _firewall(_deny), "cloud", "firewall", "{stack}-app", "inbound rules", "deny"),
    Seed("firewall opened outward", _firewall(_outward), "cloud", "firewall", "{stack}-app", "outbound rules", "192.0.2.0/24"),
    Seed("firewall lost a rule", _firewall(_narrow), "cloud", "firewall", "{stack}-app", "outbound rules", "without udp 53"),
    Seed("firewall detached", _firewall(_detach), "cloud", "firewall", "{stack}-app", "tags", "without"),
    Seed("TLS policy lowered", _balancer(tls_cipher_policy="DEFAULT"), "cloud", "load-balancer", STACK, "TLS cipher policy", "DEFAULT"),
    Seed("redirect off", _balancer(redirect_http_to_https=False), "cloud", "load-balancer", STACK, "redirect of HTTP to HTTPS", "off"),
    Seed("proxy protocol on", _balancer(enable_proxy_protocol=True), "cloud", "load-balancer", STACK, "proxy protocol", "on"),
    Seed("sources denied", _balancer(firewall={"deny": ["cidr:192.0.2.0/24"]}), "cloud", "load-balancer", STACK, "denied sources", "192.0.2.0/24"),
    Seed("idle time-out raised", _balancer(http_idle_timeout_seconds=600), "cloud", "load-balancer", STACK, "idle time-out", "600"),
    Seed("member taken out", _balancer(droplet_ids=[]), "cloud", "load-balancer", STACK, "members", "without"),
    Seed("certificate swapped", _swapped, "cloud", "load-balancer", STACK, "forwarding rules", "certificate swapped", (("strangers", "certificate", "swapped", "managed by no code"),)),
    Seed("tag taken off", _tag("app-1", taken_off="{stack}-app"), "cloud", "droplet", "app-1", "tags", "without {stack}-app"),
    Seed("tag of another tier put on", _tag("app-2", put_on="{stack}-logs"), "cloud", "droplet", "app-2", "tags", "{stack}-logs"),
    Seed("droplet renamed", _droplet_action("app-2", {"type": "rename", "name": "app-9"}, {"type": "rename", "name": "app-2"}, "active"), "cloud", "droplet", "app-2", "name", "app-9"),
    Seed("VPC described anew", _renamed_vpc, "cloud", "vpc", STACK, "description", "borrowed"),
    Seed("droplet made by hand", _by_hand(), "strangers", "droplet", "by-hand", "managed by no code", "inside our VPC"),
    Seed("firewall made by hand", _made("/v2/firewalls", {"name": "hole", "inbound_rules": [{"protocol": "tcp", "ports": "0", "sources": {"addresses": ["0.0.0.0/0"]}}]}, "firewall"), "strangers", "firewall", "hole", "managed by no code", "1 rules"),
    Seed("key added", _made("/v2/account/keys", {"name": "eve", "public_key": KEY}, "ssh_key"), "strangers", "ssh-key", "eve", "managed by no code", "fingerprint"),
    Seed("VPC made by hand", _made("/v2/vpcs", {"name": "elsewhere", "region": "fra1", "ip_range": "10.99.0.0/24"}, "vpc"), "strangers", "vpc", "elsewhere", "managed by no code", "10.99.0.0/24"),
    Seed("tag made by hand", _made("/v2/tags", {"name": "odd"}, "tag", "name"), "strangers", "tag", "odd", "managed by no code", "there"),
    Seed("record added", _record, "strangers", "record", "www.strange.example A", "managed by no code", "192.0.2.9", (("strangers", "domain", "strange.example", "managed by no code"),)),
    Seed("volume made by hand", _made("/v2/volumes", {"name": "disk", "region": "fra1", "size_gigabytes": 1}, "volume"), "strangers", "volume", "disk", "managed by no code", "id"),
    Seed("address reserved", _reserved, "strangers", "reserved-ip", "{reserved}", "managed by no code", "{reserved}"),
]  # fmt: skip

OFF = Seed("droplet powered off", _droplet_action("logs-1", {"type": "power_off"}, {"type": "power_on"}, "off"), "cloud", "droplet", "logs-1", "status", "off")  # fmt: skip
"""Takes a host away from the other layers: for a look at the cloud alone."""
