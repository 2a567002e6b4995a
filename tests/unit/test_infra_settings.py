"""Every bad setting is refused with one paragraph that says what, why and what next."""

from __future__ import annotations

import copy
import datetime
import json
import os
import re
import subprocess

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from infra_support import CHECKOUT, NOW, certificate, lab, public_key

from infra import credentials
from infra.settings import Refused, Settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("seawall")


@pytest.fixture(scope="module")
def good(folder):
    return lab(folder)


@pytest.fixture
def values(good):
    return copy.deepcopy(good)


def load(values, folder):
    return Settings.load(values, CHECKOUT, seawall_dir=folder, now=NOW)


def refused(values, folder):
    with pytest.raises(Refused) as found:
        load(values, folder)
    for problem in found.value.problems:
        assert problem.endswith(".")
        assert "\n" not in problem
    return found.value.problems


def change(values, path, value):
    """Set the setting at ``path`` (keys and numbers, dotted); ``None`` removes it."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        values = values[part]
    if value is None:
        del values[last]
    else:
        values[last] = value


def rsa_key(bits):
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return rsa.generate_private_key(65537, bits).public_key().public_bytes(*form).decode()


def ecdsa_key():
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*form).decode()


def test_the_lab_is_good(values, folder):
    settings = load(values, folder)
    assert settings.ssh_port == 2222
    assert settings.trusted_ranges == ("198.18.7.3/32",)
    assert settings.administrators[0].public_keys[0].startswith("ssh-ed25519 ")
    assert settings.certificate.private_key.path == folder / "tls" / "site.key"


def test_as_pulumi_hands_it_over(values, folder):
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
    assert load(texts, folder) == load(values, folder)


def test_the_production_example_is_good(folder):
    text = yaml.safe_load((CHECKOUT / "Pulumi.prod.example.yaml").read_text())
    values = {name.removeprefix("seawall:"): value for name, value in text["config"].items()}
    values["administrators"][0] = {"name": "deploy", "publicKeys": [public_key()]}
    assert load(values, folder).protect is True


BAD = [
    # (what, where, value, message)
    ("range not private", "vpcRange", "8.8.0.0/20", "seawall:vpcRange: 8.8.0.0/20 is not private.*RFC 1918"),
    ("range too large", "vpcRange", "10.0.0.0/8", "larger than a VPC can be"),
    ("range too small", "vpcRange", "10.20.0.0/29", "smaller than a VPC can be"),
    ("range with host bits", "vpcRange", "10.20.0.1/20", "is not an address range.*host bits set"),
    ("range that is none", "vpcRange", "ten", "'ten' is not an address range.*Write it like 10.20.0.0/20"),
    ("range of IPv6", "vpcRange", "fd00::/20", "is not private"),
    ("nobody trusted", "trustedRanges", [], "seawall:trustedRanges: nobody is trusted.*198.51.100.7/32"),
    ("trust not said", "trustedRanges", None, "seawall:trustedRanges: is not set"),
    ("world trusted", "trustedRanges", ["0.0.0.0/0"], "0.0.0.0/0 is the whole world"),
    ("world trusted in IPv6", "trustedRanges", ["::/0"], "::/0 is the whole world"),
    ("half a world trusted", "trustedRanges", ["0.0.0.0/1", "128.0.0.0/1"], "a large part of the world"),
    ("VPC trusted", "trustedRanges", ["10.20.4.0/24"], "10.20.4.0/24 overlaps the VPC's 10.20.0.0/20"),
    ("port 22", "sshPort", 22, "seawall:sshPort: 22 is the port everybody tries"),
    ("port of another", "sshPort", 443, "443 is HTTPS"),
    ("port out of range", "sshPort", 70000, "seawall:sshPort: input should be less than or equal to 65535"),
    ("port that is none", "sshPort", "ssh", "seawall:sshPort: input should be a valid integer"),
    ("no administrator", "administrators", [], "seawall:administrators: is empty, and at least one is needed"),
    ("root as administrator", "administrators.0.name", "root", "root is an account of the system's own"),
    ("no account name", "administrators.0.name", "Jane Doe", "'Jane Doe' can't be an account"),
    ("no key file", "administrators.0.publicKeyFiles", ["keys/gone.pub"], "there is no file .*/keys/gone.pub"),
    ("no key at all", "administrators.0.publicKeyFiles", [], "there is no public key"),
    ("no tier", "tiers", {}, "seawall:tiers: is empty"),
    ("no droplet", "tiers.app.count", 0, "seawall:tiers.app.count: input should be greater than or equal to 1"),
    ("serving tea", "tiers.app.serves", ["tea"], "seawall:tiers.app.serves.0: input should be 'web' or 'logs'"),
    ("size that is none", "tiers.app.size", "Very Big", "seawall:tiers.app.size: 'Very Big' is not one of"),
    ("image not said", "tiers.app.image", None, "seawall:tiers.app.image: is not set"),
    ("tier not a hostname", "tiers.my_app", {"size": "s", "image": "i"}, "'my_app' can't be a tier"),
    ("tier ends in -", "tiers.app-", {"size": "s", "image": "i"}, "'app-' can't be a tier"),
    ("tier of another meaning", "tiers.internet", {"size": "s", "image": "i"}, "internet means something else"),
    ("unknown tier", "flows.1.to", "ap", "says `to: ap`, and there is no such tier.*Declare the tier ap"),
    ("no reason", "flows.1.reason", "", "seawall:flows.1.reason: string should have at least 3 characters"),
    ("no owner", "flows.1.owner", None, "seawall:flows.1.owner: is not set"),
    ("flow's port out of range", "flows.1.ports", ["70000/tcp"], "flows.1.ports.0: '70000/tcp' is out of range"),
    ("flow's port 0", "flows.1.ports", ["0/tcp"], "'0/tcp' is out of range"),
    ("flow's ports reversed", "flows.1.ports", ["90-80/tcp"], "the lower one first"),
    ("flow's port that is none", "flows.1.ports", ["https"], "'https' is not a port; write 443/tcp"),
    ("flow without ports", "flows.1.ports", [], "seawall:flows.1.ports: is empty"),
    ("review not a day", "flows.1.reviewBy", "soon", "seawall:flows.1.reviewBy: input should be a valid date"),
    ("world into a tier", "flows.1.from", "internet", "would open app to the whole world"),
    ("no way in for ssh", "flows.2.ports", ["2200/tcp"], "tier app on its ssh port 2222.*nobody could ever log in"),
    ("no way out for logs", "flows.3.from", "app", None),
    ("logs not delivered", "flows.3.ports", ["6515/tcp"], "No flow lets tier app deliver its logs to logs"),
    ("not patched", "flows.4.from", "app", "No flow lets tier logs reach `packages`"),
    ("no names", "flows.5.ports", ["53/tcp"], "No flow lets tier app ask for names"),
    ("more than time", "flows.5", {"from": "all", "to": "time", "ports": ["22/tcp"], "reason": "x-ray", "owner": "ops"},
     "asks for 22/tcp, but `time` stands for 123/udp, 4460/tcp only"),
    ("no redirect", "flows.0.ports", ["443/tcp"], "The load balancer serves TLS on 443 and answers 301 on 80"),
    ("web unfed", "flows.1.to", "logs", "Tier app serves web, but gets no traffic from the load balancer"),
    ("plain text behind", "flows.1.ports", ["80/tcp"], "talks to the web tiers over TLS on 443/tcp"),
    ("PROXY protocol alone", "flows.1.ports", ["8443/tcp"], r"`ports: \[443/tcp\]`, or `\[443/tcp, 8443/tcp\]` where"),
    ("PROXY protocol nowhere", "proxyProtocol", True, "no flow leads .* to the port on which app takes that, 8443/tcp"),
    ("tier to balancer", "flows.0.from", "app", "droplets would come to the load balancer from public addresses"),
    ("outside to outside", "flows.4.from", "internet", "would open packages to the whole world"),
    ("administrators outwards", "flows.4.from", "administrators", "leads from outside to outside"),
    ("no domain", "domain", "localhost", "'localhost' is not a domain name"),
    ("another domain", "domain", "www.seawall.test", "is for app.seawall.test, and the site is www.seawall.test"),
    ("certificate of a strange kind", "certificate.kind", "paper", "seawall:certificate: input tag 'paper'"),
    ("no certificate file", "certificate.leaf", "gone.pem", "seawall:certificate.leaf: there is no file .*/gone.pem"),
    ("another's Let's Encrypt", "certificate", {"kind": "letsEncrypt", "domains": ["a.example"]},
     "is for a.example, and the site is app.seawall.test"),
    ("typing error", "trustedRange", ["198.51.100.7"], "seawall:trustedRange: is not a setting"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "where", "value", "message"), BAD, ids=[bad[0] for bad in BAD])
def test_refused(what, where, value, message, values, folder):
    change(values, where, value)
    if message is None:  # a tier's own logs need no flow
        assert load(values, folder)
        return
    problems = refused(values, folder)
    assert any(re.search(message, problem) for problem in problems), problems


KEYS = [
    (
        "a private key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n",
        "this is a private key, which must never leave",
    ),
    ("nonsense", "hello world", "this is not a public key: it begins with neither ssh-ed25519 nor ssh-rsa"),
    ("one word", "ssh-ed25519", "this is not one public key on one line"),
    ("two keys", "ssh-ed25519 AAAA\nssh-ed25519 AAAA", "this is not one public key on one line"),
    ("damaged", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJyx", "this ssh-ed25519 key is damaged"),
    (
        "damaged security key",
        "sk-ssh-ed25519@openssh.com AAAA",
        "this sk-ssh-ed25519@openssh.com key is damaged",
    ),
    ("DSA", "ssh-dss AAAAB3NzaC1kc3MAAACB", "this is a DSA key, which is broken"),
    ("options before it", 'command="/bin/sh" ssh-ed25519 AAAA', "this is not a public key"),
    ("short RSA", lambda: rsa_key(2048), "this RSA key has 2048 bits, and hosts accept 3072 and more"),
    ("ECDSA", ecdsa_key, "this is an ECDSA key on a NIST curve"),
]


@pytest.mark.parametrize(("key", "message"), [key[1:] for key in KEYS], ids=[key[0] for key in KEYS])
def test_a_key_that_is_none(key, message, values, folder):
    values["administrators"] = [{"name": "ops", "publicKeys": [key() if callable(key) else key]}]
    (problem,) = refused(values, folder)
    assert problem.startswith(f"seawall:administrators.0.publicKeys: {message}")


def test_keys_that_are_good(values, folder):
    security = (
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIFvqt3EIqpeGVnYhFwEsmhUOXjtUR"
    )
    security += "f+ytG4MBd9tDTyoAAAABHNzaDo="
    values["administrators"] = [{"name": "ops", "publicKeys": [public_key(), rsa_key(3072), security]}]
    assert len(load(values, folder).administrators[0].public_keys) == 3


def test_a_key_of_two_people(values, folder):
    key = public_key()
    values["administrators"] = [{"name": name, "publicKeys": [f"{key} {name}"]} for name in ("ann", "bob")]
    assert refused(values, folder) == [
        "seawall:administrators has a key twice. A shared key can't tell who logged in (PCI DSS 8.2.2): give each "
        "person a key of their own."
    ]


def test_one_name_twice(values, folder):
    values["administrators"] = [{"name": "ann", "publicKeys": [public_key()]} for _ in range(2)]
    assert "has a name twice" in refused(values, folder)[0]


def test_a_range_without_room(values, folder):
    values["vpcRange"], values["tiers"]["app"]["count"] = "10.20.0.0/28", 12
    assert "has room for 12 droplets, and the tiers ask for 13" in refused(values, folder)[0]


def test_several_at_once(values, folder):
    values |= {"vpcRange": "8.8.0.0/20", "sshPort": 22, "trustedRanges": ["0.0.0.0/0"]}
    del values["region"]
    assert [problem.partition(":")[2].partition(":")[0] for problem in refused(values, folder)] == [
        "region",
        "vpcRange",
        "trustedRanges.0",
        "sshPort",
    ]


class TestCertificate:
    @pytest.fixture
    def site(self, tmp_path, values):
        """A folder of its own for certificates that are about to be wrong."""
        (tmp_path / "ssh").mkdir()
        (tmp_path / "ssh" / "id_ed25519.pub").write_text(public_key())
        certificate(tmp_path / "tls", "app.seawall.test")
        return tmp_path

    def test_expired(self, site, values):
        certificate(site / "tls", "app.seawall.test", days=(-90, -2))
        (problem,) = refused(values, site)
        assert "expired on 2026-11-22: every visitor would be warned off" in problem

    def test_not_valid_yet(self, site, values):
        certificate(site / "tls", "app.seawall.test", days=(1, 90))
        assert "is not valid before 2026-11-25" in refused(values, site)[0]

    def test_of_another_key(self, site, values):
        kept = (site / "tls" / "site.key").read_bytes()
        certificate(site / "tls", "app.seawall.test")
        (site / "tls" / "site.key").write_bytes(kept)
        (problem,) = refused(values, site)
        assert "does not belong to the certificate" in problem

    def test_of_another_issuer(self, site, values):
        certificate(site / "tls", "app.seawall.test", issuer=ec.generate_private_key(ec.SECP256R1()))
        (problem,) = refused(values, site)
        assert "was not issued by the first one of" in problem

    def test_wildcard(self, site, values):
        certificate(site / "tls", "*.seawall.test")
        assert load(values, site)
        values["domain"] = "deep.app.seawall.test"
        assert "is for *.seawall.test, and the site is deep.app" in refused(values, site)[0]

    def test_without_names(self, site, values):
        certificate(site / "tls")
        assert "is for no domain at all" in refused(values, site)[0]

    def test_no_certificate(self, site, values):
        (site / "tls" / "site.pem").write_text("hello")
        assert "is no PEM certificate" in refused(values, site)[0]

    def test_no_key(self, site, values):
        (site / "tls" / "site.key").write_text("hello")
        assert "is no private key in PEM" in refused(values, site)[0]

    def test_encrypted_key(self, site, values):
        pem = serialization.Encoding.PEM
        locked = serialization.BestAvailableEncryption(b"secret")
        key = ec.generate_private_key(ec.SECP256R1())
        (site / "tls" / "site.key").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, locked)
        )
        (problem,) = refused(values, site)
        assert "is encrypted, and a load balancer can't ask" in problem

    def test_key_for_all_to_read(self, site, values):
        os.chmod(site / "tls" / "site.key", 0o644)
        (problem,) = refused(values, site)
        assert "Others on this machine may read" in problem

    def test_from_the_environment_and_from_secrets(self, site, values, monkeypatch):
        texts = {name: (site / "tls" / f"{name}.pem").read_text() for name in ("site", "chain")}
        key = (site / "tls" / "site.key").read_text()
        monkeypatch.setenv("SITE_CERTIFICATE", texts["site"])
        values["certificate"] = {
            "kind": "custom",
            "leaf": "env:SITE_CERTIFICATE",
            "chain": texts["chain"],
            "privateKey": key.strip(),
        }
        found = load(values, site)
        assert (found.certificate.leaf.text, found.certificate.private_key.text) == (texts["site"], key)
        assert key.splitlines()[1] not in repr(found)
        monkeypatch.delenv("SITE_CERTIFICATE")
        assert (
            "seawall:certificate.leaf: the environment has no variable SITE_CERTIFICATE"
            in refused(values, site)[0]
        )
        values["certificate"] |= {"leaf": texts["chain"]}
        said = " ".join(refused(values, site))
        assert "The private key seawall:certificate.privateKey does not belong" in said
        assert key.splitlines()[1] not in said

    def test_no_message_holds_the_key(self, site, values):
        secret = (site / "tls" / "site.key").read_text()
        os.chmod(site / "tls" / "site.key", 0o644)
        certificate_path = site / "tls" / "site.pem"
        certificate_path.write_text(secret)
        assert secret.splitlines()[1] not in "".join(refused(values, site))


def test_fingerprint_is_as_ssh_keygen_says(tmp_path):
    key = public_key()
    (tmp_path / "key.pub").write_text(key + "\n")
    said = subprocess.run(
        ["ssh-keygen", "-l", "-E", "md5", "-f", tmp_path / "key.pub"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"MD5:{credentials.fingerprint(key)} " in said.stdout


def test_settings_come_from_the_clock_if_no_time_is_given(values, folder):
    certificate(folder / "now", "app.seawall.test", days=(-90, 3650))
    values["certificate"] = {
        "kind": "custom",
        "leaf": str(folder / "now" / "site.pem"),
        "privateKey": str(folder / "now" / "site.key"),
    }
    assert datetime.datetime.now(datetime.UTC) < NOW + datetime.timedelta(days=3600)
    assert Settings.load(values, CHECKOUT, seawall_dir=folder)
