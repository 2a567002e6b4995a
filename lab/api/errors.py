"""DigitalOcean's refusals: a status, an id and a sentence for the reader."""

from __future__ import annotations


class ApiError(Exception):
    """An answer that is no success. ``identifier`` is DigitalOcean's word for the status."""

    def __init__(self, status: int, identifier: str, message: str, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.identifier, self.message, self.headers = status, identifier, message, headers or {}


def not_found() -> ApiError:
    """404, in DigitalOcean's words."""
    return ApiError(404, "not_found", "The resource you were accessing could not be found.")


def unprocessable(message: str) -> ApiError:
    """422: the request was understood and cannot be carried out."""
    return ApiError(422, "unprocessable_entity", message)


def forbidden(message: str) -> ApiError:
    """403: not now, or never."""
    return ApiError(403, "forbidden", message)


def conflict(message: str) -> ApiError:
    """409: something of that name is there already."""
    return ApiError(409, "conflict", message)


def unauthorized() -> ApiError:
    """401: no token, or another account's."""
    return ApiError(401, "unauthorized", "Unable to authenticate you")


def too_many_requests(headers: dict[str, str]) -> ApiError:
    """429: over a rate limit; ``headers`` say when to come back."""
    return ApiError(429, "too_many_requests", "API Rate limit exceeded.", headers)
