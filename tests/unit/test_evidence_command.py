"""`seawall evidence …` as it is typed: exit codes, one sentence where it can't, the same document in --json."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from seawall import cli
from tests.unit import evidence_support as support


class Ended(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def seawall(tmp_path, monkeypatch, capsys):
    """The command, in places of its own, without any lab or stack."""
    monkeypatch.setenv("SEAWALL_DIR", str(tmp_path / "root"))
    monkeypatch.delenv("SEAWALL_EVIDENCE_STORE", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ended:
        words = ["evidence", *map(str, arguments)]
        code = cli.guarded(lambda: cli.app(words, standalone_mode=False))
        return Ended(code, *capsys.readouterr())

    return run


def test_key_verify_and_list(seawall, tmp_path):
    bundle = support.make(tmp_path)
    nobody = seawall("verify", bundle)
    assert (nobody.code, "no key to believe" in nobody.stderr) == (1, True)
    mine = seawall("verify", bundle, "--key", support.keyring(tmp_path).required().fingerprint, "--json")
    assert mine.code == 0, mine.stdout + mine.stderr
    told = json.loads(mine.stdout)
    assert (told["verified"], told["complete"], told["sequence"], told["faults"]) == (True, True, 1, [])
    made = seawall("key", "make")
    assert made.code == 0, made.stderr
    shown = json.loads(seawall("key", "show", "--json").stdout)
    assert shown["fingerprint"] in made.stdout
    another = seawall("verify", bundle)
    assert (another.code, "NOT what was signed" in another.stdout) == (2, True)
    empty = seawall("list", "--json")
    assert (empty.code, json.loads(empty.stdout)["bundles"]) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("verify",), 64, "Missing argument"),
        (("verify", "nothing", "--key", "SHA256:x"), 1, "no bundle nothing"),
        (("verify", "nothing", "--key", "me"), 64, "neither a fingerprint"),
        (("verify", "nothing", "--allowed-signers", "nothing"), 1, "no key to believe"),
        (("key", "show"), 1, "key make"),
        (("key", "rotate"), 1, "key make"),
        (("key", "make", "--use", "nothing.pub"), 64, "no key"),
        (("list", "--store", "ftp://x"), 64, "no store"),
        (("push", "--store", "ftp://x"), 64, "no store"),
        (("push",), 1, "The lab does not run"),
        (("--no-such",), 64, "--no-such"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_its_code(seawall, arguments, code, said):
    ended = seawall(*arguments)
    assert ended.code == code, ended.stdout + ended.stderr
    assert said in ended.stderr
