"""Whether a bundle is what was signed, and the chain it belongs to is whole: what `seawall evidence verify` says.

Independent of how a bundle is made: it reads bytes, and believes nothing but the key it was told to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seawall.evidence import manifest as manifests
from seawall.evidence.manifest import BESIDE, MANIFEST, SIGNATURE, Manifest, digest, entry, walk
from seawall.evidence.signing import ALLOWED, IDENTITY, NAMESPACE, Unsigned, fingerprint, signer, verify
from seawall.evidence.store import KEEP, Missing, Store, link_name, sequences
from seawall.problem import DECLARED, DEVIATES, USAGE, Problem


@dataclass(frozen=True)
class Trust:
    """Whose signatures count: a file of allowed signers, or one key by its fingerprint or public half."""

    allowed: Path | None = None
    key: str = ""

    @classmethod
    def of(cls, key: str = "", allowed: Path | None = None, default: Path | None = None) -> Trust:
        """From the command's options; without any, this machine's own keys. Nothing to compare with: a ``Problem``."""
        if key:
            path = Path(key).expanduser()
            if not key.startswith("SHA256:"):
                if not path.is_file():
                    raise Problem(
                        f"{key} is neither a fingerprint (SHA256:…) nor a public key's file.", code=USAGE
                    )
                key = fingerprint(" ".join(path.read_text().split()[:2]))
            return cls(key=key)
        chosen = allowed or default
        if chosen is None or not chosen.is_file():
            raise Problem(
                "There is no key to believe: this machine has signed nothing itself. Ask whoever gave you the bundle "
                "for its key's fingerprint by another way than the bundle, and pass it as --key SHA256:…, or a file of "
                "signers as --allowed-signers FILE."
            )
        return cls(allowed=chosen)

    def holds(self, content: bytes, signature: bytes, held: Manifest) -> str:
        """The fingerprint of the key that signed, if it is one that counts; else ``Unsigned``."""
        if self.allowed:
            return verify(content, signature, self.allowed, held.time)
        public = signer(signature)
        if fingerprint(public) != self.key:
            raise Unsigned(f"it was signed by {fingerprint(public)}, and the key to believe is {self.key}")
        with tempfile.NamedTemporaryFile("w", suffix=f".{ALLOWED}") as file:
            file.write(f'{IDENTITY} namespaces="{NAMESPACE}" {public}\n')
            file.flush()
            return verify(content, signature, Path(file.name), held.time)


@dataclass(frozen=True)
class Verdict:
    """What was found. ``faults`` are sentences; none means that every byte is as it was signed."""

    bundle: str
    manifest: Manifest | None
    key: str
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        return DEVIATES if self.faults else DECLARED

    def document(self) -> dict[str, Any]:
        held = self.manifest
        return {
            "bundle": self.bundle,
            "verified": not self.faults,
            "stack": held.stack if held else None,
            "at": held.at if held else None,
            "sequence": held.sequence if held else None,
            "complete": not held.lacking if held else None,
            "signed_by": self.key or None,
            "faults": list(self.faults),
            "notes": list(self.notes),
        }

    def text(self) -> str:
        held = self.manifest
        if self.faults or not held:
            return "\n".join(
                [f"{self.bundle} is NOT what was signed:", *(f"  {fault}" for fault in self.faults)]
            )
        lines = [
            f"{self.bundle} is what was signed: {len(held.files)} files, by {self.key}, for {held.at}.",
            *(f"  {note}" for note in self.notes),
        ]
        if held.lacking:
            lines.append(
                f"  It is INCOMPLETE, and says so: {held.lacking[0]}" + " …" * (len(held.lacking) > 1)
            )
        return "\n".join(lines)


def check(bundle: Path, trust: Trust, store: Store | None = None) -> Verdict:
    """Look at every byte. What can't be read is a ``Problem`` (exit 1), what is wrong a fault (exit 2)."""
    if not bundle.is_dir():
        raise Problem(f"There is no bundle {bundle}: a bundle is a folder with a {MANIFEST} in it.")
    try:
        return _check(bundle, trust, store)
    except OSError as error:
        raise Problem(
            f"{bundle} could not be looked at: {error.filename}: {error.strerror or error}."
        ) from None


def _check(bundle: Path, trust: Trust, store: Store | None) -> Verdict:
    name = bundle.resolve().name
    absent = [each for each in BESIDE if not (bundle / each).is_file() or (bundle / each).is_symlink()]
    if absent:
        return Verdict(name, None, "", tuple(f"{each} is missing, or is no plain file." for each in absent))
    content, signature = ((bundle / each).read_bytes() for each in BESIDE)
    try:
        held = manifests.parse(content)
    except ValueError as error:
        return Verdict(name, None, "", (f"{MANIFEST} is not a bundle's manifest: {error}.",))
    faults, key = [], ""
    try:
        key = trust.holds(content, signature, held)
    except Unsigned as error:
        faults.append(f"{SIGNATURE}: {error}.")
    faults += _files(bundle, held)
    notes = []
    if store:
        faults += chain_faults(store, held.stack, *_believed(bundle, held, trust, sound=not faults))
        faults += _place(store, held, content, name)
    else:
        notes.append("Its place in the chain of bundles was not looked at; --store names where that is kept.")
    return Verdict(name, held, key, tuple(faults), tuple(notes))


def _believed(bundle: Path, held: Manifest, trust: Trust, *, sound: bool) -> tuple[Trust, int | None]:
    """Whom to believe about the chain, and up to which place. One key may not have signed all of it: but it signed
    this bundle's list of keys, those retired before it among them; of later ones that list can't know."""
    if trust.allowed or not sound:
        return trust, None
    return Trust(allowed=bundle / ALLOWED), held.sequence


def _files(bundle: Path, held: Manifest) -> Iterator[str]:
    """Differences between the folder and the manifest."""
    expected = {each.path: each for each in held.files}
    seen = set()
    for name, found in walk(bundle):
        if name in BESIDE:
            continue
        if name not in expected:
            kind = "an empty folder" if found.is_dir(follow_symlinks=False) else "a file"
            yield f"{name} was added: the manifest has no such thing ({'a link' if found.is_symlink() else kind})."
        elif not found.is_file(follow_symlinks=False):
            yield f"{name} is no plain file any more."
        elif entry(Path(found.path), name) != expected[name]:
            yield f"{name} was changed: its SHA-256 is not the manifest's."
        seen.add(name)
    yield from (f"{name} was removed." for name in sorted(expected.keys() - seen))


def _place(store: Store, held: Manifest, content: bytes, name: str) -> Iterator[str]:
    """Whether the chain has this very manifest where it says it belongs."""
    try:
        linked = store.get(link_name(held.stack, held.sequence))
    except Missing:
        yield f"The chain in {store.where} has no place {held.sequence}, which is this bundle's."
        return
    if linked != content:
        yield f"Place {held.sequence} of the chain in {store.where} is another bundle's, or this one's was changed."
    if name != held.name:
        yield f"The folder is named {name}, and the bundle in it is {held.name}: two were swapped, or one renamed."


def chain_faults(
    store: Store, stack: str, trust: Trust, upto: int | None = None, *, now: datetime | None = None
) -> list[str]:
    """What is wrong with a stack's chain (``upto`` a place): a gap, a link that was changed or is unsigned, a bundle
    that was removed before its thirteen months were over."""
    now = now or datetime.now(UTC)
    found: list[str] = []
    known = [sequence for sequence in sequences(store, stack) if upto is None or sequence <= upto]
    before: Manifest | None = None
    before_digest = ""
    links: list[Manifest] = []
    if missing := sorted(set(range(1, known[-1] + 1)) - set(known)) if known else []:
        found.append(f"The chain of {stack} in {store.where} lacks place {', '.join(map(str, missing))}.")
    for sequence in known:
        link = link_name(stack, sequence)
        content = store.get(link)
        try:
            held = manifests.parse(content)
            trust.holds(content, store.get(f"{link}.sig"), held)
        except (ValueError, Unsigned, Missing) as error:
            said = "its signature is missing" if isinstance(error, Missing) else error
            found.append(
                f"Place {sequence} of the chain of {stack} in {store.where} can't be believed: {said}."
            )
            before = None
            continue
        if held.stack != stack or held.sequence != sequence:
            found.append(
                f"Place {sequence} of the chain of {stack} holds that of {held.stack}, place {held.sequence}."
            )
        if sequence == 1 and held.previous:
            found.append(f"The first bundle of {stack} names one before it, {held.previous.name}.")
        if before and (
            not held.previous or held.previous.sha256 != before_digest or held.time <= before.time
        ):
            found.append(f"The chain of {stack} is broken between place {before.sequence} and {sequence}.")
        links.append(held)
        before, before_digest = held, digest(content)
    for held in links:
        if now - held.time <= KEEP and f"{held.name}/{SIGNATURE}" not in store.keys(held.name):
            found.append(f"{held.name} is in the chain and not in {store.where}, or not whole there.")
    return found
