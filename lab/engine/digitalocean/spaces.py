"""Spaces: a bucket, spoken to in S3 with a key of its own kind, and a key, made through the API.

As with the official provider, the ACL is not read back, and a bucket's id is its name.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab.engine.digitalocean.api import Api, Refusal, segment
from lab.engine.digitalocean.fields import (
    Field,
    array,
    block,
    flag,
    integer,
    kept,
    name,
    not_empty,
    official_only,
    one_of,
    text,
    told,
)
from lab.engine.digitalocean.resource import Answer, Properties, Resource, received, sent


def _bucket_name(value: str) -> str | None:
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", value):
        return None
    return f"is {value!r}; a bucket's name is 3 to 63 lower-case letters, digits and hyphens, no hyphen first or last"


@dataclass(frozen=True)
class Spaces:
    """Where buckets are, and the key that opens them. ``endpoint`` may name ``{region}``."""

    key: str
    secret: str
    endpoint: str = "https://{region}.digitaloceanspaces.com"

    def client(self, region: str) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint.replace("{region}", region),
            region_name="us-east-1",  # what Spaces takes in signatures, whatever the region
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(
                retries={"mode": "standard", "max_attempts": 5},
                connect_timeout=10,
                read_timeout=30,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


def _ask(doing: str, call: Callable[[], Any]) -> Any:
    """A call to S3; None where the bucket, or that setting of it, is not there."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call()
    except ClientError as error:
        code, said = (
            error.response["Error"]["Code"],
            error.response["Error"].get("Message") or "no reason given",
        )
        if code in ("404", "NoSuchBucket", "NoSuchLifecycleConfiguration"):
            return None
        following = NEXT.get(code, "Put that right and run `pulumi up` again.")
        raise Refusal(
            f"Spaces refused {doing}: {said.rstrip('.')} ({code}). {following}",
            status=int(error.response["ResponseMetadata"].get("HTTPStatusCode") or 0),
            reason=code,
        ) from None
    except BotoCoreError as error:
        raise Refusal(f"Spaces did not answer while {doing} ({error}). Check SPACES_ENDPOINT_URL.") from None


NEXT = {
    "AccessDenied": "The Spaces key lacks full access to this bucket: make one that has it in the control panel.",
    "SignatureDoesNotMatch": "The Spaces key is mistyped or was deleted: set digitalocean:spacesAccessId and "
    "digitalocean:spacesSecretKey (secret), or SPACES_ACCESS_KEY_ID and SPACES_SECRET_ACCESS_KEY.",
    "InvalidAccessKeyId": "The Spaces key was deleted: make another and set digitalocean:spacesAccessId.",
    "BucketAlreadyExists": "Bucket names are shared by everybody in a region: choose another name.",
    "BucketAlreadyOwnedByYou": "A bucket of that name is there already: `pulumi import` it, or choose another name.",
    "BucketNotEmpty": "Nothing in it was touched. Take it away yourself, or take the bucket out of the stack with "
    "`pulumi state delete` and keep it.",
}


class Bucket(Resource):
    """Made private and then set up; one that something is in is never deleted unless ``forceDestroy`` says so."""

    def create(self, api: Api, plan: Properties) -> tuple[str, Properties]:
        client, bucket, doing = _client(api, plan), plan["name"], f"creating {self.called(plan)}"
        made = lambda: client.create_bucket(Bucket=bucket, ACL=plan.get("acl") or "private")  # noqa: E731
        _ask(doing, made)
        # The bucket is there: what follows may fail, and then the state has to know it.
        return bucket, {**kept(self.fields, plan), **_names(plan)}

    def settle(self, api: Api, identity: str, properties: Properties, seconds: float) -> Properties:
        client, doing = _client(api, properties), f"setting up {self.called(properties)}"
        _set_up(client, identity, {}, properties, doing)
        found = self.read(api, identity, properties)
        if found is None:
            raise Refusal(
                f"{self.called(properties)} is gone while it was being set up. Run `pulumi up` again."
            )
        return found

    def read(self, api: Api, identity: str, properties: Properties | None) -> Properties | None:
        if properties is None:
            region, _, bucket = identity.rpartition(",")
            properties = {"name": bucket, "region": region}
        client, bucket = _client(api, properties), properties["name"]
        doing = f"reading {self.called(properties)}"
        if _ask(doing, lambda: client.head_bucket(Bucket=bucket)) is None:
            return None
        state = _ask(doing, lambda: client.get_bucket_versioning(Bucket=bucket)) or {}
        rules = _ask(doing, lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket)) or {}
        found = {key: value for key, value in properties.items() if key in self.fields}
        return {
            **found,
            **_names(properties),
            "versioning": {"enabled": state.get("Status") == "Enabled"},
            "lifecycleRules": [_rule_read(rule) for rule in rules.get("Rules") or []],
        }

    def change(
        self, api: Api, identity: str, state: Properties, plan: Properties, seconds: float
    ) -> Properties:
        _set_up(_client(api, plan), identity, state, plan, f"updating {self.called(plan)}")
        found = self.read(api, identity, kept(self.fields, plan))
        if found is None:
            raise Refusal(f"{self.called(plan)} is gone. `pulumi refresh` brings the state up to date.")
        return found

    def delete(self, api: Api, identity: str, properties: Properties, seconds: float) -> None:
        client, doing = _client(api, properties), f"deleting {self.called(properties)}"
        if properties.get("forceDestroy"):
            pages = _ask(
                doing, lambda: list(client.get_paginator("list_object_versions").paginate(Bucket=identity))
            )
            for page in pages or []:
                for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                    where = {"Bucket": identity, "Key": each["Key"], "VersionId": each["VersionId"]}
                    _ask(doing, functools.partial(client.delete_object, **where))
        _ask(doing, lambda: client.delete_bucket(Bucket=identity))


def _client(api: Api, properties: Properties) -> Any:
    if api.spaces is None:
        raise Refusal(
            "There is no Spaces key, and buckets are opened with one, not with the token. Make one with full access in "
            "the control panel and set it: `pulumi config set digitalocean:spacesAccessId`, and `--secret` "
            "digitalocean:spacesSecretKey; or SPACES_ACCESS_KEY_ID and SPACES_SECRET_ACCESS_KEY."
        )
    return api.spaces.client(properties["region"])


def _names(properties: Properties) -> Properties:
    region, bucket = properties["region"], properties["name"]
    return {
        "bucketDomainName": f"{bucket}.{region}.digitaloceanspaces.com",
        "endpoint": f"{region}.digitaloceanspaces.com",
        "bucketUrn": f"do:space:{bucket}",
    }


def _set_up(client: Any, bucket: str, state: Properties, plan: Properties, doing: str) -> None:
    """Bring ACL, versioning and lifecycle to what ``plan`` says."""
    if state.get("acl", plan.get("acl")) != plan.get("acl"):
        _ask(doing, lambda: client.put_bucket_acl(Bucket=bucket, ACL=plan.get("acl") or "private"))
    wanted, before = bool((plan.get("versioning") or {}).get("enabled")), state.get("versioning") or {}
    if wanted or before.get("enabled"):
        status = {"Status": "Enabled" if wanted else "Suspended"}
        _ask(doing, lambda: client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=status))
    if rules := plan.get("lifecycleRules"):
        document = {"Rules": [_rule_sent(rule, number) for number, rule in enumerate(rules, 1)]}
        _ask(
            doing,
            lambda: client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=document),
        )
    elif state.get("lifecycleRules"):
        _ask(doing, lambda: client.delete_bucket_lifecycle(Bucket=bucket))


def _rule_sent(rule: Properties, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ID": rule.get("id") or f"rule-{number}",
        "Status": "Enabled" if rule["enabled"] else "Disabled",
        "Filter": {"Prefix": rule.get("prefix") or ""},
    }
    if expiration := rule.get("expiration"):
        words = {"days": "Days", "date": "Date", "expiredObjectDeleteMarker": "ExpiredObjectDeleteMarker"}
        found["Expiration"] = {words[key]: value for key, value in expiration.items() if value}
    if days := (rule.get("noncurrentVersionExpiration") or {}).get("days"):
        found["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
    if days := rule.get("abortIncompleteMultipartUploadDays"):
        found["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    return found


def _rule_read(rule: dict[str, Any]) -> Properties:
    found: Properties = {"id": rule.get("ID", ""), "enabled": rule.get("Status") == "Enabled"}
    if prefix := rule.get("Prefix") or (rule.get("Filter") or {}).get("Prefix"):
        found["prefix"] = prefix
    if expiration := rule.get("Expiration"):
        words = {"Days": "days", "ExpiredObjectDeleteMarker": "expiredObjectDeleteMarker"}
        found["expiration"] = {words[key]: value for key, value in expiration.items() if key in words}
        if date := expiration.get("Date"):
            found["expiration"]["date"] = f"{date:%Y-%m-%d}"
    if days := (rule.get("NoncurrentVersionExpiration") or {}).get("NoncurrentDays"):
        found["noncurrentVersionExpiration"] = {"days": days}
    if days := (rule.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation"):
        found["abortIncompleteMultipartUploadDays"] = days
    return found


def _always(old: Any, new: Any) -> bool:
    """The official schema does not announce it, and the bucket is replaced all the same."""
    return True


BUCKET = Bucket(
    token="digitalocean:index/spacesBucket:SpacesBucket",  # noqa: S106
    noun="bucket",
    path="",
    envelope="",
    fields={
        "name": Field(named=True, replace=_always, check=_bucket_name),
        "region": text(default="nyc3", replace=True, stored=str.lower, check=not_empty),
        "acl": text(default="private", check=one_of("private", "public-read")),
        "forceDestroy": flag(default=False),
        "versioning": block("SpacesBucketVersioning", {"enabled": flag(default=False)}),
        "lifecycleRules": array(
            block(
                "SpacesBucketLifecycleRule",
                {
                    "id": text(computed=True),
                    "enabled": flag(required=True),
                    "prefix": text(),
                    "expiration": block(
                        "SpacesBucketLifecycleRuleExpiration",
                        {"date": text(), "days": integer(), "expiredObjectDeleteMarker": flag()},
                    ),
                    "noncurrentVersionExpiration": block(
                        "SpacesBucketLifecycleRuleNoncurrentVersionExpiration", {"days": integer()}
                    ),
                    "abortIncompleteMultipartUploadDays": integer(),
                },
            )
        ),
        "corsRules": array(
            block(
                "SpacesBucketCorsRule",
                {
                    "allowedHeaders": array(text()),
                    "allowedMethods": array(text(), required=True),
                    "allowedOrigins": array(text(), required=True),
                    "maxAgeSeconds": integer(),
                },
            ),
            check=official_only("Evidence is read by programs, which need no CORS."),
        ),
        "bucketDomainName": told(),
        "bucketUrn": told(),
        "endpoint": told(),
    },
)


class Key(Resource):
    """Its secret is told once, when it is made: where that answer is lost, the key is no use and taken away again."""

    def create(self, api: Api, plan: Properties) -> tuple[str, Properties]:
        doing, began = f"creating {self.called(plan)}", time.time()
        try:
            document = api.call("POST", self.path, doing, sent(self.fields, plan))["key"]
        except Refusal as refused:
            if not 0 < refused.status < 500 and (found := self.lost(api, plan, began, doing)):
                api.call("DELETE", f"{self.path}/{segment(found['access_key'])}", doing)
            raise
        return document["access_key"], {**kept(self.fields, plan), "secretKey": document["secret_key"]}


def _told(api: Api, document: Answer) -> Properties:
    return {key: value for key, value in received(KEY.fields, document).items() if key != "secretKey"}


def _update(api: Api, identity: str, state: Properties, plan: Properties) -> None:
    where = f"/v2/spaces/keys/{segment(identity)}"
    api.call("PUT", where, f"updating the Spaces key {plan['name']}", sent(KEY.fields, plan))


KEY = Key(
    token="digitalocean:index/spacesKey:SpacesKey",  # noqa: S106
    noun="Spaces key",
    path="/v2/spaces/keys",
    envelope="key",
    listed="keys",
    fields={
        "name": name(),
        "grants": array(
            block(
                "SpacesKeyGrant",
                {
                    "bucket": text(required=True),
                    "permission": text(required=True, check=one_of("read", "readwrite", "fullaccess")),
                },
            )
        ),
        "accessKey": told(),
        "secretKey": told(secret=True),
        "createdAt": told(),
    },
    answer=_told,
    update=_update,
    key="access_key",
)
