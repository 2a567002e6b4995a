"""Look for card numbers and secrets in a bundle before it is signed: evidence travels.

A card number is 13 to 19 digits that pass Luhn's check (ISO/IEC 7812-1), begin as an issuer's do, and stand alone or in
groups parted by one kind of separator. What only looks like one is left alone: digits inside a longer word (a hash, a
UUID's hex, base64), decimals, times (an issuer's number begins with 3 to 6, or 22 to 27), longer runs.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pypdf

from seawall.evidence.manifest import walk

LARGEST = 64 * 2**20
"""Bytes looked at of one packed stream: more is a bomb, or not evidence."""


@dataclass(frozen=True)
class Hit:
    """``place`` is ``file:line`` (``file!member:line`` in an archive); ``what`` names the kind; ``value`` is masked."""

    place: str
    what: str
    value: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what} {self.value}".rstrip()


_RUN = re.compile(r"(?<![\w])(?<!\d[.,])\d(?:\d|[ -](?=\d))*\d(?![\w])(?![.,]\d)", re.ASCII)

ISSUERS: tuple[tuple[str, range | tuple[int, ...]], ...] = (
    (r"4", (13, 16, 18, 19)),
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),
    (r"3[47]", (15,)),
    (r"30[0-5]|3095|36|3[89]", range(14, 20)),
    (r"6011|64[4-9]|65|62|81|60|50|5[6-9]|6[37]", range(13, 20)),
    (r"35(2[89]|[3-8])", range(16, 20)),
    (r"220[0-4]|9792", range(16, 20)),
)
"""How issuers' numbers begin and how long they are: Visa, Mastercard, Amex, Diners, Discover/UnionPay/Maestro, JCB …"""

SECRETS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("private key", re.compile(r"-----BEGIN ([A-Z ]+ )?PRIVATE KEY( BLOCK)?-----\s*[\w+/=:\\-]")),
    ("PuTTY private key", re.compile(r"PuTTY-User-Key-File-\d")),
    (
        "password hash",
        re.compile(r"(?<![\w$])\$(y|gy|7|2[abxy]|1|5|6|argon2\w*|scrypt|pbkdf2[\w-]*)\$[./\w$=,+-]{16,}"),
    ),
    ("DigitalOcean token", re.compile(r"\bdo[opr]_v1_[0-9a-f]{32,}")),
    ("Spaces key", re.compile(r"\bDO00[A-Z0-9]{16}\b|\b(AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("Pulumi token", re.compile(r"\bpul-[0-9a-f]{40}\b")),
    ("GitHub token", re.compile(r"\b(gh[pousr]_\w{36,}|github_pat_\w{60,})")),
    ("Slack token", re.compile(r"\bxox[abeprs]-[\w-]{20,}")),
    ("payment processor's key", re.compile(r"\b[rs]k_live_\w{16,}")),
    ("JSON web token", re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}")),
    ("bearer token", re.compile(r"(?i)\bauthorization:\s*(bearer|basic)\s+[\w.~+/-]{16,}")),
    (
        "password in an address",
        re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"<>]+:[^\s/@:'\"<>*$\[{]{4,}@\w"),
    ),
)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others."""
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


def is_pan(digits: str) -> bool:
    """Whether so many digits in a row are a card number; all of one digit is none."""
    return (
        any(len(digits) in lengths and re.match(begin, digits) for begin, lengths in ISSUERS)
        and len(set(digits)) > 1
        and luhn(digits)
    )


def pans(text: str) -> Iterator[tuple[int, str]]:
    """Card numbers with where they begin."""
    for run in _RUN.finditer(text):
        if len(run[0]) >= 13:
            yield from ((run.start() + offset, digits) for offset, digits in _in_run(run[0]))


def _in_run(run: str) -> Iterator[tuple[int, str]]:
    """In digits and separators: windows of whole groups, parted by the same separator. Single digits are no groups."""
    groups = [(found.start(), found[0]) for found in re.finditer(r"\d+", run)]
    position = 0
    while position < len(groups):
        for last in range(min(position + 7, len(groups)), position, -1):
            window = groups[position:last]
            digits = "".join(text for _, text in window)
            between = {run[start + len(text)] for start, text in window[:-1]}
            grouped = len(window) == 1 or (
                len(between) == 1 and min(len(text) for _, text in window[:-1]) > 1
            )
            if grouped and 13 <= len(digits) <= 19 and is_pan(digits):
                yield window[0][0], digits
                position = last - 1
                break
        position += 1


def masked(pan: str) -> str:
    """The first six and last four digits, the most that may be shown (PCI DSS 3.4.1)."""
    return f"{pan[:6]}{'*' * (len(pan) - 10)}{pan[-4:]}"


def search(place: str, content: bytes, secrets: Mapping[str, str]) -> Iterator[Hit]:
    """Every hit in one file. ``secrets`` are the stack's own, by what each is; a long one is found line by line."""
    for name, packed in _views(place, content):
        text = packed.decode("latin-1")
        found = [(at, "card number", masked(pan)) for at, pan in pans(text)]
        for what, pattern in SECRETS:
            found += [(hit.start(), what, f"({len(hit[0])} characters)") for hit in pattern.finditer(text)]
        for what, secret in secrets.items():
            at = text.find(secret.encode().decode("latin-1"))
            if at >= 0:
                found.append((at, what, "(the stack's own, by its value)"))
        for at, what, value in sorted(found):
            yield Hit(f"{name}:{text.count(chr(10), 0, at) + 1}", what, value)


def _views(place: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """The file itself, and what is packed in it: gzip, zip (so office documents too), a PDF's pages."""
    yield place, content
    if content[:2] == b"\x1f\x8b":
        with suppress(OSError, EOFError, zlib.error):
            yield f"{place}!", gzip.GzipFile(fileobj=io.BytesIO(content)).read(LARGEST)
    elif content[:4] == b"PK\x03\x04":
        with suppress(zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, zlib.error):
            archive = zipfile.ZipFile(io.BytesIO(content))
            for member in archive.infolist():
                yield f"{place}!{member.filename}", archive.open(member).read(LARGEST)
    elif content[:5] == b"%PDF-":
        yield from _pdf(place, content)


def _pdf(place: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A PDF's words, page by page. One that cannot be read as one shows its streams instead: better a false alarm,
    which numbers of glyphs and places on the page readily are, than nothing."""
    try:
        pages = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages]
        if not pages:
            raise ValueError("it has no page")
    except Exception:  # whatever a broken or encrypted file does to the reader
        for number, stream in enumerate(
            re.finditer(rb"stream\r?\n(.*?)endstream", content, re.DOTALL), start=1
        ):
            with suppress(zlib.error):
                yield f"{place}!stream {number}", zlib.decompressobj().decompress(stream[1], LARGEST)
        return
    for number, words in enumerate(pages, start=1):
        yield f"{place}!page {number}", words.encode()


def secret_values(named: Mapping[str, str]) -> dict[str, str]:
    """What to search for, from secrets as they are kept: lines of 12 characters and more that are no PEM frame."""
    found = {}
    for name, text in named.items():
        for number, line in enumerate(text.splitlines()):
            if len(line.strip()) >= 12 and not line.startswith("-----"):
                found[name if number == 0 else f"{name}, line {number + 1}"] = line.strip()
    return found


def scan(folder: Path, secrets: Mapping[str, str]) -> list[Hit]:
    """Every file below ``folder``, in order."""
    return list(_hits(folder, secret_values(secrets)))


def _hits(folder: Path, secrets: Mapping[str, str]) -> Iterable[Hit]:
    for name, held in walk(folder):
        yield from search(name, Path(held.path).read_bytes() if held.is_file() else b"", secrets)
