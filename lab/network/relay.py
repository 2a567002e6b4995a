"""The two ways out of the lab: names and packages, each fetched by this process on a droplet's behalf.

A relay listens on a socket of the lab's core and asks from this machine's side, so the machine forwards and
translates nothing: a packet of the lab can't leave it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Awaitable, Callable

from lab.instance import Instance, resolvers
from lab.network import mirror, plan, router
from lab.world import BackendError

log = logging.getLogger(__name__)

CONNECT_SECONDS = 20.0
ANSWER_SECONDS = 5.0
"""How long a name server may take; a droplet's resolver asks again after as long."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relays:
    """Runs the relays of one instance in a thread of its own."""

    def __init__(self, instance: Instance) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)
        self._thread.start()
        core = instance.namespace("core")
        for address in plan.RESOLVERS:
            self._start(_questions(router.listening(core, address, 53, socket.SOCK_DGRAM)))
            self._start(_streams(router.listening(core, address, 53), _to_name_server))
        self._start(_streams(router.listening(core, instance.address(plan.MIRROR), 80), _to_mirror))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _start(self, relay: Awaitable[object]) -> None:
        asyncio.run_coroutine_threadsafe(relay, self._loop).result()  # type: ignore[arg-type]


def _name_server() -> tuple[str, int]:
    """This machine's own resolver, asked for anew each time: it may change, and may be a loopback address."""
    return next(iter(resolvers()), "127.0.0.1"), 53


async def _to_name_server(client: str) -> Streams:
    return await asyncio.open_connection(*_name_server())


async def _to_mirror(client: str) -> Streams:
    reader, writer = await asyncio.open_unix_connection(await asyncio.to_thread(mirror.ensure))
    writer.write(mirror.GREETING.format(client=client).encode())
    return reader, writer


async def _streams(listener: socket.socket, connect: Callable[[str], Awaitable[Streams]]) -> object:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            outer = await asyncio.wait_for(connect(writer.get_extra_info("peername")[0]), CONNECT_SECONDS)
        except (OSError, TimeoutError, BackendError) as failure:
            log.warning("a relay could not reach its other side: %s", failure)
            writer.transport.abort()  # the droplet sees its connection reset, and its apt says so
            return
        await asyncio.gather(_copy(reader, outer[1]), _copy(outer[0], writer))

    return await asyncio.start_server(serve, sock=listener)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(1 << 18):
            sink.write(piece)
            await sink.drain()
    with contextlib.suppress(OSError):
        sink.close()
        await sink.wait_closed()


async def _questions(listener: socket.socket) -> object:
    loop = asyncio.get_running_loop()
    asking: set[asyncio.Task[None]] = set()

    class Questions(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.transport = transport

        def datagram_received(self, question: bytes, client: tuple[str, int]) -> None:
            task = loop.create_task(ask(self.transport, question, client))
            asking.add(task)
            task.add_done_callback(asking.discard)

    async def ask(back: asyncio.DatagramTransport, question: bytes, client: tuple[str, int]) -> None:
        answer: asyncio.Future[bytes] = loop.create_future()

        class Answer(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, _: object) -> None:
                if not answer.done():
                    answer.set_result(data)

        with contextlib.suppress(OSError, TimeoutError):
            transport, _ = await loop.create_datagram_endpoint(Answer, remote_addr=_name_server())
            try:
                transport.sendto(question)
                back.sendto(await asyncio.wait_for(answer, ANSWER_SECONDS), client)
            finally:
                transport.close()

    return await loop.create_datagram_endpoint(Questions, sock=listener)
