"""What the tests of infra/ share: the lab's settings with files to go with them, and the program run under mocks."""

from __future__ import annotations

import datetime
import json
import os
import runpy
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

CHECKOUT = Path(__file__).resolve().parents[2]
NOW = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
OUTSIDE = "198.18.7.3/32"
HOST_PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nTHE-ONE-USE-KEY\n-----END OPENSSH PRIVATE KEY-----\n"
HOST_PUBLIC = "ssh-ed25519 AAAAHOST"

ACCOUNT = {
    "/v2/regions?per_page=200": {
        "regions": [
            {"slug": "fra1", "available": True, "sizes": ["s-1vcpu-1gb", "s-1vcpu-2gb"]},
            {"slug": "ams3", "available": True, "sizes": ["s-1vcpu-1gb"]},
            {"slug": "ams2", "available": False, "sizes": []},
        ]
    },
    "/v2/images?type=distribution&per_page=200": {
        "images": [
            {"slug": "debian-12-x64", "regions": ["fra1", "ams3"]},
            {"slug": None, "regions": ["fra1"]},
            {"slug": "ubuntu-24-04-x64", "regions": ["ams3"]},
        ]
    },
    "/v2/domains?per_page=200": {"domains": [{"name": "seawall.test"}]},
    "/v2/load_balancers?per_page=200": {"load_balancers": []},
    "/v2/vpcs?per_page=200": {
        "vpcs": [
            {"name": "seawall-lab", "ip_range": "10.20.0.0/20"},
            {"name": "default-fra1", "ip_range": "10.135.0.0/16"},
        ]
    },
}
"""An account as the questions of infra/account.py see it, this stack's own VPC among the others."""


def public_key() -> str:
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(*form).decode()


def certificate(
    folder: Path, *names: str, days: tuple[int, int] = (-1, 90), key: Any = None, issuer: Any = None
) -> Any:
    """site.pem, chain.pem and site.key in ``folder``; gives the key. ``days`` from NOW: first and last of validity."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    authority = ec.generate_private_key(ec.SECP256R1())
    folder.mkdir(parents=True, exist_ok=True)

    def signed(subject: str, public: Any, signer: Any) -> x509.Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named("authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + datetime.timedelta(days=days[0]))
            .not_valid_after(NOW + datetime.timedelta(days=days[1]))
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
            .sign(signer, hashes.SHA256())
        )

    pem = serialization.Encoding.PEM
    (folder / "site.pem").write_bytes(signed("site", key.public_key(), issuer or authority).public_bytes(pem))
    (folder / "chain.pem").write_bytes(
        signed("authority", authority.public_key(), authority).public_bytes(pem)
    )
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    descriptor = os.open(folder / "site.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    return key


def lab(folder: Path) -> dict[str, Any]:
    """The lab's settings as in git, with a key and a certificate of their own under ``folder``."""
    (folder / "ssh").mkdir(parents=True, exist_ok=True)
    (folder / "ssh" / "id_ed25519.pub").write_text(public_key() + " ops\n")
    certificate(folder / "tls", "app.seawall.test")
    text = (CHECKOUT / "Pulumi.lab.example.yaml").read_text().replace("$outside", OUTSIDE)
    held = {name.removeprefix("seawall:"): value for name, value in yaml.safe_load(text)["config"].items()}
    return held | {"harden": True}


@dataclass
class Run(pulumi.runtime.Mocks):
    """One run of the program: every resource it declared, in the order in which they could come about."""

    made: list[pulumi.runtime.MockResourceArgs] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict]:
        self.made.append(args)
        number = str(1000 + len(self.made))
        computed = {
            "Droplet": {
                "ipv4Address": f"203.0.113.{len(self.made)}",
                "ipv4AddressPrivate": f"10.20.0.{len(self.made)}",
            },
            "HostKey": {"privateKey": HOST_PRIVATE, "publicKey": HOST_PUBLIC},
            "LoadBalancer": {"ip": "203.0.113.200"},
            "SshKey": {"fingerprint": "aa:bb"},
        }.get(args.typ.rpartition(":")[2], {})
        return number, {**args.inputs, **computed}

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        raise AssertionError(f"the program asks the provider for {args.token}")

    def of(self, kind: str) -> dict[str, dict]:
        """Inputs by name of all resources of a type."""
        return {made.name: made.inputs for made in self.made if made.typ.rpartition(":")[2] == kind}

    def position(self, kind: str, name: str) -> int:
        return next(
            i for i, made in enumerate(self.made) if (made.typ.rpartition(":")[2], made.name) == (kind, name)
        )


def run(values: dict[str, Any], monkeypatch: Any, folder: Path, *, preview: bool = False) -> Run:
    """The program, afresh, on ``values`` and the account above."""
    mocks = Run()
    monkeypatch.setenv("SEAWALL_DIR", str(folder))
    monkeypatch.setattr("infra.account.client", lambda token, address: ACCOUNT.__getitem__)
    monkeypatch.setattr("infra.settings.datetime", FixedClock)
    monkeypatch.setattr(pulumi, "export", lambda name, value: mocks.outputs.__setitem__(name, value))
    monkeypatch.setattr(sys, "path", list(sys.path))
    pulumi.runtime.set_mocks(mocks, project="seawall", stack="lab", preview=preview)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    pulumi.runtime.set_all_config({f"seawall:{name}": text for name, text in texts.items()})

    @pulumi.runtime.test
    def program() -> Any:
        runpy.run_path(str(CHECKOUT / "infra" / "__main__.py"), run_name="__main__")
        return pulumi.Output.from_input(mocks.outputs).apply(mocks.outputs.update)

    program()
    return mocks


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz: Any = None) -> datetime.datetime:
        return NOW
