"""What droplets say, read as what it means. The samples are what Debian 12 printed."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from seawall.evidence import hosts

PACKAGES = """\
ii |bash|5.2.15-2+b9|amd64|bash
ii |libssl3|3.0.17-1~deb12u2|amd64|openssl
rc |oldthing|1.0|all|oldthing
hi |held|2:1.0-1|all|held
"""

UPGRADES = """\
Inst libssl3 [3.0.17-1~deb12u2] (3.0.18-1~deb12u1 Debian-Security:12/oldstable-security [amd64])
Inst tzdata [2025a-0+deb12u1] (2025b-0+deb12u2 Debian:12.12/oldstable, Debian:12-updates/oldstable-updates [all])
Inst newthing (1.0 Debian:12/oldstable [amd64])
"""

STAMPS = """\
1764000000 /var/lib/apt/lists
1764003600 /var/lib/apt/periodic/update-success-stamp
1763900000 /var/lib/apt/periodic/upgrade-stamp
1763800000 booted
0 reboot-required
"""


def test_packages_are_those_installed_with_their_sources():
    assert list(hosts.packages(PACKAGES)) == [
        hosts.Package("bash", "5.2.15-2+b9", "amd64", "bash"),
        hosts.Package("libssl3", "3.0.17-1~deb12u2", "amd64", "openssl"),
        hosts.Package("held", "2:1.0-1", "all", "held"),
    ]


def test_patch_state():
    upgraded = "2026-11-20 06:25:11 upgrade libc6:amd64 2.36-9+deb12u8 2.36-9+deb12u10\n"
    found = hosts.patches(UPGRADES, STAMPS, upgraded)
    assert [(each.name, each.installed, each.candidate, each.security) for each in found.pending] == [
        ("libssl3", "3.0.17-1~deb12u2", "3.0.18-1~deb12u1", True),
        ("tzdata", "2025a-0+deb12u1", "2025b-0+deb12u2", False),
    ]
    assert found.lists_updated == datetime(2025, 11, 24, 17, 0, tzinfo=UTC)
    assert found.last_upgrade == datetime(2026, 11, 20, 6, 25, 11, tzinfo=UTC)
    assert found.last_unattended_run == datetime(2025, 11, 23, 12, 13, 20, tzinfo=UTC)
    assert found.reboot_required


def test_a_host_without_any_record_says_none():
    found = hosts.patches("", "", "")
    assert found == hosts.Patches((), None, None, None, None, False)


def test_certificates_are_read_and_keys_are_not():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app-1")])
    begins = datetime(2026, 11, 1, tzinfo=UTC)
    held = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(0xBEEF)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("app.example.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = held.public_bytes(serialization.Encoding.PEM).decode()
    (found,) = hosts.certificates(f"# /etc/nginx/site.pem\n{pem}\n")
    assert (found.path, found.subject, found.names) == (
        "/etc/nginx/site.pem",
        "CN=app-1",
        ("app.example.com",),
    )
    assert (found.key, found.signature, found.serial) == ("EC secp256r1", "ecdsa-with-SHA256", "beef")
    assert found.not_after == datetime(2027, 1, 30, tzinfo=UTC)
    assert list(hosts.certificates("")) == []
    # Two certificates in one file, then another: each is told by the file it begins.
    several = f"# /etc/nginx/ca.pem\n{pem}{pem}# /etc/nginx/site.pem\n{pem}\n"
    assert [each.path for each in hosts.certificates(several)] == ["/etc/nginx/ca.pem", "/etc/nginx/site.pem"]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ('{"chain": "/c", "directory": "/d", "keep_days": 400, "plain_days": 90}', (400, 90)),
        ("", None),  # no collector
        ("[]", None),
        ('{"keep_days": 400}', None),
    ],
)
def test_how_long_logs_are_kept_is_what_closes_them_was_told(text, days):
    assert hosts.log_days(text) == days


def test_log_files_belong_to_the_folder_they_lie_in():
    text = (
        "1764000000.5 2048 /var/log/remote/app-1/sshd.log\n1763000000.0 10 /var/log/remote/app-1/nginx log\n"
    )
    assert [(each.sender, each.path, each.bytes) for each in hosts.log_files(text)] == [
        ("app-1", "/var/log/remote/app-1/nginx log", 10),
        ("app-1", "/var/log/remote/app-1/sshd.log", 2048),
    ]


def test_a_keys_fingerprint_is_what_ssh_keygen_prints():
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM7IDjAQcZ6cxzH0m0z8xP4n2NnMgIB1wUbk/eh6/Efs"
    # ssh-keygen -l of the same key
    assert hosts.fingerprint(key) == "ssh-ed25519 SHA256:N+Ks8VqLt4o6cyXtama2wNkDJliYLa/QYjU5JrN3ry4"


def test_a_host_that_cannot_be_asked_says_why_and_keeps_no_other_from_answering(tmp_path):
    (tmp_path / "known_hosts").write_text("")
    with socket.socket() as nobody:  # bound, and never listening
        nobody.bind(("127.0.0.1", 0))
        variables = {
            "ansible_host": "127.0.0.1",
            "ansible_port": nobody.getsockname()[1],
            "ansible_user": "ops",
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={tmp_path}/known_hosts",
        }
        found = hosts.gather({"app-1": variables, "app-2": variables})
    assert sorted(found) == ["app-1", "app-2"]
    for name, told in found.items():
        assert told.unreachable.startswith(f"{name} could not be asked: ssh to ops@127.0.0.1")
        assert (told.packages, told.patches) == ((), None)
