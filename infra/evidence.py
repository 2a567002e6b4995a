"""Where evidence is kept: a private bucket of Spaces that keeps versions, and a key for it alone.

Spaces knows no key that writes and may not delete: what is deleted or overwritten stays as a version, for as long as
evidence has to be kept, and the chain of the bundles shows it.
"""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_digitalocean as do

from infra.settings import Settings
from infra.stack import Stack

UPLOAD_DAYS = 7
"""After this many days the parts of an upload that never ended are taken away."""


def store(stack: Stack, settings: Settings) -> dict[str, Any]:
    """The bucket and its key, as outputs; nothing where no store is declared."""
    wanted = settings.evidence_store
    if wanted is None:
        return {}
    bucket = do.SpacesBucket(
        "evidence",
        name=wanted.bucket,
        region=wanted.region or settings.region,
        acl="private",
        versioning=do.SpacesBucketVersioningArgs(enabled=True),
        lifecycle_rules=[
            do.SpacesBucketLifecycleRuleArgs(
                id="evidence",
                enabled=True,
                abort_incomplete_multipart_upload_days=UPLOAD_DAYS,
                noncurrent_version_expiration=do.SpacesBucketLifecycleRuleNoncurrentVersionExpirationArgs(
                    days=wanted.keep_days
                ),
            )
        ],
        opts=pulumi.ResourceOptions(protect=settings.protect),
    )
    key = do.SpacesKey(
        "evidence",
        name=f"{stack.name}-evidence",
        grants=[do.SpacesKeyGrantArgs(bucket=bucket.name, permission="readwrite")],
    )
    return {
        "evidence_store": {"bucket": bucket.name, "region": bucket.region},
        "evidence_store_key": pulumi.Output.secret({"access": key.access_key, "secret": key.secret_key}),
    }
