"""Spaces buckets: private, and nothing lost by overwriting."""

from policy.cloud import Bucket
from policy.rule import rule

UNSEEN = "the API v2 lists no buckets; Spaces speaks S3, with keys of its own"


@rule(
    "bucket-private",
    "A bucket is private",
    on=Bucket,
    severity="critical",
    requirements=["pci-1.4.4", "pci-10.3.1"],
    remedy="Set acl to private.",
    unseen=UNSEEN,
)
def private(bucket):
    if bucket.acl not in (None, "private"):
        yield f"its acl is {bucket.acl}"


@rule(
    "bucket-versioned",
    "A bucket keeps what is overwritten or deleted",
    on=Bucket,
    severity="high",
    requirements=["pci-10.3.2"],
    remedy="Enable versioning.",
    unseen=UNSEEN,
)
def versioned(bucket):
    if bucket.versioned is False:
        yield "versioning is off"


@rule(
    "bucket-force-destroy",
    "A bucket with something in it is not deleted with its stack",
    on=Bucket,
    severity="medium",
    requirements=["pci-10.5.1"],
    remedy="Leave force_destroy off.",
    unseen=UNSEEN,
)
def force_destroy(bucket):
    if bucket.force_destroy:
        yield "force_destroy is on"
