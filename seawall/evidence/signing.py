"""Signatures of OpenSSH's kind, made and checked by `ssh-keygen -Y`, and the custody of the key that makes them.

In ``.seawall/evidence/`` (0700), on the machine where Seawall is run and nowhere else: ``signer.json`` says which key
signs now, ``allowed_signers`` whose signatures count and until when (ssh-keygen(1), ALLOWED SIGNERS). A key made here
is ed25519 and 0600; one in an agent or on a hardware token stays there, and only its public half or handle is named.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from seawall.evidence.manifest import MANIFEST, SIGNATURE
from seawall.places import Places, write_private
from seawall.problem import USAGE, Problem

IDENTITY = NAMESPACE = "seawall-evidence"
ALLOWED = "allowed_signers"
COMMAND = f"ssh-keygen -Y verify -f {ALLOWED} -I {IDENTITY} -n {NAMESPACE} -s {SIGNATURE} < {MANIFEST}"
"""What an auditor types in a bundle's folder, after comparing the key's fingerprint with one got another way."""


class Unsigned(Exception):
    """The signature is missing, malformed, or not by a key that counts; says which."""


@dataclass(frozen=True)
class Key:
    """The key that signs now: ``path`` is what `ssh-keygen -Y sign -f` takes, ``public`` its ``type base64``."""

    path: Path
    public: str
    made_here: bool

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.public)


@dataclass(frozen=True)
class Keyring:
    """The folder of the signing key."""

    folder: Path

    @classmethod
    def of(cls, where: Places) -> Keyring:
        folder = where.root / "evidence"
        folder.mkdir(mode=0o700, exist_ok=True)
        return cls(folder)

    @property
    def allowed(self) -> Path:
        return self.folder / ALLOWED

    @property
    def _signer(self) -> Path:
        return self.folder / "signer.json"

    def current(self) -> Key | None:
        if not self._signer.exists():
            return None
        held = json.loads(self._signer.read_text())
        return Key(Path(held["path"]), held["public"], held["made_here"])

    def required(self) -> Key:
        key = self.current()
        if key is None:
            raise Problem(
                "There is no key to sign evidence with. `seawall evidence key make` makes one on this machine, or "
                "`seawall evidence key make --use FILE` takes one of an agent or a hardware token. docs/evidence.md "
                "says who may hold it."
            )
        return key

    def make(self, use: Path | None = None) -> Key:
        """The first key. There is one already: a ``Problem`` that names `rotate`."""
        if key := self.current():
            raise Problem(
                f"There is a signing key already, {key.fingerprint}. `seawall evidence key rotate` puts another in its "
                "place and keeps what it signed valid."
            )
        return self._install(use, datetime.now(UTC))

    def rotate(self, use: Path | None = None, now: datetime | None = None) -> Key:
        """Another key from now on. What the old one signed before now stays valid; its private half is deleted."""
        self.required()
        return self._install(use, now or datetime.now(UTC))

    def _install(self, use: Path | None, now: datetime) -> Key:
        key = _named(use) if use else _made(self.folder, now)
        lines = self.allowed.read_text().splitlines() if self.allowed.exists() else []
        if any(key.public in line for line in lines):
            raise Problem(
                f"{key.fingerprint} was used to sign before, and a key that was retired stays retired.",
                code=USAGE,
            )
        lines = [_retired(line, now) for line in lines] + [
            f'{IDENTITY} namespaces="{NAMESPACE}" {key.public}'
        ]
        # In this order a kill leaves the old key signing, or the new one; never one whose signatures don't count.
        write_private(self.folder / f"{ALLOWED}.next", ("\n".join(lines) + "\n").encode())
        held = {"path": str(key.path), "public": key.public, "made_here": key.made_here}
        (self.folder / f"{ALLOWED}.next").replace(self.allowed)
        write_private(self._signer, json.dumps(held).encode())
        for path in self.folder.glob("signing_key*"):
            if key.path not in (path, path.with_suffix("")):
                path.unlink()
        return key


def _named(use: Path) -> Key:
    """A key of the user's: a hardware token's handle, or a public key whose private half an agent holds."""
    public = use if use.suffix == ".pub" else use.with_name(f"{use.name}.pub")
    if not use.is_file() or not public.is_file():
        raise Problem(
            f"There is no key {use}: name a public key (FILE.pub) whose private half your ssh-agent holds, or a "
            "security key's handle with its .pub beside it.",
            code=USAGE,
        )
    return Key(use.absolute(), " ".join(public.read_text().split()[:2]), made_here=False)


def _made(folder: Path, now: datetime) -> Key:
    path = folder / f"signing_key-{now:%Y%m%dT%H%M%S%fZ}"
    comment = f"seawall evidence, made {now:%Y-%m-%d}"
    _keygen("-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
    public = " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])
    return Key(path, public, made_here=True)


def _retired(line: str, now: datetime) -> str:
    """A line of allowed_signers that counts only for what was signed before ``now``; one already so stays as it is."""
    return (
        line
        if "valid-before=" in line
        else line.replace(" namespaces=", f' valid-before="{now:%Y%m%d%H%M%SZ}",namespaces=')
    )


def fingerprint(public: str) -> str:
    """``SHA256:…`` of ``type base64``, as `ssh-keygen -l` prints it."""
    blob = base64.b64decode(public.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def sign(path: Path, key: Key) -> Path:
    """Sign a file: ``path.sig`` beside it."""
    _keygen("-q", "-Y", "sign", "-f", str(key.path), "-n", NAMESPACE, str(path))
    return path.with_name(f"{path.name}.sig")


def verify(content: bytes, signature: bytes, allowed: Path, at: datetime) -> str:
    """The fingerprint of the key that signed, if ``allowed`` says that it counted at ``at``; else ``Unsigned``."""
    public = signer(signature)
    with tempfile.NamedTemporaryFile(suffix=".sig") as file:
        file.write(signature)
        file.flush()
        command = [
            "ssh-keygen",
            "-Y",
            "verify",
            "-f",
            str(allowed),
            "-I",
            IDENTITY,
            "-n",
            NAMESPACE,
            "-s",
            file.name,
        ]
        command += ["-O", f"verify-time={at:%Y%m%d%H%M%SZ}"]
        answer = _run(command, content)
    if answer.returncode:
        said = " ".join((answer.stderr + answer.stdout).decode(errors="replace").split())
        raise Unsigned(f"the signature is by {fingerprint(public)} and does not hold: {said}")
    return fingerprint(public)


_ARMOR = re.compile(rb"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n")


def signer(signature: bytes) -> str:
    """``type base64`` of the key that a signature says made it. Not the one text ssh-keygen writes: ``Unsigned``.

    Strict where ssh-keygen is lenient (line lengths, what follows the end, a reserved field), so that not one byte of
    the file can be another.
    """
    found = _ARMOR.fullmatch(signature)
    try:
        blob = base64.b64decode(found[1].replace(b"\n", b""), validate=True) if found else b""
        fields, rest = [], blob[10:]
        for _ in range(5):
            (length,) = struct.unpack(">I", rest[:4])
            fields.append(rest[4 : 4 + length])
            rest = rest[4 + length :]
        public, namespace, reserved, hashed, _ = fields
        packed = b"SSHSIG" + struct.pack(">I", 1) + b"".join(struct.pack(">I", len(f)) + f for f in fields)
        text = base64.b64encode(blob)
        lines = b"\n".join(text[i : i + 70] for i in range(0, len(text), 70))
        whole = b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"\n-----END SSH SIGNATURE-----\n"
        strict = (namespace, reserved, hashed) == (NAMESPACE.encode(), b"", b"sha512")
        if packed != blob or whole != signature or not strict:
            raise ValueError
        (length,) = struct.unpack(">I", public[:4])
        kind = public[4 : 4 + length].decode("ascii")
        if not re.fullmatch(r"[a-z0-9@.-]+", kind):
            raise ValueError
        return f"{kind} {base64.b64encode(public).decode()}"
    except (ValueError, struct.error, TypeError):
        raise Unsigned("the signature is not one that ssh-keygen writes: it was cut or altered") from None


def _keygen(*arguments: str) -> None:
    answer = _run(["ssh-keygen", *arguments])
    if answer.returncode:
        said = " ".join(answer.stderr.decode(errors="replace").split())
        raise Problem(
            f"ssh-keygen could not do its part ({' '.join(arguments[:3])} …): {said}. Is the key's agent running, or "
            "its hardware token plugged in? `seawall evidence key show` says which key it is."
        )


def _run(command: list[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        environment = {**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
        return subprocess.run(command, input=stdin, capture_output=True, env=environment, check=False)
    except FileNotFoundError:
        raise Problem(
            "There is no ssh-keygen on this machine; install openssh-client (8.2 or newer)."
        ) from None
