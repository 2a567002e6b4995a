"""Where bundles are kept: a folder, and a real S3 over HTTP (moto's server) with versioning on."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from moto.server import ThreadedMotoServer

from seawall.evidence import command, store
from seawall.evidence.check import Trust, chain_faults, check
from seawall.evidence.store import FolderStore, S3Store, open_store
from seawall.places import Places
from seawall.problem import Problem
from tests.unit import evidence_support as support


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def environment(endpoint, monkeypatch, request):
    values = {
        "SPACES_ENDPOINT_URL": endpoint,
        "SPACES_ACCESS_KEY_ID": "DO00EXAMPLE",
        "SPACES_SECRET_ACCESS_KEY": "not-a-secret-of-anybody",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def bucket(environment, request):
    """An empty bucket that keeps versions, as an administrator would make it."""
    name = f"evidence-{abs(hash(request.node.name)) % 10**8}"
    client = boto3.client(
        "s3",
        endpoint_url=environment["SPACES_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="y",
    )
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return client, name


@pytest.fixture(params=["folder", "s3"])
def kept(request, tmp_path, environment):
    if request.param == "folder":
        return open_store(str(tmp_path / "store"), environment)
    _, name = request.getfixturevalue("bucket")
    return open_store(f"s3://{name}/evidence", environment)


def trust(base) -> Trust:
    return Trust(allowed=base / "keys" / "allowed_signers")


def test_what_is_there_is_never_written_again(kept):
    assert kept.put_new("lab-1/a", b"one") is True
    assert kept.put_new("lab-1/a", b"one") is False
    with pytest.raises(Problem, match="never overwritten") as problem:
        kept.put_new("lab-1/a", b"other")
    assert problem.value.code == 2
    assert kept.get("lab-1/a") == b"one"
    with pytest.raises(store.Missing):
        kept.get("lab-1/b")
    kept.put_new("lab-10/a", b"")
    assert kept.keys("lab-1") == ["lab-1/a"]
    assert kept.keys("") == ["lab-1/a", "lab-10/a"]


def test_bundles_and_their_chain_go_up_whole_and_verify_from_there(kept, tmp_path):
    made = [support.make(tmp_path) for _ in range(2)]
    output = tmp_path / "bundles"
    assert store.push(output, kept, "lab") == sum(len(list(each.iterdir())) for each in made) + 4
    assert store.push(output, kept, "lab") == 0
    assert chain_faults(kept, "lab", trust(tmp_path)) == []
    for each in made:
        copy = store.copy_into(tmp_path / "copy", kept, each.name)
        assert check(copy, trust(tmp_path), kept).faults == ()


class Cut(Exception):
    pass


def test_an_upload_cut_off_after_any_file_goes_on_and_loses_nothing(kept, tmp_path, monkeypatch):
    bundle = support.make(tmp_path)
    output = tmp_path / "bundles"
    sent: list[str] = []
    put_new = type(kept).put_new
    limit = 0

    def cut(self, key, content):
        if len(sent) == limit and key not in sent:
            raise Cut
        new = put_new(self, key, content)
        sent.extend([key] if new else [])
        return new

    monkeypatch.setattr(type(kept), "put_new", cut)
    for limit in range(1, len(list(bundle.iterdir())) + 2):  # noqa: B007 (``cut`` reads it)
        with pytest.raises(Cut):
            store.push(output, kept, "lab")
        assert store.sequences(kept, "lab") == []
    limit = -1
    assert store.push(output, kept, "lab") == 1
    assert len(sent) == len(set(sent)), "a file was sent twice"
    assert sent[-3:] == [
        f"{bundle.name}/MANIFEST.json.sig", "chain/lab/000001.json.sig", "chain/lab/000001.json",
    ]  # fmt: skip
    copy = store.copy_into(tmp_path / "copy", kept, bundle.name)
    assert check(copy, trust(tmp_path), kept).faults == ()


def test_what_is_deleted_or_changed_in_the_store_is_seen(kept, tmp_path):
    first, last = support.make(tmp_path), support.make(tmp_path)
    store.push(tmp_path / "bundles", kept, "lab")
    kept.delete(f"{first.name}/MANIFEST.json.sig")
    assert first.name in " ".join(chain_faults(kept, "lab", trust(tmp_path)))
    kept.put_new(f"{first.name}/MANIFEST.json.sig", (first / "MANIFEST.json.sig").read_bytes())
    assert chain_faults(kept, "lab", trust(tmp_path)) == []
    kept.delete("chain/lab/000001.json")
    assert "lacks place 1" in " ".join(chain_faults(kept, "lab", trust(tmp_path)))
    kept.put_new("chain/lab/000001.json", (first / "MANIFEST.json").read_bytes())
    kept.delete(f"{last.name}/findings.jsonl")
    copy = store.copy_into(tmp_path / "copy", kept, last.name)
    assert check(copy, trust(tmp_path), kept).code == 2


def test_two_machines_that_took_the_same_place_are_told_apart(kept, tmp_path):
    support.make(tmp_path)
    store.push(tmp_path / "bundles", kept, "lab")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(tmp_path / "keys", other / "keys")
    support.make(other, findings=(support.finding(status="fail"),))
    with pytest.raises(Problem, match="took the same place"):
        store.push(other / "bundles", kept, "lab")


def test_another_machine_goes_on_where_the_chain_ends(kept, tmp_path):
    first = support.make(tmp_path)
    store.push(tmp_path / "bundles", kept, "lab")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(tmp_path / "keys", other / "keys")
    (other / "bundles").mkdir()
    store.pull_chain(other / "bundles", kept, "lab")
    second = support.make(other)
    held = json.loads((second / "MANIFEST.json").read_text())
    assert (held["sequence"], held["previous"]["name"]) == (2, first.name)
    store.push(other / "bundles", kept, "lab")
    assert chain_faults(kept, "lab", trust(tmp_path)) == []


def test_versions_survive_a_deletion_and_their_absence_is_told(bucket, environment, tmp_path):
    client, name = bucket
    kept = S3Store(f"s3://{name}", environment)
    assert kept.warnings() == []
    kept.put_new("a", b"one")
    kept.delete("a")
    assert [each["Key"] for each in client.list_object_versions(Bucket=name)["Versions"]] == ["a"]
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    assert "keeps no versions" in kept.warnings()[0]


def test_a_store_that_does_not_answer_is_a_problem_not_a_verdict(environment, tmp_path):
    support.make(tmp_path)
    gone = S3Store("s3://no-such-bucket", environment)
    with pytest.raises(Problem, match="NoSuchBucket") as problem:
        store.push(tmp_path / "bundles", gone, "lab")
    assert problem.value.code == 1


@pytest.mark.parametrize("text", ["s3://", "https://example.com/x", "gs://bucket"])
def test_what_is_no_store_is_refused(text):
    with pytest.raises(Problem) as problem:
        open_store(text, {})
    assert problem.value.code == 64


# --- List and retention -----------------------------------------------------------------------------------


@pytest.fixture
def where(tmp_path) -> Places:
    """Places whose evidence folder holds the key that signs, as on the machine that makes bundles."""
    root = tmp_path / "root"
    root.mkdir()
    support.keyring(tmp_path)
    shutil.copytree(tmp_path / "keys", root / "evidence")
    return Places(root)


def test_the_list_says_time_state_and_whether_the_chain_holds(kept, tmp_path, where):
    support.make(tmp_path)
    support.make(tmp_path, findings=())
    store.push(tmp_path / "bundles", kept, "lab")
    name = kept.where if isinstance(kept, S3Store) else str(kept.folder)
    told = command.listed(where, None, name, prune=False)
    assert [(row.sequence, row.status) for row in told.rows] == [(1, "complete"), (2, "incomplete")]
    assert (told.code, told.faults, told.removable) == (0, [], [])
    assert json.loads(json.dumps(told.document()))["chain_ok"] is True
    kept.delete("chain/lab/000001.json")
    assert command.listed(where, None, name, prune=False).code == 2


def test_nothing_younger_than_thirteen_months_is_ever_removed(kept, tmp_path, where):
    first, second, third = (support.make(tmp_path) for _ in range(3))
    store.push(tmp_path / "bundles", kept, "lab")
    name = kept.where if isinstance(kept, S3Store) else str(kept.folder)
    made = datetime.now(UTC)
    year = made + timedelta(days=395)
    assert command.listed(where, None, name, prune=True, now=year).removed == []
    later = made + timedelta(days=397)
    assert command.listed(where, None, name, prune=False, now=later).removable == [first.name, second.name]
    assert kept.keys(first.name) != []
    told = command.listed(where, None, name, prune=True, now=later)
    assert told.removed == [first.name, second.name]
    assert kept.keys(first.name) == kept.keys(second.name) == []
    assert kept.keys(third.name) != [], "the newest is kept, however old"
    assert store.sequences(kept, "lab") == [1, 2, 3], "the chain stays"
    after = command.listed(where, None, name, prune=False, now=later)
    assert (after.faults, [row.status for row in after.rows]) == ([], ["expired", "expired", "complete"])


def test_a_chain_cut_at_its_end_is_seen_by_the_machine_that_made_it(tmp_path, where):
    support.make(tmp_path)
    support.make(tmp_path)
    shutil.copytree(tmp_path / "bundles", where.root / "evidence" / "bundles")
    copy = FolderStore(tmp_path / "bundles")
    for name in ("000002.json", "000002.json.sig"):
        copy.delete(f"chain/lab/{name}")
    told = command.listed(where, None, str(copy.folder), prune=False)
    assert told.code == 2
    assert "its end was cut off" in told.faults[0]
