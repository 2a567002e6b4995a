"""DigitalOcean's API through pydo: retries, waiting, and refusals a reader can act on."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from lab.engine.digitalocean.spaces import Spaces

T = TypeVar("T")

DEFAULT_ENDPOINT = "https://api.digitalocean.com"
ATTEMPTS = 5
"""How often a request is sent before its failure is told."""
FIRST_WAIT, LONGEST_WAIT = 0.3, 5.0
"""Seconds between two looks at something that settles: soon at first (a lab is quick), then seldom (the limit is
250 requests a minute)."""


class Refusal(Exception):
    """DigitalOcean said no, did not answer, or did not get there in time. The message is one paragraph.

    ``status`` is the HTTP status, 0 where there was no answer; ``reason`` is DigitalOcean's own sentence.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class Api:
    """One account's API, and its buckets. ``cancelled`` ends every wait at once (the engine sets it on Ctrl-C)."""

    def __init__(
        self,
        token: str,
        endpoint: str = DEFAULT_ENDPOINT,
        cancelled: threading.Event | None = None,
        spaces: Spaces | None = None,
    ) -> None:
        self.spaces = spaces
        self.endpoint = endpoint.rstrip("/")
        self.cancelled = cancelled or threading.Event()
        self._token = token
        self._client: Any = None
        self._lock = threading.Lock()

    def get(self, path: str, doing: str) -> dict[str, Any] | None:
        """What lies at ``path``, None where nothing does."""
        try:
            return self.call("GET", path, doing)
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise

    def pages(self, path: str, key: str, doing: str, **filters: str) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        page = 1
        while True:
            query = urlencode({**filters, "page": page, "per_page": 200})
            found = self.call("GET", f"{path}?{query}", doing)
            yield from found[key]
            if not ((found.get("links") or {}).get("pages") or {}).get("next"):
                return
            page += 1

    def call(
        self, method: str, path: str, doing: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send a request and return the answer's document, {} where it has none.

        A request that was limited (429) is sent again when the limit allows; one that failed on the way or on
        the server (5xx) only if sending it twice does no harm: never a POST.
        """
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                status, headers, document = self._send(method, path, body)
            except OSError as error:
                if last or method == "POST":
                    raise Refusal(unreachable(self.endpoint, doing, error)) from None
                self.pause(_backoff(attempt), doing)
                continue
            if status < 400:
                return document
            if status == 429 and not last:
                self.pause(_until_allowed(headers, attempt), doing)
            elif status >= 500 and not last and method != "POST":
                self.pause(_backoff(attempt), doing)
            else:
                raise refusal(status, document, doing)
        raise AssertionError("the last attempt returns or raises")

    def wait(self, look: Callable[[], T | None], seconds: float, doing: str) -> T:
        """Look until there is something to return, at most ``seconds`` long."""
        deadline, pause = time.monotonic() + seconds, FIRST_WAIT
        while (found := look()) is None:
            if time.monotonic() >= deadline:
                raise Refusal(
                    f"{doing[:1].upper()}{doing[1:]} took longer than {seconds:.0f} s, so it was given up. It may "
                    "still come about: run `pulumi up` again, which looks at it afresh."
                )
            self.pause(min(pause, max(deadline - time.monotonic(), 0.05)), doing)
            pause = min(pause * 1.5, LONGEST_WAIT)
        return found

    def action(self, path: str, seconds: float, doing: str, action: Mapping[str, Any]) -> dict[str, Any]:
        """Have an action done with what is at ``path``, and wait for its end: what became of it."""
        where = f"{path}/actions"
        begun = self.call("POST", where, doing, dict(action))["action"]

        def look() -> dict[str, Any] | None:
            now = self.call("GET", f"{where}/{begun['id']}", doing)["action"]
            return None if now["status"] == "in-progress" else now

        return self.wait(look, seconds, doing)

    def insist(self, act: Callable[[], T], busy: Callable[[Refusal], bool], seconds: float) -> T:
        """Act until DigitalOcean is no longer too busy for it; the last refusal is raised after ``seconds``."""
        deadline, pause = time.monotonic() + seconds, FIRST_WAIT
        while True:
            try:
                return act()
            except Refusal as refused:
                if not busy(refused) or time.monotonic() >= deadline:
                    raise
                self.pause(pause, str(refused))
                pause = min(pause * 1.5, LONGEST_WAIT)

    def pause(self, seconds: float, doing: str) -> None:
        """Wait, unless the engine wants an end."""
        if self.cancelled.wait(seconds):
            raise Refusal(f"Interrupted while {doing}; run `pulumi up` again to go on from here.")

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[int, Mapping[str, str], Any]:
        from azure.core.exceptions import AzureError, DecodeError
        from azure.core.rest import HttpRequest

        with self._lock:
            if self._client is None:
                # Not at the top: pydo takes as long to load as the rest, and an unchanged `pulumi up` never calls.
                from pydo import Client

                # Retries are ours: pydo's default would send a POST twice, and make a second droplet.
                self._client = Client(token=self._token, endpoint=self.endpoint, retry_total=0)
        request = HttpRequest(method, path, json=body) if body is not None else HttpRequest(method, path)
        try:
            # The address was checked when the provider was configured: https, or this machine.
            response = self._client.send_request(request, enforce_https=False)
            content = response.read()
        except DecodeError as error:
            raise OSError(f"the answer could not be read ({error})") from None
        except AzureError as error:
            raise OSError(str(error.inner_exception or error)) from None
        try:
            document = json.loads(content) if content else {}
        except ValueError:
            document = {"message": content[:200].decode(errors="replace")}
        return response.status_code, response.headers, document


def segment(value: object) -> str:
    """A value as one segment of a path."""
    return quote(str(value), safe="")


def _backoff(attempt: int) -> float:
    return random.uniform(0.5, 1.0) * 2 ** (attempt - 1) / 2  # noqa: S311 - jitter


def _until_allowed(headers: Mapping[str, str], attempt: int) -> float:
    """Seconds until a limited request may be sent again: ``retry-after``, or when the hourly window resets."""
    try:
        if after := headers.get("retry-after"):
            return min(max(float(after), 0.1), 120.0)
        if reset := headers.get("ratelimit-reset"):
            return min(max(float(reset) - time.time(), 0.5), 120.0)
    except ValueError:
        pass
    return _backoff(attempt)


NEXT_STEPS = {
    401: "The token is missing, wrong or expired: set DIGITALOCEAN_TOKEN, or "
    "`pulumi config set digitalocean:token --secret`.",
    403: "The token may lack a scope for this, or what it touches is in use: give the token the scope, or try again "
    "when it is free.",
    404: "Something it refers to is no longer there: `pulumi refresh` brings the state up to date.",
    409: "Something of that name or range is there already: choose another, or `pulumi import` what is there.",
    422: "Correct the value in the stack's settings and run `pulumi up` again.",
    429: "The account's limit of requests is used up: wait, then run `pulumi up` again.",
}


SCOPES = (
    "The token lacks the scope for that: make one with all the scopes that README, 'With a DigitalOcean account', "
    "lists, set it, and run `pulumi up` again, which goes on from here."
)
"""What a token with too few scopes is told; a creation that may not be is refused with 403 and this sentence alone."""


def refusal(status: int, document: Any, doing: str) -> Refusal:
    """DigitalOcean's refusal as one paragraph: what was being done, its own words, the next step."""
    answer = document if isinstance(document, dict) else {}
    reason = str(answer.get("message") or "no reason given").strip().rstrip(".")
    named = " ".join(filter(None, [str(status), answer.get("id")]))
    asked = f", request {answer['request_id']}" if answer.get("request_id") else ""
    following = (
        NEXT_STEPS.get(status) or "DigitalOcean itself is in trouble: run `pulumi up` again in a while."
    )
    if "not authorized to perform" in reason:
        following = SCOPES
    return Refusal(
        f"DigitalOcean refused {doing}: {reason} ({named}{asked}). {following}", status=status, reason=reason
    )


def unreachable(endpoint: str, doing: str, error: OSError) -> str:
    """The paragraph for an API that does not answer."""
    local = urlsplit(endpoint).hostname in ("127.0.0.1", "localhost", "::1")
    following = (
        "This is the lab's address: is the lab running? `seawall up` starts it."
        if local
        else "Check the network and DIGITALOCEAN_API_URL, then run `pulumi up` again."
    )
    return f"The DigitalOcean API at {endpoint} did not answer while {doing} ({error}). {following}"
