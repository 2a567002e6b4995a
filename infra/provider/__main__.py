"""Our own Pulumi plugin: resources that no cloud has.

One module a resource, listed in ``RESOURCES``. This file only hands each call on to the resource it is about, on a
thread of its own, so that one that takes its time holds up no other.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Protocol

from host_key import HostKey
from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.server import main

VERSION = "0.1.0"


class Resource(Protocol):
    """What a resource type has to be able to do. Every method is one call of the engine."""

    def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse: ...
    def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse: ...
    def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse: ...
    def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse: ...
    def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse: ...
    def delete(self, request: rpc.DeleteRequest) -> None: ...


class About(Protocol):
    """Any request about a resource."""

    @property
    def type(self) -> str: ...


RESOURCES: dict[str, Resource] = {"seawall:index:HostKey": HostKey()}


def known(request: About) -> Resource:
    """The resource a call is about."""
    if request.type not in RESOURCES:
        raise ValueError(f"The seawall plugin has no resource {request.type}; it has {', '.join(RESOURCES)}.")
    return RESOURCES[request.type]


class Seawall(rpc.Provider):
    """The plugin as the engine sees it."""

    async def check_config(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        return rpc.CheckResponse(inputs=request.new_inputs)

    async def diff_config(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        return rpc.DiffResponse(changes=False)

    async def configure(self, request: rpc.ConfigureRequest) -> rpc.ConfigureResponse:
        # No previews by the plugin: until a resource exists, the engine takes all its outputs as unknown.
        return rpc.ConfigureResponse(supports_preview=False)

    async def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        return await asyncio.to_thread(known(request).check, request)

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        return await asyncio.to_thread(known(request).diff, request)

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        return await asyncio.to_thread(known(request).create, request)

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        return await asyncio.to_thread(known(request).update, request)

    async def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse:
        return await asyncio.to_thread(known(request).read, request)

    async def delete(self, request: rpc.DeleteRequest) -> None:
        await asyncio.to_thread(known(request).delete, request)


if __name__ == "__main__":
    main(sys.argv[1:], VERSION, Seawall())
