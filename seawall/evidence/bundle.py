"""A bundle: whole and signed under its name, or not there at all.

It is made in a staging folder beside where it will be, searched, signed, brought to disk (fsync), and renamed once. The
folder's lock lets one run at a time make one; what a killed run left is removed by the next. The chain lies in the same
folder, ``chain/<stack>/000001.json`` and its ``.sig``: every manifest ever made, each with the hash of the one before.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from fcntl import LOCK_EX, flock
from pathlib import Path
from time import sleep

from seawall.evidence import manifest as manifests
from seawall.evidence import scan, signing
from seawall.evidence.context import Context, Signer
from seawall.evidence.manifest import MANIFEST, SIGNATURE, Manifest, Previous, bundle_name, digest
from seawall.evidence.parts import PARTS, Part
from seawall.evidence.signing import Key, Keyring
from seawall.evidence.store import FolderStore, link_name, sequences
from seawall.problem import DEVIATES, Problem

STAGING = ".making-"

README = """\
Evidence of stack {stack}, made {at} by Seawall. {state}

Who signed it: key {fingerprint}. Ask the organisation for that
fingerprint by another way than this folder, and compare it with what this prints:

    ssh-keygen -l -f {allowed}

Whether MANIFEST.json is what was signed, in this folder (any OpenSSH since 8.2):

    {command}

Whether every file is what the manifest says (jq and coreutils; it prints nothing but "OK"):

    jq -r '.files[] | .sha256 + "  " + .path' MANIFEST.json | sha256sum --check --strict

Both, and that nothing was added and the chain of bundles is whole:

    seawall evidence verify . --key {fingerprint}
"""


def make(
    output: Path,
    keyring: Keyring,
    gather: Callable[[datetime, Manifest | None, Signer], Context],
    secrets: Mapping[str, str],
    stack: str,
    *,
    parts: tuple[Part, ...] = PARTS,
) -> Path:
    """Make the next bundle of ``stack`` in ``output``. ``gather`` gets its time, the manifest before it, its signer."""
    key = keyring.required()
    with _disk(output), only_one(output):
        chain = FolderStore(output)
        adopt(output, keyring, stack)
        before = _head(chain, stack)
        at = _free_second(output, stack, before)
        context = gather(at, before, Signer(signing.IDENTITY, key.fingerprint, signing.COMMAND))
        staging = output / f"{STAGING}{os.getpid()}"
        try:
            staging.mkdir(mode=0o700)
            _fill(staging, context, keyring, key, parts)
            if hits := scan.scan(staging, secrets):
                raise _found(hits)
            _seal(staging, context, key, before)
            _to_disk(staging)
            final = output / bundle_name(stack, at)
            os.rename(staging, final)
            _sync(output)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        adopt(output, keyring, stack)
    return final


def adopt(output: Path, keyring: Keyring, stack: str) -> None:
    """Give the whole bundle that follows the chain's last its place there: a kill may come just after the rename."""
    chain = FolderStore(output)
    while found := _following(output, keyring, stack, _head(chain, stack)):
        held, content, signature = found
        # The signature first: what has a manifest in the chain has a signature there too.
        chain.put_new(link_name(stack, held.sequence) + ".sig", signature)
        chain.put_new(link_name(stack, held.sequence), content)


def _following(
    output: Path, keyring: Keyring, stack: str, last: Manifest | None
) -> tuple[Manifest, bytes, bytes] | None:
    """A signed bundle that names the chain's last as the one before it."""
    previous = Previous(name=last.name, sha256=digest(last.canonical())) if last else None
    for folder in sorted(output.glob(f"{stack}-????????T??????Z")):
        with suppress(OSError, ValueError, signing.Unsigned):
            content, signature = (folder / MANIFEST).read_bytes(), (folder / SIGNATURE).read_bytes()
            held = manifests.parse(content)
            if held.stack == stack and held.previous == previous and held.name == folder.name:
                signing.verify(content, signature, keyring.allowed, held.time)
                return held, content, signature
    return None


def _head(chain: FolderStore, stack: str) -> Manifest | None:
    known = sequences(chain, stack)
    return manifests.parse(chain.get(link_name(stack, known[-1]))) if known else None


def _free_second(output: Path, stack: str, before: Manifest | None) -> datetime:
    """Now, to the second, and later than the bundle before; a second that has one already is let pass."""
    while True:
        at = datetime.now(UTC).replace(microsecond=0)
        if before and before.time - at > timedelta(seconds=10):
            raise Problem(
                f"The bundle before this one, {before.name}, was made in the future: this machine's clock or the one "
                "that made it is wrong. Put the clock right; a chain never goes back in time."
            )
        if not (before and at <= before.time) and not (output / bundle_name(stack, at)).exists():
            return at
        sleep(0.05)


def _fill(staging: Path, context: Context, keyring: Keyring, key: Key, parts: tuple[Part, ...]) -> None:
    shutil.copyfile(keyring.allowed, staging / signing.ALLOWED)
    lacking = len(context.lacking)
    state = (
        f"INCOMPLETE in {lacking} respect{'s' * (lacking > 1)}: MANIFEST.json, `lacking`."
        if lacking
        else "Complete."
    )
    (staging / "README.txt").write_text(
        README.format(
            stack=context.stack,
            at=f"{context.at:%Y-%m-%d %H:%M:%S} UTC",
            state=state,
            fingerprint=key.fingerprint,
            allowed=signing.ALLOWED,
            command=signing.COMMAND,
        )
    )
    for write in parts:
        write(context, staging)


def _seal(staging: Path, context: Context, key: Key, before: Manifest | None) -> None:
    counts: dict[str, int] = {}
    for finding in context.findings:
        counts[finding.status.value] = counts.get(finding.status.value, 0) + 1
    previous = Previous(name=before.name, sha256=digest(before.canonical())) if before else None
    try:
        held = Manifest(
            stack=context.stack,
            at=f"{context.at:%Y-%m-%dT%H:%M:%SZ}",
            sequence=before.sequence + 1 if before else 1,
            previous=previous,
            commit=context.commit,
            tools=dict(context.tools),
            counts=counts,
            lacking=context.lacking,
            files=manifests.entries(staging),
        )
    except ValueError as error:
        raise Problem(
            f"The bundle can't be sealed: {error}. A part of it writes what none may; nothing was kept."
        ) from None
    (staging / MANIFEST).write_bytes(held.canonical())
    signing.sign(staging / MANIFEST, key)


def _found(hits: list[scan.Hit]) -> Problem:
    shown = "; ".join(map(str, hits[:10])) + (f"; and {len(hits) - 10} more" if len(hits) > 10 else "")
    return Problem(
        f"The bundle holds what evidence must not, so it was not signed and nothing of it was kept: {shown}. Find "
        "where it comes from (a log, an attached file, a host's configuration) and remove it there; a secret that came "
        "this far counts as known: replace it.",
        code=DEVIATES,
    )


# --- Disk -----------------------------------------------------------------------------------------------


@contextmanager
def only_one(output: Path) -> Iterator[None]:
    """Wait for the folder's lock, then remove what a killed run left. The lock goes with the process."""
    output.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(output / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        flock(descriptor, LOCK_EX)
        for left in output.glob(f"{STAGING}*"):
            shutil.rmtree(left)
        yield
    finally:
        os.close(descriptor)


def _to_disk(folder: Path) -> None:
    for root, _, files in os.walk(folder):
        for name in files:
            _sync(Path(root, name))
        _sync(Path(root))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk(output: Path) -> Iterator[None]:
    """What the disk refuses, as a sentence."""
    try:
        yield
    except OSError as error:
        full = " The disk is full: make room there, or name another folder with --output." * (
            error.errno == errno.ENOSPC
        )
        raise Problem(
            f"The bundle could not be written to {output}: {error.strerror or error}.{full} Nothing of it was kept."
        ) from error
