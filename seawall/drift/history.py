"""When each difference came and went: SQLite, one file a checkout (``.seawall/drift.sqlite``, 0600).

A *spell* is one difference from the run that first saw it to the run that looked again and did not. What a run did
not ask about (another layer, another host, a host that did not answer) stays as it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, ForeignKey, create_engine, event, select, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from seawall.drift.difference import Difference
from seawall.drift.run import Report
from seawall.places import Places
from seawall.problem import Problem

SCHEMA = 1
PATIENCE = 10_000
"""Milliseconds to wait for another process's transaction."""


class Base(DeclarativeBase):
    pass


class Look(Base):
    """One run. ``ended`` is empty while it looks, and for ever if it was killed."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(primary_key=True)
    stack: Mapped[str]
    mode: Mapped[str]
    began: Mapped[str]
    ended: Mapped[str | None]
    layers: Mapped[list] = mapped_column(JSON, default=list)
    hosts: Mapped[list] = mapped_column(JSON, default=list)
    differs: Mapped[int] = mapped_column(default=0)
    unknown: Mapped[int] = mapped_column(default=0)


class Spell(Base):
    """A difference while it lasted; ``went`` is empty as long as it does. Times are ISO 8601, UTC."""

    __tablename__ = "spells"

    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(index=True)
    stack: Mapped[str]
    came: Mapped[str] = mapped_column(index=True)
    last: Mapped[str]
    went: Mapped[str | None] = mapped_column(index=True)
    quick: Mapped[bool]
    """Whether a quick look sees it: only then can one find it gone."""
    document: Mapped[dict] = mapped_column(JSON)

    @property
    def difference(self) -> Difference:
        return Difference.model_validate(
            {name: value for name, value in self.document.items() if name != "id"}
        )


class Told(Base):
    """Which channel was told what of a spell: came, went, or a reminder."""

    __tablename__ = "told"

    number: Mapped[int] = mapped_column(primary_key=True)
    spell: Mapped[int] = mapped_column(ForeignKey("spells.number"), index=True)
    channel: Mapped[str]
    said: Mapped[str]
    at: Mapped[str]


class History:
    """The file, open. Every method is one transaction; two processes wait for each other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": PATIENCE / 1000})
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        with self._session() as db:
            sound = db.execute(text("PRAGMA quick_check(1)")).scalar_one()
            version = db.execute(text("PRAGMA user_version")).scalar_one()
            if sound != "ok":
                raise DatabaseError("quick_check", None, Exception(str(sound)))
            if version not in (0, SCHEMA):
                raise Problem(
                    f"The drift history {path} was written by another version of Seawall (schema {version}, this is "
                    f"{SCHEMA}). Use that version, or move the file away to begin a new history."
                )
            Base.metadata.create_all(db.connection())
            db.execute(text(f"PRAGMA user_version = {SCHEMA}"))

    @classmethod
    def of(cls, where: Places) -> History:
        return cls(where.root / "drift.sqlite")

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with Session(self._engine, expire_on_commit=False) as db, db.begin():
                yield db
        except OperationalError as error:
            if "locked" in str(error.orig) or "busy" in str(error.orig):
                raise Problem(
                    f"The drift history {self.path} is in use by another program for more than {PATIENCE // 1000} s. "
                    "End what holds it (`fuser` names it), then look again; this look was not recorded."
                ) from None
            raise self._broken(error) from None
        except DatabaseError as error:
            raise self._broken(error) from None

    def _broken(self, error: DatabaseError) -> Problem:
        return Problem(
            f"The drift history {self.path} cannot be used: {error.orig}. Nothing in it was changed. Put back a copy, "
            "or move the file away to begin a new history (first_seen then begins anew, too)."
        )

    def begin(self, report_id: str, stack: str, mode: str) -> None:
        """A run begins; whoever finds it without an end knows that it died."""
        with self._session() as db:
            db.merge(Look(id=report_id, stack=stack, mode=mode, began=_iso(datetime.now(UTC)), ended=None))

    def record(self, report: Report) -> list[Difference]:
        """Keep what a run found; its differences, each with when it was first seen."""
        now = _iso(report.ended)
        with self._session() as db:
            self._keep_run(db, report, now)
            lasting = {
                spell.id: spell
                for spell in db.scalars(
                    select(Spell).where(Spell.went.is_(None), Spell.stack == report.stack)
                )
            }
            found = []
            for each in report.differences:
                spell = lasting.get(str(each.id))
                if spell is None:
                    spell = Spell(
                        id=str(each.id),
                        stack=report.stack,
                        came=now,
                        last=now,
                        went=None,
                        quick=False,
                        document={},
                    )
                    db.add(spell)
                    lasting[spell.id] = spell
                first = each.model_copy(update={"first_seen": datetime.fromisoformat(spell.came)})
                spell.last, spell.document = now, first.model_dump(mode="json")
                spell.quick = bool(spell.quick or report.mode == "quick")
                found.append(first)
            seen = {str(each.id) for each in report.differences}
            for spell in lasting.values():
                if spell.id not in seen and _was_asked(spell, report):
                    spell.went = now
            return found

    def _keep_run(self, db: Session, report: Report, now: str) -> None:
        statuses = [each.status for each in report.differences]
        db.merge(
            Look(
                id=report.run.id,
                stack=report.stack,
                mode=report.mode,
                began=_iso(report.began),
                ended=now,
                layers=list(report.layers),
                hosts=list(report.hosts),
                differs=statuses.count("differs"),
                unknown=statuses.count("unknown"),
            )
        )

    def state(self, stack: str, difference: Difference, holds: bool, at: datetime) -> None:
        """Keep one difference apart from a run: it came, or it went."""
        now = _iso(at)
        with self._session() as db:
            spell = db.scalar(
                select(Spell).where(
                    Spell.went.is_(None), Spell.stack == stack, Spell.id == str(difference.id)
                )
            )
            if holds and spell is None:
                first = difference.model_copy(update={"first_seen": datetime.fromisoformat(now)})
                db.add(
                    Spell(
                        id=str(difference.id), stack=stack, came=now, last=now, went=None, quick=True,
                        document=first.model_dump(mode="json"),
                    )
                )  # fmt: skip
            elif holds and spell is not None:
                spell.last = now
            elif spell is not None:
                spell.went = now

    def spells(self, stack: str, *, lasting: bool = False) -> list[Spell]:
        """All of a stack, newest first."""
        wanted = select(Spell).where(Spell.stack == stack).order_by(Spell.came.desc(), Spell.number.desc())
        with self._session() as db:
            return list(db.scalars(wanted.where(Spell.went.is_(None)) if lasting else wanted))

    def runs(self, stack: str, limit: int = 100) -> list[Look]:
        """The latest, newest first."""
        with self._session() as db:
            return list(
                db.scalars(select(Look).where(Look.stack == stack).order_by(Look.began.desc()).limit(limit))
            )

    def told(self, channel: str) -> dict[int, tuple[str, str]]:
        """Spell → what the channel was last told of it, and when."""
        with self._session() as db:
            rows = db.scalars(select(Told).where(Told.channel == channel).order_by(Told.number))
            return {row.spell: (row.said, row.at) for row in rows}

    def tell(self, channel: str, said: Iterable[tuple[int, str]], at: datetime) -> None:
        """The channel was told these (spell, what)."""
        now = _iso(at)
        with self._session() as db:
            db.add_all(Told(spell=spell, channel=channel, said=what, at=now) for spell, what in said)

    def close(self) -> None:
        self._engine.dispose()


def _was_asked(spell: Spell, report: Report) -> bool:
    """Whether a run looked where the spell's difference would have been, and could."""
    old = spell.difference
    if old.layer not in report.layers or (report.mode == "quick" and not spell.quick):
        return False
    on_host = old.subject.kind in HOST_KINDS
    if on_host and report.hosts and old.subject.name not in report.hosts and old.status == "differs":
        return False
    for each in report.differences:
        if each.status != "unknown" or each.layer != old.layer or each.id == old.id:
            continue
        everything = each.subject.kind in ("layer", "stack")
        if everything or (
            each.subject.kind == old.subject.kind and each.subject.name in ("all", old.subject.name)
        ):
            return False
    return True


HOST_KINDS = ("host", "droplet")


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions, not the driver
    connection.execute(f"PRAGMA busy_timeout={PATIENCE}")
    connection.execute("PRAGMA synchronous=FULL")


# --- Told to a person -------------------------------------------------------------------------------------


def document(stack: str, spells: Iterable[Spell], runs: Iterable[Look]) -> dict[str, Any]:
    """What `seawall drift history --json` prints."""
    return {
        "schema_version": SCHEMA,
        "stack": stack,
        "differences": [
            {"came": s.came, "last_seen": s.last, "went": s.went, **json.loads(json.dumps(s.document))}
            for s in spells
        ],
        "runs": [
            {
                "run": each.id, "mode": each.mode, "began": each.began, "ended": each.ended,
                "layers": each.layers, "hosts": each.hosts, "differs": each.differs, "unknown": each.unknown,
            }
            for each in runs
        ],
    }  # fmt: skip


def as_text(spells: Iterable[Spell], runs: Iterable[Look]) -> str:
    """One line a difference, newest first, and when was last looked."""
    spells, runs = list(spells), list(runs)
    lines = [
        f"{s.came[:16]}  {('until ' + s.went[:16]) if s.went else 'and lasts':<22}  [{s.difference.layer}] "
        f"{s.difference.sentence()}"
        for s in spells
    ]
    if not runs:
        return "Nobody has looked yet. `seawall drift` does."
    last = runs[0]
    ended = f"{last.ended[:16]} UTC" if last.ended else f"a run begun {last.began[:16]} UTC has no end"
    return "\n".join(
        [
            *(lines or ["No difference was ever seen."]),
            f"Last looked: {ended} ({len(runs)} runs kept in sight).",
        ]
    )
