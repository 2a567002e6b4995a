"""Spaces in the lab: who may what with a bucket, what outlives the daemon, and nobody without a key."""

from __future__ import annotations

import stat
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lab.engine.digitalocean.api import Api, Refusal
from lab.engine.digitalocean.spaces import BUCKET, Spaces
from lab.spaces import Server, root_key

ROOT, SECRET = root_key("token-of-a-test")
KEYS = {
    ROOT: (SECRET, {"": "fullaccess"}),
    "READ": ("read-secret", {"kept": "read"}),
    "WRITE": ("write-secret", {"kept": "readwrite"}),
}


def client(server: Server, key: str, secret: str = ""):
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{server.port}",
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret or KEYS[key][0],
        config=Config(retries={"max_attempts": 1}, request_checksum_calculation="when_required"),
    )


def refused(call, *arguments, **named) -> str:
    with pytest.raises(ClientError) as error:
        call(*arguments, **named)
    return error.value.response["Error"]["Code"]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spaces") / "spaces.jsonl"


@pytest.fixture(scope="module")
def server(journal: Path):
    server = Server(("127.0.0.1", 0), KEYS.get, journal)
    root = client(server, ROOT)
    root.create_bucket(Bucket="kept", ACL="private")
    root.create_bucket(Bucket="other")
    root.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    root.put_object(Bucket="kept", Key="a b/ü.json", Body=b"one")
    yield server
    server.close()


def test_a_key_does_what_it_was_granted_and_no_more(server):
    read, write = client(server, "READ"), client(server, "WRITE")
    assert read.get_object(Bucket="kept", Key="a b/ü.json")["Body"].read() == b"one"
    assert refused(read.put_object, Bucket="kept", Key="x", Body=b"x") == "AccessDenied"
    assert refused(read.list_objects_v2, Bucket="other") == "AccessDenied"
    write.put_object(Bucket="kept", Key="a b/ü.json", Body=b"two")
    # There is no key in Spaces that writes and may not delete; what it deletes stays as a version.
    write.delete_object(Bucket="kept", Key="a b/ü.json")
    versions = client(server, ROOT).list_object_versions(Bucket="kept")
    assert (len(versions["Versions"]), len(versions["DeleteMarkers"])) == (2, 1)
    for call, more in (
        (write.put_bucket_versioning, {"VersioningConfiguration": {"Status": "Suspended"}}),
        (write.put_bucket_acl, {"ACL": "public-read"}),
        (write.get_bucket_versioning, {}),
        (write.delete_bucket, {}),
    ):
        assert refused(call, Bucket="kept", **more) == "AccessDenied", call


def test_what_is_written_once_is_not_written_again(server):
    write = client(server, "WRITE")
    write.put_object(Bucket="kept", Key="once", Body=b"1", IfNoneMatch="*")
    assert (
        refused(write.put_object, Bucket="kept", Key="once", Body=b"2", IfNoneMatch="*")
        == "PreconditionFailed"
    )


def test_a_wrong_secret_an_unknown_key_and_nobody_are_refused(server):
    assert (
        refused(client(server, "READ", "guessed").list_objects_v2, Bucket="kept") == "SignatureDoesNotMatch"
    )
    assert refused(client(server, "GONE", "x").list_objects_v2, Bucket="kept") == "SignatureDoesNotMatch"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/kept/once")


def test_the_next_daemon_has_what_this_one_had(server, journal, tmp_path):
    from moto.s3.models import s3_backends

    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    client(server, ROOT).put_object(Bucket="kept", Key="chain/1.json", Body=bytes(range(256)))
    for backend in s3_backends.values():  # what a killed process forgets
        for region in backend.values():
            region.reset()
    assert client(server, ROOT).list_buckets()["Buckets"] == []
    copy = tmp_path / "spaces.jsonl"
    copy.write_text(journal.read_text() + '{"method": "PUT", "pa')  # cut off by the kill
    copy.chmod(0o600)
    second = Server(("127.0.0.1", 0), KEYS.get, copy)
    try:
        root = client(second, ROOT)
        assert root.get_object(Bucket="kept", Key="chain/1.json")["Body"].read() == bytes(range(256))
        assert root.get_bucket_versioning(Bucket="kept")["Status"] == "Enabled"
    finally:
        second.close()


RULE = {
    "id": "old",
    "enabled": True,
    "prefix": "a/",
    "noncurrentVersionExpiration": {"days": 396},
    "abortIncompleteMultipartUploadDays": 7,
}


@pytest.fixture
def api(server) -> Api:
    return Api("token", spaces=Spaces(ROOT, SECRET, f"http://127.0.0.1:{server.port}"))


def test_the_provider_makes_changes_and_reads_a_bucket(server, api):
    plan = {
        "name": "made", "region": "fra1", "acl": "private", "versioning": {"enabled": True}, "lifecycleRules": [RULE],
    }  # fmt: skip
    identity, properties = BUCKET.create(api, plan)
    assert identity == "made"
    properties = BUCKET.settle(api, identity, properties, 10)
    assert properties["lifecycleRules"] == [RULE]
    assert properties["bucketDomainName"] == "made.fra1.digitaloceanspaces.com"
    root = client(server, ROOT)
    root.put_bucket_versioning(Bucket="made", VersioningConfiguration={"Status": "Suspended"})
    seen = BUCKET.read(api, identity, properties)
    assert seen["versioning"] == {"enabled": False}, "what was changed by hand is seen"
    changed = BUCKET.change(api, identity, seen, {**plan, "lifecycleRules": []}, 10)
    assert (changed["versioning"], changed["lifecycleRules"]) == ({"enabled": True}, [])
    assert BUCKET.read(api, "fra1,made", None)["name"] == "made", "an import names region and bucket"

    root.put_object(Bucket="made", Key="evidence", Body=b"kept")
    with pytest.raises(Refusal, match="BucketNotEmpty"):
        BUCKET.delete(api, identity, changed, 10)
    assert root.get_object(Bucket="made", Key="evidence")["Body"].read() == b"kept"
    BUCKET.delete(api, identity, {**changed, "forceDestroy": True}, 10)
    assert BUCKET.read(api, identity, changed) is None
    BUCKET.delete(api, identity, changed, 10)


def test_without_a_key_or_with_a_lesser_one_the_next_step_is_told(server):
    plan = {"name": "nobodys", "region": "fra1", "acl": "private"}
    with pytest.raises(Refusal, match="There is no Spaces key"):
        BUCKET.create(Api("token"), plan)
    lesser = Spaces("READ", "read-secret", f"http://127.0.0.1:{server.port}")
    with pytest.raises(Refusal, match="lacks full access"):
        BUCKET.create(Api("token", spaces=lesser), plan)
