"""The API as an ASGI application: token, limits, routes, errors, and the reconciler's life.

One process serves it, on loopback only: ``python -m lab.api`` alone, or the lab's daemon with machines behind.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lab.world import Backend

from .errors import ApiError, forbidden, not_found, too_many_requests, unauthorized
from .http import Call, Operation
from .limits import Limits, RateLimit
from .reconciler import Clock, Reconciler
from .services import SERVICES
from .store import Store
from .transitions import Transitions

log = logging.getLogger("lab.api")

BODY_MAX = 1024 * 1024  # bytes; DigitalOcean's largest request, a droplet with its user data, is far below


def utc_now() -> datetime:
    """The clock outside of tests."""
    return datetime.now(UTC)


def create_app(
    store: Store,
    backend: Backend,
    *,
    clock: Clock = utc_now,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    transitions: Transitions = Transitions(),  # noqa: B008 (frozen)
) -> Starlette:
    """The API on ``store`` with ``backend`` behind it. ``store.open_account`` must have been called.

    Starting the application converges the machines (``app.state.reconciler``); stopping it ends the effects
    under way and lets go of the backend, but leaves the machines running. ``GET /healthz`` needs no token.
    """
    reconciler = Reconciler(store, backend, clock=clock, transitions=transitions)
    gate = _Gate(store, backend.kind, clock, RateLimit(limits), transitions)

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        reconciler.start()
        yield
        await run_in_threadpool(reconciler.stop)
        backend.close()

    async def health(_request: Request) -> Response:
        return JSONResponse({"kind": backend.kind, "settled": reconciler.settled(0)})

    # Methods of one path share a route, or Starlette would answer 405 for the second.
    paths: dict[str, dict[str, tuple[int, Operation]]] = {}
    for service in SERVICES:
        for method, path, status, operation in service.operations:
            paths.setdefault(path, {})[method] = (status, operation)
    routes = [Route("/healthz", health)]
    routes += [Route(path, gate.endpoint(methods), methods=_METHODS) for path, methods in paths.items()]
    routes += [Route("/{rest:path}", gate.endpoint({}), methods=_METHODS)]
    app = Starlette(routes=routes, lifespan=life)
    app.router.redirect_slashes = False
    app.state.reconciler = reconciler
    return app


_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@dataclass
class _Gate:
    """What every request passes: the token, the limit, and at the end the shape of the answer."""

    store: Store
    kind: str
    clock: Clock
    rate: RateLimit
    transitions: Transitions

    def endpoint(self, methods: dict[str, tuple[int, Operation]]) -> Callable:
        async def answer(request: Request) -> Response:
            began, identifier = time.monotonic(), str(uuid.uuid4())
            headers: dict[str, str] = {"x-request-id": identifier}
            try:
                body = await _body(request)
                response = await run_in_threadpool(self._answer, request, methods, body, headers)
            except ApiError as error:
                response = _refusal(error, identifier)
            except ClientDisconnect:
                response = Response(status_code=400)
            except Exception:
                log.exception("%s %s broke (request %s)", request.method, request.url.path, identifier)
                response = _refusal(ApiError(500, "server_error", "Unexpected server-side error"), identifier)
            response.headers.update(headers)
            took = (time.monotonic() - began) * 1000
            log.info("%s %s %s %.0f ms", request.method, request.url.path, response.status_code, took)
            return response

        return answer

    def _answer(
        self,
        request: Request,
        methods: dict[str, tuple[int, Operation]],
        body: bytes,
        headers: dict[str, str],
    ) -> Response:
        now = self.clock()
        with self.store.read() as db:
            expected = self.store.account(db).token_sha256
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = hashlib.sha256(token.strip().encode()).hexdigest()
        reading = hmac.compare_digest(token.strip().encode(), reader_token(expected).encode())
        if scheme.lower() != "bearer" or not (reading or hmac.compare_digest(given, expected)):
            raise unauthorized()
        passed, told = self.rate.admit(now)
        headers.update(told)
        if not passed:
            raise too_many_requests({})
        if request.method not in methods:
            self.store.record_unknown(request.method, request.url.path[:200])
            raise not_found()
        status, operation = methods[request.method]
        writing = request.method != "GET"
        if writing and reading:
            raise forbidden("You are not authorized to perform this operation")
        with self.store.write() if writing else self.store.read() as db:
            result = operation(
                Call(
                    store=self.store,
                    db=db,
                    url=request.url,
                    path=request.path_params,
                    query=dict(request.query_params),
                    raw=body,
                    now=now,
                    transitions=self.transitions,
                    kind=self.kind,
                    writing=writing,
                )
            )
        if result is None:
            return Response(status_code=204, headers={"content-type": "application/json"})
        return JSONResponse(result, status_code=status)


async def _body(request: Request) -> bytes:
    """The request's body, up to BODY_MAX bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX:
            raise ApiError(413, "request_entity_too_large", f"A request body has at most {BODY_MAX} bytes.")
    return body


def reader_token(token_sha256: str) -> str:
    """The account's second token, with reading scopes only; the first can't be worked out from it."""
    return "dop_v1_" + hashlib.sha256(f"reads only {token_sha256}".encode()).hexdigest()


def _refusal(error: ApiError, identifier: str) -> Response:
    body: dict[str, Any] = {"id": error.identifier, "message": error.message, "request_id": identifier}
    if error.status == 400:  # DigitalOcean describes these with two fields more
        body |= {"error": error.message, "root_causes": []}
    return JSONResponse(body, status_code=error.status, headers=error.headers)
