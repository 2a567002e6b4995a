"""Our own Pulumi plugin: resources that no cloud has.

One module a resource, listed in ``RESOURCES``. This file only hands each call on to the resource it is about, on a
thread of its own, so that one that takes its time holds up no other.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

# Pulumi runs this folder as a program; what hardens is the checkout's own.
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

from hardening import Hardening
from host_key import HostKey
from pulumi.provider.experimental import provider as rpc
from serving import Log, serve
from variables import variables

from lab.engine.parent import end_with_parent

VERSION = "0.2.0"
ENGINE = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
AT_ONCE = 256
"""Calls under way: those about droplets that are being hardened only wait."""


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


class Hosts:
    """``hosts.py``, imported when a host is first asked for something: it takes longer than most operations."""

    def __getattr__(self, name: str) -> Any:
        import hosts

        return getattr(hosts, name)


RESOURCES: dict[str, Resource] = {
    "seawall:index:HostKey": HostKey(),
    "seawall:index:Hardening": Hardening(Hosts(), variables, Log(ENGINE)),
}
_threads = ThreadPoolExecutor(AT_ONCE)


async def apart(method: Callable[[Any], Any], request: Any) -> Any:
    """Call a resource on a thread of its own."""
    return await asyncio.get_running_loop().run_in_executor(_threads, method, request)


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
        return rpc.ConfigureResponse(supports_preview=True)

    async def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        return await apart(known(request).check, request)

    async def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        return await apart(known(request).diff, request)

    async def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        return await apart(known(request).create, request)

    async def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        return await apart(known(request).update, request)

    async def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse:
        return await apart(known(request).read, request)

    async def delete(self, request: rpc.DeleteRequest) -> None:
        await apart(known(request).delete, request)


if __name__ == "__main__":
    # With whatever it is running: an Ansible that nobody waits for would meet the one of the next `up`.
    end_with_parent(lambda: os.killpg(0, signal.SIGKILL))
    serve(Seawall(), VERSION, ENGINE)
