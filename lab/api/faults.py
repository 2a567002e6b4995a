"""Faults on demand, for tests: an API that limits, breaks, refuses for a while, hangs up or dawdles.

Only an API started with ``--test-faults`` has them; any other refuses to be asked. ``PUT /lab/faults`` sets a plan,
``GET`` tells what came of it. The same seed gives the same faults to the same sequence of requests.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PATH = "/lab/faults"

Kind = Literal["limited", "error", "error-after", "busy", "conflict", "reset", "reset-after", "slow"]
KINDS: tuple[Kind, ...] = (
    "limited", "error", "error-after", "busy", "conflict", "reset", "reset-after", "slow",
)  # fmt: skip

BUSY = {"id": "forbidden", "message": "Load Balancer can't be updated while it processes previous actions"}
ANSWERS: dict[str, tuple[int, dict[str, str], list[tuple[bytes, bytes]]]] = {
    "limited": (
        429,
        {"id": "too_many_requests", "message": "API Rate limit exceeded."},
        [(b"retry-after", b"1")],
    ),
    "error": (500, {"id": "server_error", "message": "Unexpected server-side error"}, []),
    "error-after": (500, {"id": "server_error", "message": "Unexpected server-side error"}, []),
    "busy": (403, BUSY, []),
    "conflict": (409, {"id": "conflict", "message": "Can not delete VPC with members"}, []),
}
SLOW = 1.5
"""Seconds by which a slow answer is late."""


class Plan(BaseModel):
    """rate: the share of requests that go wrong, at most ``most`` in all. hold: the changing request (1 is the next)
    that is not answered, before or ``after`` it was done, until another plan comes: the moment to kill a client."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    rate: Annotated[float, Field(ge=0, le=1)] = 0
    most: int = 1_000
    kinds: list[Kind] = list(KINDS)
    hold: int = 0
    after: bool = True


@dataclass
class Faults:
    """An ASGI layer in front of the API."""

    app: Any
    plan: Plan = field(default_factory=Plan)
    done: Counter[str] = field(default_factory=Counter)
    changing: int = 0
    held: str = ""
    _dice: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 (a test's dice)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] == "/healthz":
            await self.app(scope, receive, send)
        elif scope["path"] == PATH:
            await self._told(scope, receive, send)
        elif scope["method"] != "GET" and self._counted() == self.plan.hold:
            await self._hold(scope, receive, send)
        elif kind := self._picked(scope["method"], scope["path"]):
            self.done[kind] += 1
            await self._go_wrong(kind, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _counted(self) -> int:
        self.changing += 1
        return self.changing

    def _picked(self, method: str, path: str) -> str | None:
        """The fault for a request, if any. Each kind only where DigitalOcean has it."""
        if self._dice.random() >= self.plan.rate or self.done.total() >= self.plan.most:
            return None
        fitting = [
            kind
            for kind in self.plan.kinds
            if (kind != "busy" or (method in ("PUT", "DELETE") and path.startswith("/v2/load_balancers/")))
            and (kind != "conflict" or (method == "DELETE" and path.startswith("/v2/vpcs/")))
            and (not kind.endswith("-after") or method != "GET")
        ]
        return self._dice.choice(fitting) if fitting else None

    async def _go_wrong(self, kind: str, scope: Any, receive: Any, send: Any) -> None:
        if kind == "slow":
            await asyncio.sleep(SLOW)
            await self.app(scope, receive, send)
            return
        if kind.endswith("-after"):
            await self.app(scope, receive, _nowhere)
        if kind.startswith("reset"):
            _hang_up(receive)
            return
        status, body, headers = ANSWERS[kind]
        await _answer(send, status, body, headers)

    async def _hold(self, scope: Any, receive: Any, send: Any) -> None:
        self._released.clear()
        if self.plan.after:
            await self.app(scope, receive, _nowhere)
        self.held = f"{scope['method']} {scope['path']} {'after' if self.plan.after else 'before'}"
        await self._released.wait()
        _hang_up(receive)

    async def _told(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "PUT":
            body = b""
            while (message := await receive()).get("more_body"):
                body += message.get("body", b"")
            body += message.get("body", b"")
            try:
                self.plan = Plan.model_validate_json(body)
            except ValueError as error:
                await _answer(send, 422, {"id": "unprocessable_entity", "message": str(error)})
                return
            self._dice, self.changing, self.held = random.Random(self.plan.seed), 0, ""  # noqa: S311
            self.done.clear()
            self._released.set()
        told = {"held": self.held, "done": dict(self.done), "changing": self.changing}
        await _answer(send, 200, told)


async def _nowhere(message: Any) -> None:
    """An answer that never arrives."""


def _hang_up(receive: Any) -> None:
    """End the connection without a word: uvicorn has no other way than its own transport."""
    receive.__self__.transport.abort()


async def _answer(
    send: Any, status: int, body: Any, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    start = [(b"content-type", b"application/json"), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
