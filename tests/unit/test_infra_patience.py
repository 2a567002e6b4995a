"""What is asked again, when, and what never."""

from __future__ import annotations

import httpx
import pytest

from infra.patience import ATTEMPTS, Patient


def asked(answers, method="GET"):
    """The statuses a client meets, the waits between, and what it gets in the end."""
    left, waits, seen = iter(answers), [], []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.method)
        found = next(left)
        if isinstance(found, Exception):
            raise found
        status, headers = found if isinstance(found, tuple) else (found, {})
        return httpx.Response(status, headers=headers)

    client = httpx.Client(transport=Patient(httpx.MockTransport(answer), waits.append), base_url="http://x")
    return client.request(method, "/").status_code, waits, len(seen)


def test_a_limit_is_waited_for_as_it_says():
    assert asked([(429, {"retry-after": "7"}), 200]) == (200, [7.0], 2)
    assert asked([(429, {"retry-after": "3600"}), 200])[1] == [60.0]
    assert asked([(429, {"retry-after": "soon"}), 200])[1] == [0.5]


def test_a_short_trouble_passes_and_a_long_one_is_told():
    assert asked([500, httpx.ConnectError("reset"), 503, 200]) == (200, [0.5, 1.0, 2.0], 4)
    assert asked([500] * 9) == (500, [0.5, 1.0, 2.0, 4.0], ATTEMPTS)
    with pytest.raises(httpx.ConnectError):
        asked([httpx.ConnectError("refused")] * 9)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_refusal_is_an_answer(status):
    assert asked([status]) == (status, [], 1)


def test_what_changes_something_is_never_sent_twice():
    assert asked([500], method="DELETE") == (500, [], 1)
    with pytest.raises(httpx.ReadError):
        asked([httpx.ReadError("reset")], method="POST")
