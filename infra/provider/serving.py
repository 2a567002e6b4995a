"""The plugin's side of the line to the engine: its log, and failures as one paragraph."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from pulumi.provider.experimental.provider import Provider
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2_grpc


class Log:
    """The engine's log, a line about a resource at a time."""

    def __init__(self, engine: str) -> None:
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine)) if engine else None

    def __call__(self, urn: str, text: str, passing: bool = False, warning: bool = False) -> None:
        """``passing`` lines show beside the resource while it is worked on, the others stay."""
        severity = engine_pb2.WARNING if warning else engine_pb2.INFO
        if self._engine:
            self._engine.Log(
                engine_pb2.LogRequest(severity=severity, message=text, urn=urn, ephemeral=passing)
            )


class Servicer(ProviderServicer):
    """The SDK's own hands exceptions on as "Unexpected <class …>"; here the engine gets what they say."""


def _plainly(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def call(self: Servicer, request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await method(self, request, context)
        except Exception as failure:
            await context.abort(grpc.StatusCode.UNKNOWN, str(failure) or type(failure).__name__)

    return call


for _name in ("Check", "Diff", "Create", "Read", "Update", "Delete"):
    setattr(Servicer, _name, _plainly(getattr(ProviderServicer, _name)))


def serve(provider: Provider, version: str, engine: str) -> None:
    """Serve on a free port of this machine, which the engine reads from standard output, until it ends us."""

    async def until_ended() -> None:
        server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
        servicer = Servicer(sys.argv[1:], version, provider, engine_address=engine)
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(port, flush=True)
        await server.wait_for_termination()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(until_ended())
