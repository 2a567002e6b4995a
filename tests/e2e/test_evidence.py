"""Evidence of the standing lab, verified with eyes of its own: plain ssh-keygen and hashlib, no code of the product."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

COMMAND = (
    "ssh-keygen -Y verify -f allowed_signers -I seawall-evidence -n seawall-evidence "
    "-s MANIFEST.json.sig < MANIFEST.json"
)


@pytest.fixture(scope="module")
def made(world, up) -> dict:
    """What `seawall evidence --json` said of the bundle it made, with a key made before."""
    refused = world.seawall("evidence", "--no-verify")
    assert refused.returncode == 1
    assert "seawall evidence key make" in refused.stderr
    key = world.seawall("evidence", "key", "make")
    assert key.returncode == 0, key.stderr
    ended = world.seawall("evidence", "--json")
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout) | {"code": ended.returncode}


@pytest.fixture(scope="module")
def bundle(made) -> Path:
    return Path(made["bundle"])


def test_every_control_of_every_droplet_is_in_it(made, bundle):
    lines = [json.loads(line) for line in (bundle / "findings.jsonl").read_text().splitlines()]
    assert {line["subject"]["name"] for line in lines} == {"app-1", "app-2", "logs-1"}
    assert len(lines) == sum(made["counts"].values())
    assert (made["complete"], made["lacking"]) == (True, [])
    assert made["code"] == (2 if made["counts"].get("fail") else 0)
    assert (made["sequence"], made["previous"]) == (1, None)


def test_an_auditor_verifies_it_by_hand(world, bundle):
    assert COMMAND in (bundle / "README.txt").read_text()
    signed = subprocess.run(COMMAND, shell=True, cwd=bundle, capture_output=True, text=True)
    assert signed.returncode == 0, signed.stderr
    shown = json.loads(world.seawall("evidence", "key", "show", "--json").stdout)
    assert shown["fingerprint"] in signed.stdout
    manifest = json.loads((bundle / "MANIFEST.json").read_text())
    files = {str(path.relative_to(bundle)): path for path in bundle.rglob("*") if path.is_file()}
    assert set(files) == {held["path"] for held in manifest["files"]} | {"MANIFEST.json", "MANIFEST.json.sig"}
    for held in manifest["files"]:
        content = files[held["path"]].read_bytes()
        assert held == {
            "path": held["path"], "size": len(content), "sha256": hashlib.sha256(content).hexdigest(),
        }  # fmt: skip


def test_verify_says_so_and_refuses_a_flipped_bit(world, bundle, tmp_path):
    assert world.seawall("evidence", "verify", str(bundle)).returncode == 0
    copy = Path(shutil.copytree(bundle, tmp_path / bundle.name))
    path = copy / "findings.jsonl"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused = world.seawall("evidence", "verify", str(copy))
    assert refused.returncode == 2
    assert "findings.jsonl was changed" in refused.stdout
    (copy / "MANIFEST.json.sig").unlink()
    assert world.seawall("evidence", "verify", str(copy)).returncode == 2
    nothing = world.seawall("evidence", "verify", str(tmp_path / "nothing"))
    assert nothing.returncode == 1
    assert "Traceback" not in nothing.stderr


def test_the_next_bundle_names_the_first_and_goes_to_the_store(world, bundle, tmp_path):
    store = tmp_path / "store"
    ended = world.seawall("evidence", "--no-verify", "--store", str(store), "--json")
    second = json.loads(ended.stdout)
    manifest = json.loads((Path(second["bundle"]) / "MANIFEST.json").read_text())
    first = hashlib.sha256((bundle / "MANIFEST.json").read_bytes()).hexdigest()
    assert manifest["previous"] == {"name": bundle.name, "sha256": first}
    listed = world.seawall("evidence", "list", "--store", str(store), "--json")
    assert listed.returncode == 0, listed.stdout
    told = json.loads(listed.stdout)
    assert [row["sequence"] for row in told["bundles"]] == [1, 2]
    assert told["chain_ok"] is True
    shutil.rmtree(store / bundle.name)
    assert world.seawall("evidence", "list", "--store", str(store)).returncode == 2


def test_the_signing_key_and_the_labs_secrets_are_not_in_it(world, bundle):
    private = next(path for path in (world.folder / "evidence").glob("signing_key-*") if not path.suffix)
    secrets = [private.read_text().splitlines()[2], (world.folder / "token").read_text().strip()]
    for path in bundle.rglob("*"):
        for secret in secrets:
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_the_signing_key_is_on_no_droplet(world, bundle):
    """Looked for by what it is, since searching for its text would write that into the droplet's own log."""
    shown = json.loads(world.seawall("evidence", "key", "show", "--json").stdout)
    for name in ("app-1", "app-2", "logs-1"):
        looked = world.ssh(
            name,
            "for file in $(sudo grep -rlI 'BEGIN OPENSSH PRIVATE KEY' /etc /root /home /var /opt /srv /tmp); "
            "do sudo ssh-keygen -l -f $file; done",
        )
        assert "ED25519" in looked.stdout, "not even the host's own key was found"
        assert shown["fingerprint"] not in looked.stdout
