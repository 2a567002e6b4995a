"""Where bundles are kept: a folder, or a bucket of Spaces or any S3. What is there once is never written again.

Laid out alike: ``<bundle>/<file>`` and ``chain/<stack>/000001.json`` with its ``.sig``. An upload goes file by file,
the manifest's signature last, then the link of the chain: an interrupted one goes on with what is missing.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from seawall.evidence import manifest as manifests
from seawall.evidence.manifest import MANIFEST, SIGNATURE, Manifest
from seawall.places import write_private
from seawall.problem import DEVIATES, USAGE, Problem

KEEP = timedelta(days=396)
"""Thirteen months: twelve (PCI DSS 10.5.1's measure), and one in which the year's assessment is made."""


class Missing(Exception):
    """There is no such object."""


class Store(Protocol):
    """Objects by key. ``put_new`` never overwrites: the same bytes are fine, other bytes are a ``Problem``."""

    where: str

    def keys(self, prefix: str) -> list[str]: ...
    def get(self, key: str) -> bytes: ...
    def put_new(self, key: str, content: bytes) -> bool: ...
    def delete(self, key: str) -> None: ...
    def warnings(self) -> list[str]: ...


def _differs(where: str, key: str) -> Problem:
    return Problem(
        f"{where} already has {key} with other bytes, and evidence is never overwritten. Two bundles took the same "
        "place, or somebody wrote there: `seawall evidence list` shows the chain as it is.",
        code=DEVIATES,
    )


class FolderStore:
    """A folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.where = folder, str(folder)

    def keys(self, prefix: str) -> list[str]:
        base = self.folder / prefix
        if not base.is_dir():
            return []
        return sorted(str(path.relative_to(self.folder)) for path in base.rglob("*") if not path.is_dir())

    def get(self, key: str) -> bytes:
        try:
            return (self.folder / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(key) from None

    def put_new(self, key: str, content: bytes) -> bool:
        """Under another name first, then linked: a name that exists is never replaced."""
        path = self.folder / key
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
        write_private(draft, content)
        try:
            os.link(draft, path)
        except FileExistsError:
            if path.read_bytes() != content:
                raise _differs(self.where, key) from None
            return False
        finally:
            draft.unlink()
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return True

    def delete(self, key: str) -> None:
        path = self.folder / key
        path.unlink(missing_ok=True)
        while (path := path.parent) != self.folder and not any(path.iterdir()):
            path.rmdir()

    def warnings(self) -> list[str]:
        return []


class S3Store:
    """A bucket: ``s3://bucket/prefix`` at ``SPACES_ENDPOINT_URL``, by ``SPACES_ACCESS_KEY_ID`` and
    ``SPACES_SECRET_ACCESS_KEY``, the names DigitalOcean's provider uses; else whatever boto3 finds (``AWS_…``)."""

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        import boto3
        from botocore.config import Config

        parts = urlsplit(url)
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        self.where = url
        key = environment.get("SPACES_ACCESS_KEY_ID")
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=environment.get("SPACES_ENDPOINT_URL"),
            region_name=environment.get("SPACES_REGION", "us-east-1"),
            aws_access_key_id=key,
            aws_secret_access_key=environment.get("SPACES_SECRET_ACCESS_KEY") if key else None,
            config=Config(
                retries={"mode": "standard", "max_attempts": 5},
                connect_timeout=10,
                read_timeout=60,
                # Not every S3 knows the checksums that newer clients send by themselves.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _ask(self, doing: str, call: Callable[[], Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("NoSuchKey", "404"):
                raise Missing(doing) from None
            if code in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
                raise FileExistsError(doing) from None
            said = f"{code}: {error.response['Error'].get('Message', '')}"
        except BotoCoreError as error:
            said = str(error)
        raise Problem(
            f"The store {self.where} did not {doing}: {said}. Check SPACES_ENDPOINT_URL, SPACES_ACCESS_KEY_ID and "
            "SPACES_SECRET_ACCESS_KEY, and the bucket's name; what was uploaded so far stays, and the next run goes on."
        ) from None

    def keys(self, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2")
        start = self._key(prefix).rstrip("/") + "/"
        listed = self._ask(
            f"list {prefix}",
            lambda: list(pages.paginate(Bucket=self.bucket, Prefix=start if prefix else self._key(""))),
        )
        cut = len(self.prefix) + 1 if self.prefix else 0
        return sorted(item["Key"][cut:] for page in listed for item in page.get("Contents", []))

    def get(self, key: str) -> bytes:
        return self._ask(
            f"give {key}",
            lambda: self.client.get_object(Bucket=self.bucket, Key=self._key(key))["Body"].read(),
        )

    def put_new(self, key: str, content: bytes) -> bool:
        """Conditionally (``If-None-Match: *``), looked at before as well for a store that ignores the condition."""
        try:
            if self.get(key) != content:
                raise _differs(self.where, key)
            return False
        except Missing:
            pass
        try:
            self._ask(
                f"take {key}",
                lambda: self.client.put_object(
                    Bucket=self.bucket,
                    Key=self._key(key),
                    Body=content,
                    IfNoneMatch="*",
                    ContentMD5=_md5(content),
                ),
            )
        except FileExistsError:
            if self.get(key) != content:
                raise _differs(self.where, key) from None
            return False
        return True

    def delete(self, key: str) -> None:
        self._ask(f"delete {key}", lambda: self.client.delete_object(Bucket=self.bucket, Key=self._key(key)))

    def warnings(self) -> list[str]:
        try:
            state = self._ask(
                "say whether it keeps versions",
                lambda: self.client.get_bucket_versioning(Bucket=self.bucket),
            )
        except Problem as problem:
            if "AccessDenied" not in str(problem):
                raise
            return [
                f"Whether {self.where} keeps versions is unknown: this key may use the bucket, not ask about it."
            ]
        if state.get("Status") == "Enabled":
            return []
        return [
            f"{self.where} keeps no versions: what is deleted or overwritten there is gone. Switch versioning on."
        ]


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def open_store(text: str, environment: Mapping[str, str]) -> Store:
    """``s3://bucket[/prefix]``, or a folder."""
    if text.startswith("s3://"):
        if not urlsplit(text).netloc:
            raise Problem(f"{text} names no bucket; write s3://BUCKET or s3://BUCKET/PREFIX.", code=USAGE)
        return S3Store(text, environment)
    if "://" in text:
        raise Problem(f"{text} is no store; name a folder, or a bucket as s3://BUCKET/PREFIX.", code=USAGE)
    return FolderStore(Path(text).expanduser().absolute())


# --- The chain ------------------------------------------------------------------------------------------


def link_name(stack: str, sequence: int) -> str:
    return f"chain/{stack}/{sequence:06d}.json"


def sequences(store: Store, stack: str) -> list[int]:
    """The places of a stack's chain that are taken, in order."""
    names = [key.rpartition("/")[2] for key in store.keys(f"chain/{stack}")]
    return sorted(int(name[:6]) for name in names if name.endswith(".json") and name[:6].isdigit())


def stacks(store: Store) -> list[str]:
    return sorted({key.split("/")[1] for key in store.keys("chain")})


def push(output: Path, store: Store, stack: str, progress: Callable[[str], None] = lambda line: None) -> int:
    """Bring to ``store`` what it lacks of the bundles and the chain in ``output``; how many files went up."""
    here = FolderStore(output)
    sent = 0
    for sequence in sequences(here, stack):
        link = link_name(stack, sequence)
        content = here.get(link)
        held = manifests.parse(content)
        if (output / held.name).is_dir():
            names = [entry.path for entry in held.files] + [MANIFEST, SIGNATURE]
            missing = set(names) - {key.removeprefix(f"{held.name}/") for key in store.keys(held.name)}
            for name in names:
                if name in missing:
                    progress(f"{held.name}/{name}")
                    sent += store.put_new(f"{held.name}/{name}", (output / held.name / name).read_bytes())
        sent += store.put_new(f"{link}.sig", here.get(f"{link}.sig"))
        sent += store.put_new(link, content)
    return sent


def pull_chain(output: Path, store: Store, stack: str) -> None:
    """Bring the chain's links that only ``store`` has: a bundle made on another machine is the one before the next."""
    here = FolderStore(output)
    for sequence in sequences(store, stack):
        link = link_name(stack, sequence)
        for name in (f"{link}.sig", link):
            here.put_new(name, store.get(name))


def aged(store: Store, stack: str, now: datetime) -> list[Manifest]:
    """Bundles of ``stack`` still there that are old enough to go (over thirteen months); never the newest."""
    links = [manifests.parse(store.get(link_name(stack, sequence))) for sequence in sequences(store, stack)]
    return [held for held in links[:-1] if now - held.time > KEEP and store.keys(held.name)]


def prune(store: Store, stack: str, now: datetime) -> list[str]:
    """Remove them, the signature first, so that one half removed is none; their links in the chain stay for ever."""
    gone = []
    for held in aged(store, stack, now):
        keys = store.keys(held.name)
        for key in sorted(keys, key=lambda key: not key.endswith(f"/{SIGNATURE}")):
            store.delete(key)
        gone.append(held.name)
    return gone


def copy_into(folder: Path, store: Store, name: str) -> Path:
    """A stored bundle as a folder, to be verified."""
    target = folder / name
    shutil.rmtree(target, ignore_errors=True)
    for key in store.keys(name):
        path = folder / key
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(store.get(key))
    return target
