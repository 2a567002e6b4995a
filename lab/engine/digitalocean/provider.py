"""The provider as the engine sees it: Pulumi's resource provider protocol over our tables.

On the SDK's generated gRPC service rather than on ``pulumi.provider.experimental``: that one is a single event
loop (a waiting droplet would hold up all others), cannot marshal the unknown values of a preview, and has no way
to say "created, but not ready", which is what keeps a half-made droplet in the state.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from lab.engine import PROVIDER_VERSION
from lab.engine.digitalocean import fields, wire
from lab.engine.digitalocean.api import DEFAULT_ENDPOINT, Api, Refusal
from lab.engine.digitalocean.certificate import CERTIFICATE
from lab.engine.digitalocean.domain import DNS_RECORD, DOMAIN
from lab.engine.digitalocean.droplet import DROPLET
from lab.engine.digitalocean.firewall import FIREWALL
from lab.engine.digitalocean.load_balancer import LOAD_BALANCER
from lab.engine.digitalocean.monitoring import MONITOR_ALERT, UPTIME_ALERT, UPTIME_CHECK
from lab.engine.digitalocean.nat_gateway import NAT_GATEWAY
from lab.engine.digitalocean.project import PROJECT, PROJECT_RESOURCES
from lab.engine.digitalocean.reserved_ip import RESERVED_IP, RESERVED_IP_ASSIGNMENT
from lab.engine.digitalocean.resource import Properties, Resource
from lab.engine.digitalocean.schema import schema
from lab.engine.digitalocean.spaces import BUCKET, KEY, Spaces
from lab.engine.digitalocean.ssh_key import SSH_KEY
from lab.engine.digitalocean.tag import TAG
from lab.engine.digitalocean.vpc import VPC

RESOURCES = {
    resource.token: resource
    for resource in (
        VPC,
        NAT_GATEWAY,
        SSH_KEY,
        TAG,
        DROPLET,
        RESERVED_IP,
        RESERVED_IP_ASSIGNMENT,
        FIREWALL,
        CERTIFICATE,
        LOAD_BALANCER,
        DOMAIN,
        DNS_RECORD,
        PROJECT,
        PROJECT_RESOURCES,
        MONITOR_ALERT,
        UPTIME_CHECK,
        UPTIME_ALERT,
        BUCKET,
        KEY,
    )
}

TERRAFORM_TIMEOUTS = "e2bfb730-ecaa-11e6-8f88-34363bc7c4c0"
"""The key under which Terraform's SDK keeps a resource's deadlines, in nanoseconds, in ``__meta``."""

KINDS = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
}

Method = TypeVar("Method", bound=Callable[..., Any])

WORKERS = 64
"""Operations at once. Most only wait, for a droplet to boot or a limit to pass."""


class HalfDone(Exception):
    """A resource is there and not as it should be: it has to stay in the state, as what it is now."""

    def __init__(self, identity: str, properties: Struct, inputs: Struct, refused: Refusal) -> None:
        super().__init__(str(refused))
        self.detail = any_pb2.Any()
        self.detail.Pack(
            provider_pb2.ErrorResourceInitFailed(
                id=identity, properties=properties, inputs=inputs, reasons=[str(refused)]
            )
        )


def one_paragraph(method: Method) -> Method:
    """What goes wrong becomes the call's error: its paragraph and nothing else."""

    @functools.wraps(method)
    def guarded(self: Provider, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except HalfDone as error:
            code = grpc.StatusCode.UNKNOWN
            status = status_pb2.Status(code=code.value[0], message=str(error), details=[error.detail])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            message = str(error)
        except Refusal as error:
            message = str(error)
        except (LookupError, TypeError, ValueError) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            message = (
                f"DigitalOcean answered something this provider does not understand ({type(error).__name__}: {error}, "
                f"in {Path(where.filename).name} line {where.lineno}). Please report it."
            )
        context.abort(grpc.StatusCode.UNKNOWN, message)

    return guarded  # type: ignore[return-value]


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One configured provider. Every method is one call of the engine, on a thread of its own."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.api: Api | None = None

    # About the provider

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=PROVIDER_VERSION)

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema(RESOURCES.values())))

    def Attach(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self.cancelled.set()
        return empty_pb2.Empty()

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        wrong = endpoint_fault(wire.read(request.news).get("apiEndpoint"))
        failures = [provider_pb2.CheckFailure(reason=wrong)] if wrong else []
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def DiffConfig(
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        """Another token or endpoint is the same account to us: never a reason to replace what it made."""
        olds, news = wire.read(request.olds), wire.read(request.news)
        changed = sorted(key for key in olds.keys() | news.keys() if olds.get(key) != news.get(key))
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=changed,
        )

    @one_paragraph
    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        given, env = wire.read(request.args), os.environ
        token = given.get("token") or env.get("DIGITALOCEAN_TOKEN") or env.get("DIGITALOCEAN_ACCESS_TOKEN")
        endpoint = given.get("apiEndpoint") or env.get("DIGITALOCEAN_API_URL") or DEFAULT_ENDPOINT
        if not token:
            raise Refusal(
                'There is no DigitalOcean token. Set DIGITALOCEAN_TOKEN (`eval "$(seawall env)"` does for the lab), '
                "or `pulumi config set digitalocean:token --secret`, then run this again."
            )
        if wrong := endpoint_fault(endpoint):
            raise Refusal(wrong)
        key = given.get("spacesAccessId") or env.get("SPACES_ACCESS_KEY_ID")
        secret = given.get("spacesSecretKey") or env.get("SPACES_SECRET_ACCESS_KEY")
        where = given.get("spacesEndpoint") or env.get("SPACES_ENDPOINT_URL") or Spaces.endpoint
        if wrong := endpoint_fault(where, "SPACES_ENDPOINT_URL or digitalocean:spacesEndpoint"):
            raise Refusal(wrong)
        spaces = Spaces(str(key), str(secret), str(where)) if key and secret else None
        self.api = Api(str(token), str(endpoint), self.cancelled, spaces)
        return provider_pb2.ConfigureResponse(supportsPreview=True, supports_autonaming_configuration=True)

    # Decisions

    @one_paragraph
    def Check(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        resource = known(request.urn)
        inputs, faults = fields.prepare(
            resource.fields, wire.read(request.news), wire.read(request.olds), lambda: unique_name(request)
        )
        return provider_pb2.CheckResponse(
            inputs=wire.write(fields.sealed(resource.fields, inputs)),
            # The property is named in the sentence only: given apart, the engine would print its value, secret or not.
            failures=[provider_pb2.CheckFailure(reason=f"{where} {why}") for where, why in faults],
        )

    @one_paragraph
    def Diff(
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        resource = known(request.urn)
        inputs = wire.read(request.news)
        found = [
            change
            for change in fields.changes(resource.fields, wire.read(request.olds), inputs)
            if not any(_covers(ignored, change.path) for ignored in request.ignoreChanges)
        ]
        replaces = sorted({change.property for change in found if change.replace})
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=sorted({change.property for change in found}),
            replaces=replaces,
            stables=sorted(
                key for key, field in resource.fields.items() if field.replace is True and key not in replaces
            ),
            deleteBeforeReplace=bool(replaces) and name_is_taken(inputs),
            detailedDiff={
                change.path: provider_pb2.PropertyDiff(kind=KINDS[change.kind, change.replace])
                for change in found
            },
            hasDetailedDiff=True,
        )

    # Deeds

    @one_paragraph
    def Create(
        self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CreateResponse:
        resource = known(request.urn)
        plan = fields.planned(resource.fields, {}, wire.read(request.properties))
        if request.preview:
            return provider_pb2.CreateResponse(
                properties=_state(resource, fields.foretold(resource.fields, plan))
            )
        identity, properties = resource.create(self._api, plan)
        try:
            seconds = resource.deadline("create", request.timeout)
            properties = resource.settle(self._api, identity, properties, seconds)
        except Refusal as refused:
            raise HalfDone(identity, _state(resource, properties), request.properties, refused) from None
        return provider_pb2.CreateResponse(id=identity, properties=_state(resource, properties))

    @one_paragraph
    def Read(
        self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ReadResponse:
        resource = known(request.urn)
        before = wire.read(request.properties)
        properties = resource.read(self._api, request.id, before or None)
        if properties is None:
            return provider_pb2.ReadResponse()
        inputs = (
            fields.refreshed(resource.fields, wire.read(request.inputs), properties)
            if before
            else fields.imported(resource.fields, properties)
        )
        return provider_pb2.ReadResponse(
            id=request.id,
            properties=_state(resource, properties),
            inputs=wire.write(fields.sealed(resource.fields, inputs)),
        )

    @one_paragraph
    def Update(
        self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.UpdateResponse:
        resource = known(request.urn)
        state = wire.read(request.olds)
        plan = fields.planned(resource.fields, state, wire.read(request.news))
        if request.preview:
            told = {key: value for key, value in state.items() if key in resource.fields}
            foreseen = told | fields.kept(resource.fields, plan)
            return provider_pb2.UpdateResponse(properties=_state(resource, foreseen))
        try:
            seconds = resource.deadline("update", request.timeout)
            properties = resource.change(self._api, request.id, state, plan, seconds)
        except Refusal as refused:
            # Some of it may have come about: the state has to say what is, or the next run starts from a fiction.
            now = resource.read(self._api, request.id, state) if refused.status else None
            if now is None:
                raise
            raise HalfDone(request.id, _state(resource, now), request.news, refused) from None
        return provider_pb2.UpdateResponse(properties=_state(resource, properties))

    @one_paragraph
    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        resource = known(request.urn)
        seconds = resource.deadline("delete", request.timeout)
        resource.delete(self._api, request.id, wire.read(request.properties), seconds)
        return empty_pb2.Empty()

    @property
    def _api(self) -> Api:
        assert self.api is not None, "the engine configures a provider before it uses it"
        return self.api


def known(urn: str) -> Resource:
    """The table for a resource's type."""
    token = urn.split("::")[2].split("$")[-1]
    if token not in RESOURCES:
        raise Refusal(
            f"The provider built for closed networks does not serve {token}. Where Pulumi's downloads are reachable, "
            f"`pulumi plugin install resource digitalocean v{PROVIDER_VERSION}` brings the official one, which does."
        )
    return RESOURCES[token]


def endpoint_fault(
    endpoint: Any, named: str = "DIGITALOCEAN_API_URL or digitalocean:apiEndpoint"
) -> str | None:
    """What is wrong with an API address: the token goes there, so it has to be encrypted, or stay on this machine."""
    if endpoint is None or endpoint is wire.UNKNOWN:
        return None
    try:
        parts = urlsplit(str(endpoint))
        local = parts.hostname in ("127.0.0.1", "127.0.0.2", "localhost", "::1")
    except ValueError:
        parts, local = urlsplit(""), False
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and local)):
        return None
    return (
        f"The API address {endpoint!r} is neither https nor http on this machine, and the token would go there. "
        f"Correct {named}."
    )


def unique_name(request: provider_pb2.CheckRequest) -> str:
    """A name for a resource that was given none: the engine's proposal, or its own name and seven random digits."""
    if request.HasField("autonaming"):
        return request.autonaming.proposed_name
    digits = request.randomSeed.hex()[:7] or secrets.token_hex(4)[:7]
    return f"{request.urn.split('::')[-1]}-{digits}"


def name_is_taken(inputs: Properties) -> bool:
    """Whether a replacement has to wait for the old one to go, since the program itself gave the name."""
    filled = inputs.get(fields.DEFAULTS)
    return isinstance(filled, list) and "name" in inputs and "name" not in filled


def _covers(ignored: str, path: str) -> bool:
    return path == ignored or path.startswith((f"{ignored}.", f"{ignored}["))


def _state(resource: Resource, properties: Properties) -> Struct:
    """Properties as the official provider keeps them, with its note on schema and deadlines."""
    meta: dict[str, Any] = {}
    if resource.official_timeouts:
        meta[TERRAFORM_TIMEOUTS] = {
            operation: int(seconds * 1e9) for operation, seconds in resource.official_timeouts.items()
        }
    if meta or resource.schema_version:
        meta["schema_version"] = str(resource.schema_version)
        properties = {**properties, fields.META: json.dumps(meta, separators=(",", ":"), sort_keys=True)}
    return wire.write(fields.sealed(resource.fields, properties))


def main() -> None:
    """Serve on a free port of this machine, which the engine reads from standard output."""
    server = grpc.server(ThreadPoolExecutor(max_workers=WORKERS), options=_GRPC_CHANNEL_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # The engine ends us with an interrupt, and waits five seconds for it; Ctrl-C itself does not reach our group.
    with suppress(KeyboardInterrupt):
        server.wait_for_termination()
    os._exit(0)
