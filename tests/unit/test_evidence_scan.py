"""Card numbers and secrets stop a bundle, the place named and the value masked; what only looks like one doesn't."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.evidence import scan
from seawall.problem import Problem
from tests.unit import evidence_support as support

# The card brands' published test numbers.
PANS = (
    "4111111111111111", "4012888888881881", "4222222222222", "5555555555554444", "5105105105105100", "2223003122003222",
    "378282246310005", "371449635398431", "6011111111111117", "3530111333300000", "30569309025904", "38520000023237",
    "6304000000000000", "6200000000000005", "6799990100000000019",
)  # fmt: skip


def found(text: str) -> list[str]:
    return [str(hit) for hit in scan.search("file", text.encode(), {})]


@pytest.mark.parametrize("pan", PANS)
def test_every_brands_number_is_found_and_masked(pan):
    shown = f"{pan[:6]}{'*' * (len(pan) - 10)}{pan[-4:]}"
    for text in (
        pan,
        f"card={pan}",
        f'"{pan}"',
        f"pan:{pan},",
        f"<td>{pan}</td>",
        f"({pan})",
        f"{pan}.",
        f"x\t{pan}\n",
    ):
        assert found(text) == [f"file:1: card number {shown}"], text


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111", "4111-1111-1111-1111", "3782 822463 10005", "3782-822463-10005", "411111 1111111111",
        "6799 9901 0000 0000 019", "on 2026-11-24 4111-1111-1111-1111 was seen", "42 4111 1111 1111 1111 12",
        "id 7 4111111111111111 8", "4222 222 222 222",
    ],
)  # fmt: skip
def test_separated_numbers_are_found(text):
    assert len(found(text)) == 1, text


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # fails Luhn
        "a4111111111111111", "4111111111111111b", "f00d4111111111111111beef", "id_4111111111111111",  # in a word
        "0.4111111111111111", "4111111111111111.25", "1,4111111111111111",  # decimals
        "12345678901234567890", "41111111111111110000000",  # longer runs
        "1111111111111117", "9111111111111111", "1790000000000000", "20261124095551",  # no issuer's
        "4111-1111 1111-1111", "4.111.111.111.111.111", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",  # mixed, dotted, single
        "4444444444444444", "2026-11-24 09:55:51 2026-11-24", "1764000000000000000",
        "3e4111111111111111", "SHA256:4111111111111111abc", "b47c4111-1111-1111-1111-111111111111",
        "dpkg 1.21.22 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
    ],
)  # fmt: skip
def test_what_only_looks_like_one_is_left_alone(text):
    assert found(text) == []


@settings(deadline=None)
@given(st.integers(1_000_000_000, 2_199_999_999), st.sampled_from([1, 1000, 1_000_000, 1_000_000_000]))
def test_times_are_never_card_numbers(seconds, unit):
    assert found(str(seconds * unit)) == []


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_digests_are_never_card_numbers(digest):
    assert found(f"{digest.hex()}  report.html") == []


@pytest.mark.parametrize(
    ("digits", "valid"), [("79927398713", True), ("79927398710", False), ("0", True), ("18", True)]
)
def test_luhn(digits, valid):
    assert scan.luhn(digits) is valid


KEY = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n"
    "-----END OPENSSH PRIVATE KEY-----"
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (KEY, "private key"),
        ('{"key": "-----BEGIN PRIVATE KEY-----\\nMIIEvQ"}', "private key"),
        ("root:$6$saltsalt$" + "a" * 86 + ":1::", "password hash"),
        ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7", "password hash"),
        ("dop_v1_" + "0123456789abcdef" * 4, "DigitalOcean token"),
        ("DO00ABCDEFGHIJKLMNOP", "Spaces key"),
        ("pul-" + "0" * 40, "Pulumi token"),
        ("ghp_" + "a" * 36, "GitHub token"),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwxyz", "bearer token"),
        ("postgres://app:hunter22@db-1/shop", "password in an address"),
    ],
)
def test_secrets_are_found_and_not_shown(text, what):
    hits = found(f"line\n{text}\n")
    assert len(hits) == 1
    assert hits[0].startswith(f"file:2: {what} (")
    assert not any(word in hits[0] for word in ("b3Blb", "saltsalt", "hunter22", "abcdef", "0123"))


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN CERTIFICATE-----\nMIIB", "-----BEGIN PUBLIC KEY-----\nMCow", "grep -c 'BEGIN PRIVATE KEY-----'",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM7IDjAQcZ6cxzH0m0z8xP4n2NnMgIB1wUbk/eh6/Efs alice",
        "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "https://example.com:443/a@b", "[masked]", "$6$",
        "Authorization: Bearer $DIGITALOCEAN_TOKEN", "git@github.com:owner/name",
    ],
)  # fmt: skip
def test_what_is_no_secret_is_left_alone(text):
    assert found(text) == []


def test_the_stacks_own_secrets_are_found_by_their_value():
    secrets = scan.secret_values({"the passphrase": "correct horse battery", "the key": KEY, "short": "abc"})
    assert sorted(secrets) == ["the key, line 2", "the passphrase"]
    hits = list(scan.search("raw/verify.log", b"ok\nuses correct horse battery here\n", secrets))
    assert [str(hit) for hit in hits] == ["raw/verify.log:2: the passphrase (the stack's own, by its value)"]


def test_packed_files_are_looked_into():
    text = b"customer\n4111111111111111\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("xl/sheet1.xml", text)
    pdf = b"%PDF-1.7\n1 0 obj <<>> stream\n" + zlib.compress(text) + b"\nendstream\n"
    for content, place in (
        (gzip.compress(text), "a!:2"),
        (archive.getvalue(), "a!xl/sheet1.xml:2"),
        (pdf, "a!stream 1:2"),
    ):
        assert [hit.place for hit in scan.search("a", content, {})] == [place]
    assert list(scan.search("a", b"PK\x03\x04 broken", {})) == []


def test_a_card_number_stops_the_bundle(tmp_path):
    seen = support.finding(seen="the log holds 4111 1111 1111 1111")
    with pytest.raises(Problem) as problem:
        support.make(tmp_path, findings=(seen,))
    assert problem.value.code == 2
    assert "findings.jsonl:1: card number 411111******1111" in str(problem.value)
    assert "4111 1111" not in str(problem.value)
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [".lock"]


def test_the_stacks_own_secret_stops_the_bundle(tmp_path):
    seen = support.finding(seen="the word is swordfish-4711-x")
    with pytest.raises(Problem, match=r"findings\.jsonl:1: the API token"):
        support.make(tmp_path, findings=(seen,), secrets={"the API token": "swordfish-4711-x\n"})
