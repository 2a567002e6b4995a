"""The database: one SQLite file, every write a transaction, readers never waiting.

The file holds user data and private keys: it is created 0600 in a directory made 0700.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, select, text
from sqlalchemy.orm import Session

from lab.world import World

from . import desired
from .catalogue import Catalogue
from .tables import Account, Base, UnknownRoute

log = logging.getLogger("lab.api")

# Ids start where they are not mistaken for counts, and stay short enough for interface names.
FIRST_ID = 100_000

SCHEMA = 2  # of the tables; grows with every change to one of them (a new table is made where it is missing)


class Store:
    """What is declared and what has been reported, in the SQLite file ``path``.

    ``revision`` grows with every commit; ``on_commit`` callables run after each (the reconciler's alarm).
    Only one process may have the file open for writing: addresses and revisions are guarded in memory.
    """

    def __init__(self, path: Path | str, *, catalogue: Catalogue | None = None):
        self.path = Path(path)
        self.catalogue = catalogue or Catalogue()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self.on_commit: list[Callable[[], None]] = []
        self.revision = 0
        self._writing = threading.RLock()
        self._world: tuple[int, World] | None = None
        self._engine = create_engine(f"sqlite:///{self.path}", pool_size=8, max_overflow=64)
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._check_schema()
        Base.metadata.create_all(self._engine)
        with self.write() as db:
            db.execute(text(f"PRAGMA user_version = {SCHEMA}"))
            for table in ("droplets", "actions", "ssh_keys"):
                known = db.execute(
                    text("SELECT 1 FROM sqlite_sequence WHERE name = :t"), {"t": table}
                ).first()
                if not known:
                    db.execute(
                        text("INSERT INTO sqlite_sequence VALUES (:t, :n)"), {"t": table, "n": FIRST_ID}
                    )

    def _check_schema(self) -> None:
        """ValueError for a file whose tables are another version's: the lab keeps no old state alive."""
        with self._engine.connect() as connection:
            found = connection.execute(text("PRAGMA user_version")).scalar_one()
        if found not in (0, SCHEMA):
            raise ValueError(
                f"{self.path} was written by another version of the lab (schema {found}, this is {SCHEMA}). "
                "Purge the instance, or use the version that made it."
            )

    def open_account(
        self, token: str, public_range: str = "203.0.113.0/24", droplet_limit: int = 100
    ) -> None:
        """Make the account, or take a new ``token`` and ``droplet_limit`` for it.

        ``public_range`` is where droplets and load balancers get their public IPv4 addresses. Raises
        ValueError for a token or range that is none, or for another range than the one in use.
        """
        if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError(
                "the API token must be at least 16 printable characters without spaces; the token file holds "
                "something else. Put a new token into it."
            )
        network = ipaddress.IPv4Network(public_range)
        digest = hashlib.sha256(token.encode()).hexdigest()
        with self.write() as db:
            account = db.get(Account, 1)
            if account is None:
                account = Account(id=1, uuid=str(uuid.uuid4()), created_at=datetime.now(UTC))
                db.add(account)
            elif account.public_range != str(network):
                raise ValueError(
                    f"{self.path} hands out addresses of {account.public_range}, not of {network}: an instance "
                    "keeps its range. Purge the instance to give it another."
                )
            account.token_sha256, account.public_range = digest, str(network)
            account.droplet_limit = droplet_limit

    def account(self, db: Session) -> Account:
        """The account. RuntimeError before ``open_account``."""
        account = db.get(Account, 1)
        if account is None:
            raise RuntimeError(f"{self.path} has no account: call open_account first")
        return account

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view; nothing in it is written."""
        with Session(self._engine) as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction, one at a time. It is committed, or after any exception as if it had never begun.

        Where no row changed there is no new revision and no alarm.
        """
        with self._writing:
            with Session(self._engine.execution_options(write=True)) as db, db.begin():
                driver: Any = db.connection().connection.driver_connection
                before = driver.total_changes
                yield db
                db.flush()
                changed = driver.total_changes != before
            self.revision += changed
        if changed:
            for alarm in list(self.on_commit):
                alarm()

    def world(self) -> World:
        """All that should exist now."""
        revision, cached = self.revision, self._world
        if cached is None or cached[0] != revision:
            with self.read() as db:
                cached = self._world = (revision, desired.world(db, self.catalogue))
        return cached[1]

    def record_unknown(self, method: str, path: str) -> None:
        """Remember a request that no service answers."""
        log.warning("no route: %s %s (a client wants what the lab does not have)", method, path)
        with self.write() as db:
            row = db.get(UnknownRoute, (method, path))
            if row is None:
                row = UnknownRoute(method=method, path=path, count=0)
                db.add(row)
            row.count, row.last_seen = row.count + 1, datetime.now(UTC)

    def unknown_routes(self) -> list[tuple[str, str, int]]:
        """(method, path, times) of every request that no service answered."""
        with self.read() as db:
            rows = db.scalars(select(UnknownRoute).order_by(UnknownRoute.path, UnknownRoute.method))
            return [(row.method, row.path, row.count) for row in rows]

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = (
        None  # SQLAlchemy's "begin" event starts transactions, not the driver's guesswork
    )
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Any) -> None:
    write = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
