"""What the lab needs before Pulumi runs: secrets, a login, a site certificate, settings. Made once, kept."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Mapping
from string import Template

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.spaces import root_key
from seawall.environment import Stack
from seawall.places import CHECKOUT, Places, write_private
from seawall.problem import USAGE, Problem

LAB_SETTINGS = CHECKOUT / "Pulumi.lab.example.yaml"
SITE_DAYS, RENEW_DAYS = 365, 30


def secrets_and_login(where: Places) -> None:
    """The passphrase of Pulumi's state, the lab's token and Spaces key, and the administrator's key, where missing."""
    for path in (where.passphrase, where.token):
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32).encode())
    for name, value in zip(("access", "secret"), root_key(where.token.read_text().strip()), strict=True):
        if not (where.spaces_key / name).exists():
            write_private(where.spaces_key / name, value.encode())
    if not where.ssh_key.exists():
        key = ed25519.Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        write_private(where.ssh_key.with_suffix(".pub"), public + b" seawall lab administrator\n", mode=0o644)
        write_private(
            where.ssh_key,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            ),
        )


def settings(stack: Stack, lab: Mapping[str, object]) -> None:
    """The stack's settings from the lab's example, with this machine's addresses filled in. An existing file stays.

    Pulumi adds the state's salt to this file, which belongs to this checkout's passphrase alone: that is why the
    file is not in git and its example is.
    """
    if not stack.settings.exists():
        text = Template(LAB_SETTINGS.read_text()).substitute(outside=lab["outside"])
        write_private(stack.settings, text.encode(), mode=0o644)
    elif str(lab["outside"]) not in stack.settings.read_text():
        raise Problem(
            f"{stack.settings.name} does not trust {lab['outside']}, the address from which this lab is administered, "
            "so nobody could log in to its droplets. Put it into seawall:trustedRanges, or delete the file to have it "
            "made anew from its example.",
            code=USAGE,
        )


def site_certificate(where: Places, domain: str) -> None:
    """A certificate for the lab's site from an authority of its own, renewed 30 days before it ends.

    In production it comes from Let's Encrypt or from your authority; the load balancer can't tell.
    """
    folder = where.site_certificate
    now = datetime.datetime.now(datetime.UTC)
    leaf_path = folder / "site.pem"
    if leaf_path.exists():
        leaf = x509.load_pem_x509_certificate(leaf_path.read_bytes())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if domain in names.get_values_for_type(
            x509.DNSName
        ) and leaf.not_valid_after_utc > now + datetime.timedelta(days=RENEW_DAYS):
            return
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Seawall lab site authority")])
    usage = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )

    def build(
        subject: x509.Name, public: ec.EllipticCurvePublicKey, *, authority: bool
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=SITE_DAYS))
            .add_extension(
                x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not authority,
                    key_encipherment=False,
                    key_cert_sign=authority,
                    crl_sign=authority,
                    **usage,
                ),
                critical=True,
            )
        )

    authority = build(authority_name, authority_key.public_key(), authority=True).sign(
        authority_key, hashes.SHA256()
    )
    leaf = (
        build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)]), key.public_key(), authority=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    # The authority's key is not kept: nobody can ever sign with it again.
    write_private(
        folder / "site.key",
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    for name, certificate in (("ca.pem", authority), ("chain.pem", authority), ("site.pem", leaf)):
        write_private(folder / name, certificate.public_bytes(pem), mode=0o644)
