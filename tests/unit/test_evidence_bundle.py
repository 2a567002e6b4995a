"""A bundle is whole and signed or absent, and no byte of it can change unseen."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.evidence import check
from seawall.evidence.check import Trust
from seawall.evidence.signing import Keyring
from seawall.evidence.store import FolderStore
from seawall.places import CHECKOUT
from seawall.problem import Problem
from tests.unit import evidence_support as support

FILES = [
    "MANIFEST.json",
    "MANIFEST.json.sig",
    "README.txt",
    "allowed_signers",
    "findings.jsonl",
    "raw/verify.log",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two bundles and their chain."""
    base = tmp_path_factory.mktemp("evidence")
    log = base / "verify.log"
    log.write_text("tests/controls/test_sshd.py::test_root_login[app-1] PASSED\n")
    for _ in range(2):
        support.make(base, raw={"verify.log": log})
    return base


@pytest.fixture(scope="module")
def trust(folder) -> Trust:
    return Trust(allowed=folder / "keys" / "allowed_signers")


@pytest.fixture
def bundle(folder, tmp_path) -> Path:
    """A copy of the second, to be tampered with."""
    original = sorted((folder / "bundles").glob("lab-*"))[1]
    return Path(shutil.copytree(original, tmp_path / original.name))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_bundle_holds_what_it_says_and_verifies_with_plain_tools(bundle, trust):
    assert names(bundle) == FILES
    manifest = json.loads((bundle / "MANIFEST.json").read_text())
    for held in manifest["files"]:
        content = (bundle / held["path"]).read_bytes()
        assert (held["size"], held["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert [held["path"] for held in manifest["files"]] == FILES[2:]
    by_hand = subprocess.run(
        "ssh-keygen -Y verify -f allowed_signers -I seawall-evidence -n seawall-evidence "
        "-s MANIFEST.json.sig < MANIFEST.json",
        shell=True,
        cwd=bundle,
        capture_output=True,
        text=True,
    )
    assert by_hand.returncode == 0, by_hand.stderr
    assert "ssh-keygen -Y verify -f allowed_signers" in (bundle / "README.txt").read_text()
    assert check.check(bundle, trust).faults == ()
    assert check.check(bundle, trust).code == 0


def test_the_second_names_the_first_by_the_hash_of_its_manifest(folder):
    first, second = sorted((folder / "bundles").glob("lab-*"))
    manifest = json.loads((second / "MANIFEST.json").read_text())
    assert manifest["sequence"] == 2
    assert manifest["previous"] == {
        "name": first.name,
        "sha256": hashlib.sha256((first / "MANIFEST.json").read_bytes()).hexdigest(),
    }
    assert json.loads((first / "MANIFEST.json").read_text())["previous"] is None


def refused(bundle: Path, trust: Trust, said: str = "") -> None:
    verdict = check.check(bundle, trust)
    assert verdict.code == 2, "the tampered bundle passed"
    assert said in " ".join(verdict.faults), verdict.faults


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_seen(bundle, trust, name, data):
    path = bundle / name
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) * 8 - 1))
    changed = bytearray(content)
    changed[at // 8] ^= 1 << at % 8
    try:
        path.write_bytes(changed)
        refused(bundle, trust)
    finally:
        path.write_bytes(content)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", FILES)
def test_an_added_a_removed_and_a_moved_byte_are_seen(bundle, trust, name, data):
    path = bundle / name
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 2))
    more = data.draw(st.sampled_from([b"\n", b" ", b"\0", b"=", b"A"]))
    swapped = content[:at] + content[at + 1 : at + 2] + content[at : at + 1] + content[at + 2 :]
    try:
        for changed in {content[:at] + more + content[at:], content + more, content[:at], swapped} - {
            content
        }:
            path.write_bytes(changed)
            refused(bundle, trust)
    finally:
        path.write_bytes(content)


def test_what_is_added_is_seen(bundle, trust, tmp_path):
    for name, add in (
        ("more.txt", lambda path: path.write_text("")),
        (".hidden", lambda path: path.write_text("x")),
        ("raw/more", lambda path: path.write_text("x")),
        ("empty", lambda path: path.mkdir()),
        ("raw/empty/emptier", lambda path: path.mkdir(parents=True)),
        ("link", lambda path: path.symlink_to("findings.jsonl")),
        ("linked", lambda path: path.symlink_to(tmp_path, target_is_directory=True)),
        ("dangling", lambda path: path.symlink_to("nowhere")),
        ("pipe", os.mkfifo),
    ):
        add(bundle / name)
        refused(bundle, trust, "was added")
        top = bundle / name if "/" not in name or name == "raw/more" else bundle / "raw" / "empty"
        shutil.rmtree(top) if top.is_dir() and not top.is_symlink() else top.unlink()
    assert check.check(bundle, trust).faults == ()


@pytest.mark.parametrize("name", FILES)
def test_what_is_removed_is_seen(bundle, trust, name):
    (bundle / name).unlink()
    refused(bundle, trust, name)


def test_a_file_that_became_a_link_to_the_same_bytes_is_seen(bundle, trust, tmp_path):
    for name in ("findings.jsonl", "MANIFEST.json"):
        outside = tmp_path / "outside"
        shutil.move(bundle / name, outside)
        (bundle / name).symlink_to(outside)
        refused(bundle, trust, "plain file")
        (bundle / name).unlink()
        shutil.move(outside, bundle / name)


def test_swapped_files_are_seen(bundle, trust):
    one, other = bundle / "findings.jsonl", bundle / "raw" / "verify.log"
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)
    refused(bundle, trust, "findings.jsonl was changed")


def test_another_bundles_manifest_and_signature_are_seen(folder, bundle, trust):
    first = sorted((folder / "bundles").glob("lab-*"))[0]
    for name in ("MANIFEST.json", "MANIFEST.json.sig"):
        shutil.copy(first / name, bundle / name)
    refused(bundle, trust, "changed")


def test_signed_again_by_another_key_is_refused(bundle, trust, tmp_path):
    """Everything in the bundle agrees, its own allowed_signers too: only the key is not the one to believe."""
    key = tmp_path / "thief"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text()
    signers = f'seawall-evidence namespaces="seawall-evidence" {public}'.encode()
    (bundle / "allowed_signers").write_bytes(signers)
    path = bundle / "MANIFEST.json"
    manifest = json.loads(path.read_text())
    for held in manifest["files"]:
        if held["path"] == "allowed_signers":
            held |= {"size": len(signers), "sha256": hashlib.sha256(signers).hexdigest()}
    path.write_text(json.dumps(manifest, sort_keys=True, separators=(",", ":")) + "\n")
    (bundle / "MANIFEST.json.sig").unlink()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "seawall-evidence", path], check=True)
    assert check.check(bundle, Trust(allowed=bundle / "allowed_signers")).faults == (), (
        "a forgery worth the name"
    )
    refused(bundle, trust, "MANIFEST.json.sig")
    own = subprocess.run(
        ["ssh-keygen", "-l", "-f", trust.allowed.parent / "signer.pub"], capture_output=True, text=True
    )
    assert (
        own.returncode != 0
    )  # there is no such file: the fingerprint comes from `seawall evidence key show`
    fingerprint = Keyring(trust.allowed.parent).required().fingerprint
    refused(bundle, Trust(key=fingerprint), "the key to believe is")


def test_a_signature_for_another_purpose_is_refused(folder, bundle, trust):
    key = Keyring(folder / "keys").required()
    (bundle / "MANIFEST.json.sig").unlink()
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", key.path, "-n", "git", bundle / "MANIFEST.json"]
    subprocess.run(command, check=True)
    refused(bundle, trust, "MANIFEST.json.sig")


def test_nobody_to_believe_or_no_bundle_is_not_a_verdict(bundle, trust, tmp_path):
    with pytest.raises(Problem, match="no key to believe") as problem:
        Trust.of(default=tmp_path / "nothing")
    assert problem.value.code == 1
    with pytest.raises(Problem, match="no bundle") as problem:
        check.check(tmp_path / "nothing", trust)
    assert problem.value.code == 1


# --- The chain ------------------------------------------------------------------------------------------


@pytest.fixture
def chained(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder / "bundles", tmp_path / "bundles"))


def test_a_whole_chain_holds(chained, trust):
    store = FolderStore(chained)
    for bundle in sorted(chained.glob("lab-*")):
        assert check.check(bundle, trust, store).faults == ()


def test_a_broken_chain_is_seen_from_every_bundle(chained, trust):
    store = FolderStore(chained)
    links = sorted((chained / "chain" / "lab").glob("*"))
    last = sorted(chained.glob("lab-*"))[1]
    assert [link.name for link in links] == [
        "000001.json",
        "000001.json.sig",
        "000002.json",
        "000002.json.sig",
    ]
    for link in links:
        held = link.read_bytes()
        link.unlink()
        assert check.check(last, trust, store).code == 2, f"without {link.name}"
        link.write_bytes(held[:-2] + bytes([held[-2] ^ 1]) + held[-1:])
        assert check.check(last, trust, store).code == 2, f"with another byte in {link.name}"
        link.write_bytes(held)
    assert check.check(last, trust, store).code == 0


def test_a_bundle_removed_from_the_store_is_seen_by_the_others(chained, trust):
    first, last = sorted(chained.glob("lab-*"))
    shutil.rmtree(first)
    verdict = check.check(last, trust, FolderStore(chained))
    assert verdict.code == 2
    assert first.name in " ".join(verdict.faults)


def test_bundles_that_took_each_others_names_are_seen(chained, trust):
    first, last = sorted(chained.glob("lab-*"))
    first.rename(chained / "aside")
    last.rename(first)
    (chained / "aside").rename(last)
    assert check.check(last, trust, FolderStore(chained)).code == 2


# --- Whole or absent ------------------------------------------------------------------------------------


def whole_or_absent(base: Path) -> list[Path]:
    """Every bundle there is verifies. Staging is none."""
    found = sorted((base / "bundles").glob("lab-*"))
    for bundle in found:
        verdict = check.check(bundle, Trust(allowed=base / "keys" / "allowed_signers"))
        assert verdict.faults == (), (bundle, verdict.faults)
    return found


def test_a_part_that_stops_leaves_nothing(tmp_path):
    def stops(context, folder):
        (folder / "half").write_text("half")
        raise Problem("a host went away")

    with pytest.raises(Problem, match="went away"):
        support.make(tmp_path, parts=(*support.PARTS, stops))
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [".lock"]


@pytest.mark.parametrize("what", ["link", "empty", "space"])
def test_a_part_that_writes_what_no_manifest_can_hold_is_refused(tmp_path, what):
    def wrong(context, folder):
        {
            "link": lambda: (folder / "link").symlink_to("findings.jsonl"),
            "empty": lambda: (folder / "empty").mkdir(),
            "space": lambda: (folder / "a b").write_text(""),
        }[what]()

    with pytest.raises(Problem, match="can't be sealed"):
        support.make(tmp_path, parts=(wrong,))
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [".lock"]


def test_a_host_that_went_away_makes_the_bundle_incomplete_not_less(tmp_path):
    gone = support.finding("app-2", "unknown", reason="app-2 could not be asked")
    droplets = {"droplets": {"app-1": {}, "app-2": {}, "app-3": {}}}
    bundle = support.make(tmp_path, findings=(support.finding(), gone), outputs=droplets)
    held = json.loads((bundle / "MANIFEST.json").read_text())
    assert held["lacking"] == [
        "1 of 1 controls did not run on app-3: sshd-root-login.",
        "sshd-root-login did not run on app-2: app-2 could not be asked.",
    ]
    assert "INCOMPLETE" in (bundle / "README.txt").read_text()
    assert held["counts"] == {"pass": 1, "unknown": 1}


RUN = """
import sys
from pathlib import Path
from tests.unit import evidence_support as support
def slow(context, folder):
    for number in range(40):
        (folder / f"list-{number}.csv").write_text("name,port\\n" * 2000)
print("begins", flush=True)
print(support.make(Path(sys.argv[1]), parts=(*support.PARTS, slow)), flush=True)
"""


def started(base: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(base)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "begins\n"
    return process


def test_killed_anywhere_it_is_whole_or_absent_and_the_next_run_carries_on(tmp_path):
    """Killed at moments drawn by a seed, from its first step to past its last; SEAWALL_SEED repeats one."""
    seed = int(os.environ.get("SEAWALL_SEED") or random.SystemRandom().randrange(2**32))
    print(f"SEAWALL_SEED={seed}")
    draw = random.Random(seed)
    support.keyring(tmp_path)
    for _ in range(8):
        process = started(tmp_path)
        try:
            process.wait(draw.uniform(0, 0.25))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        whole_or_absent(tmp_path)
    support.make(tmp_path)
    found = whole_or_absent(tmp_path)
    store, trust = FolderStore(tmp_path / "bundles"), Trust(allowed=tmp_path / "keys" / "allowed_signers")
    assert check.check(found[-1], trust, store).faults == ()
    sequences = [json.loads((bundle / "MANIFEST.json").read_text())["sequence"] for bundle in found]
    assert sequences == list(range(1, len(found) + 1))
    assert not list((tmp_path / "bundles").glob(".making-*"))


def test_killed_after_the_rename_its_place_in_the_chain_is_taken_by_the_next_run(tmp_path):
    first = support.make(tmp_path)
    shutil.rmtree(tmp_path / "bundles" / "chain")
    second = support.make(tmp_path)
    manifest = json.loads((second / "MANIFEST.json").read_text())
    assert (manifest["sequence"], manifest["previous"]["name"]) == (2, first.name)


def test_two_runs_at_once_make_two_bundles_one_after_the_other(tmp_path):
    support.keyring(tmp_path)
    runs = [started(tmp_path) for _ in range(2)]
    made = [run.communicate()[0].strip() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sorted(made) == [str(path) for path in whole_or_absent(tmp_path)]
    assert len(set(made)) == 2
    store, trust = FolderStore(tmp_path / "bundles"), Trust(allowed=tmp_path / "keys" / "allowed_signers")
    assert check.check(Path(max(made)), trust, store).faults == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_on_a_full_disk_there_is_no_bundle_and_a_sentence(tmp_path):
    small = tmp_path / "bundles"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], check=True)
    try:

        def large(context, folder):
            (folder / "large.csv").write_bytes(b"0" * 400_000)

        with pytest.raises(Problem, match="disk is full"):
            support.make(tmp_path, parts=(*support.PARTS, large))
        assert [path.name for path in small.iterdir()] == [".lock"]
        assert (
            check.check(support.make(tmp_path), Trust(allowed=tmp_path / "keys" / "allowed_signers")).code
            == 0
        )
    finally:
        subprocess.run(["umount", "-l", small], check=True)
