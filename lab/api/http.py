"""From a request to an operation and back: what every service shares.

A service is a ``Service`` whose decorated functions take a ``Call`` and return the answer's body (None: 204).
GET runs on a consistent view of the tables, everything else in one transaction; an ``ApiError`` undoes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session
from starlette.datastructures import URL

from lab.world import World

from . import desired
from .catalogue import Catalogue
from .errors import ApiError, not_found, unprocessable
from .store import Store
from .tables import Account
from .transitions import Transitions

T = TypeVar("T")

PAGE, PAGE_MAX = 20, 200
MAX_ID = 2**63 - 1  # SQLite's largest integer

Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Request(BaseModel):
    """A request body. A null counts as absent, as DigitalOcean's clients expect; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {name: value for name, value in data.items() if value is not None}
        return data


M = TypeVar("M", bound=BaseModel)


@dataclass
class Call:
    """One request on its way through a service."""

    store: Store
    db: Session
    url: URL
    path: dict[str, str]
    query: dict[str, str]
    raw: bytes
    now: datetime
    transitions: Transitions
    kind: str
    writing: bool

    @property
    def catalogue(self) -> Catalogue:
        return self.store.catalogue

    @cached_property
    def account(self) -> Account:
        return self.store.account(self.db)

    def world(self) -> World:
        """The world as this call sees it, its own changes included."""
        if not self.writing:
            return self.store.world()
        self.db.flush()
        return desired.world(self.db, self.catalogue)

    def body(self, model: type[M]) -> M:
        """The request's JSON as ``model``, or 400 or 422 saying which field is wrong."""
        try:
            data = from_json(self.raw or b"{}", allow_inf_nan=False)
        except ValueError:
            raise ApiError(400, "bad_request", "The request body is not valid JSON.") from None
        try:
            return model.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
            raise unprocessable(f"{where}: {reason}" if where else reason) from None

    def path_id(self, name: str) -> int:
        """A number out of the path; what is none cannot be found."""
        text = self.path[name]
        if not (text.isascii() and text.isdigit()) or not 0 < int(text[:20]) <= MAX_ID:
            raise not_found()
        return int(text)

    def get(self, table: type[T], identifier: Any) -> T:
        """The row of that key, or 404."""
        row = self.db.get(table, identifier)
        if row is None:
            raise not_found()
        return row

    def page(
        self, name: str, items: Select | Sequence[Any], answer: Callable[[Any], Any] | None = None
    ) -> dict[str, Any]:
        """One page of ``items`` under ``name``, with DigitalOcean's ``links`` and ``meta``."""
        number, size = self._natural("page", 1), min(self._natural("per_page", PAGE), PAGE_MAX)
        start = (number - 1) * size
        if isinstance(items, Select):
            total = self.db.scalar(select(func.count()).select_from(items.order_by(None).subquery())) or 0
            # Beyond the last page nothing is asked: SQLite's offsets end where Python's integers do not.
            rows = list(self.db.scalars(items.limit(size).offset(start))) if start < total else []
        else:
            total, rows = len(items), list(items[start : start + size])
        last = max(1, -(-total // size))
        pages: dict[str, str] = {}
        if number > 1:
            pages |= {"first": self._page_url(1, size), "prev": self._page_url(min(number - 1, last), size)}
        if number < last:
            pages |= {"next": self._page_url(number + 1, size), "last": self._page_url(last, size)}
        return {
            name: [answer(row) for row in rows] if answer else rows,
            "links": {"pages": pages} if pages else {},
            "meta": {"total": total},
        }

    def _natural(self, name: str, default: int) -> int:
        text = self.query.get(name, "") or str(default)
        if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < 1:
            raise unprocessable(f"{name}: must be a whole number from 1, not {text[:20]!r}")
        return int(text)

    def _page_url(self, number: int, size: int) -> str:
        return str(self.url.include_query_params(page=number, per_page=size))

    def href(self, path: str) -> str:
        """An absolute address on this API."""
        return str(self.url.replace(path=path, query=""))


Operation = Callable[[Call], dict[str, Any] | None]


@dataclass
class Service:
    """The operations of one noun."""

    operations: list[tuple[str, str, int, Operation]] = field(default_factory=list)

    def _add(self, method: str, path: str, status: int) -> Callable[[Operation], Operation]:
        def register(operation: Operation) -> Operation:
            self.operations.append((method, path, status, operation))
            return operation

        return register

    def get(self, path: str) -> Callable[[Operation], Operation]:
        return self._add("GET", path, 200)

    def post(self, path: str, status: int = 201) -> Callable[[Operation], Operation]:
        return self._add("POST", path, status)

    def put(self, path: str) -> Callable[[Operation], Operation]:
        return self._add("PUT", path, 200)

    def patch(self, path: str) -> Callable[[Operation], Operation]:
        return self._add("PATCH", path, 200)

    def delete(self, path: str, status: int = 204) -> Callable[[Operation], Operation]:
        return self._add("DELETE", path, status)


def iso(at: datetime) -> str:
    """A time as DigitalOcean writes it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
