"""Custody of the key: made once, kept private, rotated without losing what it signed."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from seawall.evidence.check import Trust, check
from seawall.evidence.signing import Keyring, Unsigned, sign, verify
from seawall.evidence.store import FolderStore
from seawall.problem import Problem
from tests.unit import evidence_support as support

LATER = datetime.now(UTC) + timedelta(days=400)


def test_a_key_made_here_is_private_and_made_once(tmp_path):
    keyring = support.keyring(tmp_path)
    key = keyring.required()
    assert key.public.startswith("ssh-ed25519 ")
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", f"{key.path}.pub"], capture_output=True, text=True
    ).stdout
    assert shown.split()[1] == key.fingerprint
    with pytest.raises(Problem, match="rotate"):
        keyring.make()


def test_without_a_key_there_is_no_bundle_and_a_sentence_says_how_to_make_one(tmp_path):
    (tmp_path / "keys").mkdir()
    with pytest.raises(Problem, match="seawall evidence key make"):
        support.make(tmp_path)


def test_rotation_keeps_what_the_old_key_signed_and_nothing_later(tmp_path):
    keyring = support.keyring(tmp_path)
    old = keyring.required()
    before = support.make(tmp_path)
    content = (before / "MANIFEST.json").read_bytes()
    kept = shutil.copytree(keyring.folder, tmp_path / "stolen")
    now = datetime.now(UTC) + timedelta(minutes=1)
    new = keyring.rotate(now=now)
    assert new.fingerprint != old.fingerprint
    assert not old.path.exists()
    assert keyring.required() == new
    assert check(before, Trust(allowed=keyring.allowed)).faults == ()
    # The old key, had somebody kept it, signs nothing that counts from then on.
    path = tmp_path / "later"
    path.write_bytes(content)
    signature = sign(
        path, Keyring(kept).required().__class__(kept / old.path.name, old.public, True)
    ).read_bytes()
    assert verify(content, signature, keyring.allowed, now - timedelta(seconds=5)) == old.fingerprint
    with pytest.raises(Unsigned):
        verify(content, signature, keyring.allowed, now + timedelta(seconds=5))
    lines = keyring.allowed.read_text().splitlines()
    assert re.search(r'valid-before="\d{14}Z"', lines[0])
    assert "valid-before" not in lines[1]


def test_a_bundle_made_before_a_rotation_verifies_by_itself_with_plain_ssh_keygen(tmp_path):
    bundle = support.make(tmp_path)
    support.keyring(tmp_path).rotate(now=LATER)
    after = support.make(tmp_path)
    for each in (bundle, after):
        command = (bundle / "README.txt").read_text().split("OpenSSH since 8.2):\n\n")[1].split("\n")[0]
        assert subprocess.run(command, shell=True, cwd=each, capture_output=True).returncode == 0


def test_a_chain_signed_by_one_key_after_another_holds_for_whom_the_last_one_is_known(tmp_path):
    keyring = support.keyring(tmp_path)
    first_key = keyring.required().fingerprint
    first = support.make(tmp_path)
    keyring.rotate(now=datetime.now(UTC) + timedelta(seconds=2))
    second = support.make(tmp_path)
    kept = FolderStore(tmp_path / "bundles")
    for bundle, trust in (
        (second, Trust(key=keyring.required().fingerprint)),
        (first, Trust(key=first_key)),
        (second, Trust(allowed=keyring.allowed)),
    ):
        assert check(bundle, trust, kept).faults == ()
    assert check(second, Trust(key=first_key), kept).code == 2


def test_a_second_rotation_leaves_the_first_keys_end_as_it_was(tmp_path):
    keyring = support.keyring(tmp_path)
    keyring.rotate(now=LATER)
    first = keyring.allowed.read_text().splitlines()[0]
    keyring.rotate(now=LATER + timedelta(days=1))
    assert keyring.allowed.read_text().splitlines()[0] == first
    assert len(list(keyring.folder.glob("signing_key-*"))) == 2  # one key, and its public half


def test_a_retired_key_stays_retired(tmp_path):
    keyring = support.keyring(tmp_path)
    public = shutil.copy(f"{keyring.required().path}.pub", tmp_path / "old.pub")
    keyring.rotate(now=LATER)
    with pytest.raises(Problem, match="stays retired"):
        keyring.rotate(use=public)


def test_a_key_in_an_agent_signs_and_never_lies_here(tmp_path):
    mine = tmp_path / "mine"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", mine], check=True)
    agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    socket, pid = (re.search(rf"{name}=([^;]+)", agent)[1] for name in ("SSH_AUTH_SOCK", "SSH_AGENT_PID"))
    before = os.environ.get("SSH_AUTH_SOCK")
    try:
        os.environ["SSH_AUTH_SOCK"] = socket
        subprocess.run(["ssh-add", "-q", mine], check=True)
        mine.unlink()
        keyring = Keyring(tmp_path / "keys")
        keyring.folder.mkdir(mode=0o700)
        key = keyring.make(tmp_path / "mine.pub")
        assert not key.made_here
        bundle = support.make(tmp_path)
        assert check(bundle, Trust(key=key.fingerprint)).faults == ()
        assert sorted(path.name for path in keyring.folder.iterdir()) == ["allowed_signers", "signer.json"]
    finally:
        os.kill(int(pid), 15)
        os.environ.pop("SSH_AUTH_SOCK")
        if before:
            os.environ["SSH_AUTH_SOCK"] = before


def test_a_key_that_is_not_there_is_refused(tmp_path):
    keyring = Keyring(tmp_path)
    with pytest.raises(Problem, match="There is no key") as problem:
        keyring.make(tmp_path / "nothing.pub")
    assert problem.value.code == 64
