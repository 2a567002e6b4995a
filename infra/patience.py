"""Requests to the API that only read: sent again where that helps, as the limit or a short trouble allows."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

ATTEMPTS = 5
LONGEST = 60.0
"""Seconds waited at most before a request is sent again; the API's limit is by the minute."""


class Patient(httpx.BaseTransport):
    """GETs are repeated when limited (429: after what ``retry-after`` says), on 5xx, and when nobody answers."""

    def __init__(
        self, transport: httpx.BaseTransport | None = None, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self.transport, self.wait = transport or httpx.HTTPTransport(), wait

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS or request.method != "GET"
            pause = 0.25 * 2**attempt
            try:
                answer = self.transport.handle_request(request)
            except httpx.TransportError:
                if last:
                    raise
            else:
                if last or not (answer.status_code == 429 or answer.status_code >= 500):
                    return answer
                answer.close()
                pause = _told(answer.headers.get("retry-after"), pause)
            self.wait(pause)
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        self.transport.close()


def _told(text: str | None, otherwise: float) -> float:
    try:
        return min(max(float(text or ""), 0.1), LONGEST)
    except ValueError:
        return otherwise
