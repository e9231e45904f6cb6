"""The record of a run's labels: events in SQLite, never changed."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from hundredfold.annotate.events import COLUMNS, Answer, Event, Proposal, Round, chain_of
from hundredfold.annotate.standing import Standing
from hundredfold.errors import InputError

__all__ = ["FILE", "Conflict", "Store"]

#: The name of the record in a run directory.
FILE = "annotations.sqlite"
#: "hfan", and the version of ``events.sql``.
APPLICATION, VERSION = 0x6866616E, 1
KEY_BYTES = 32
INSERT = f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - names of ours

SELECT = f"SELECT {', '.join(COLUMNS)} FROM events ORDER BY number"  # noqa: S608 - names of ours


REVEALED = """
    SELECT revealed, model FROM events
    WHERE image = ? AND round = 'first' AND reader = ? AND revealed IS NOT NULL
    ORDER BY number DESC LIMIT 1
"""


@dataclass(frozen=True)
class Conflict:
    """An answer that was not taken, since the image was answered meanwhile.

    Args:
        image: its id.
        version: number of the last event of the image.
        now: the answer that stands; ``None`` if it was undone.
    """

    image: str
    version: int
    now: Event | None


class Store(Standing):
    """The events of one run, and the answers that stand.

    One process at a time may hold a record open (the verb sees to that); its threads may share the store.
    An answer is on the disk when a method returns: a kill or a power cut after that loses nothing.

    Args:
        connection: to a database of this schema.
        clock: gives the time.

    Examples:
        >>> store = Store.memory()
        >>> first, = store.answer("Anna", "first", [Answer("a.png", "label", "cat", key="1")])
        >>> late, = store.answer("Ben", "first", [Answer("a.png", "label", "dog")])  # saw no answer
        >>> store.labels(), type(late).__name__
        ({'a.png': 'cat'}, 'Conflict')
        >>> _ = store.undo("Anna")
        >>> store.labels(), [event.kind for event in store.events()]
        ({}, ['answer', 'conflict', 'undo'])
    """

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__()
        self._connection = connection
        self._clock = clock or _now
        for row in connection.execute(SELECT):
            self.let(Event(*row))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the record at ``path``; an empty one is made where there is none.

        Raises:
            InputError: the file is no record, is damaged, or of another version.
        """
        try:
            connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            _prepare(connection)
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"the record of labels cannot be read: {error}", where=path,
                remedy="Put back a copy of it, or move it away to begin a new one.",
            ) from None
        return cls(connection)

    @classmethod
    def memory(cls, clock: Callable[[], datetime] | None = None) -> Self:
        """An empty record that is on no disk."""
        connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        _prepare(connection)
        return cls(connection, clock)

    def close(self) -> None:
        """Close the file; what was answered is in it already."""
        with self._lock:
            self._connection.close()

    # what readers do

    def answer(
        self, reader: str, read: Round, answers: Sequence[Answer], *, batch: str | None = None
    ) -> list[Event | Conflict]:
        """Take what a reader says, all of it at once; an image that was answered meanwhile is left as it is.

        Args:
            reader: a name.
            read: in which round.
            answers: on different images; their ``version`` is what the reader saw.
            batch: a name of what is done at one stroke, and undone so.

        Returns:
            For each answer the event, or why it was not taken. Both are in the record.

        Raises:
            ValueError: two answers are on one image.
        """
        if len({answer.image for answer in answers}) < len(answers):
            raise ValueError("two answers at once on one image")
        with self._writing() as write:
            return [self._answer(write, reader, read, answer, batch) for answer in answers]

    def undo(self, reader: str) -> list[Event]:
        """Take back a reader's last answer that still stands, with its batch; what stood before comes back.

        Returns:
            The events; none if nothing of the reader's stands.
        """
        with self._writing() as write:
            return [self._undo(write, event) for event in self._last_of(reader)]

    def set_aside(self, reader: str, images: Sequence[str], batch: str | None = None) -> None:
        """Note that images do not belong to the others of their grid, so that they come singly."""
        with self._writing() as write:
            for image in images:
                write(Event(0, "", reader, "aside", image=image, batch=batch))

    def describe(self, reader: str, name: str, facts: Mapping[str, Any]) -> None:
        """Say all there is to say of the class with the id ``name``; see :class:`ClassBook`."""
        with self._writing() as write:
            write(Event(0, "", reader, "class", label=name, detail=json.dumps(dict(facts))))

    def revealed(self, reader: str, image: str) -> Proposal | None:
        """The proposal that a reader was shown after an earlier answer on the image, and still knows."""
        with self._lock:
            row = self._connection.execute(REVEALED, (image, reader)).fetchone()
        return None if row is None else Proposal(**json.loads(row[0]), model=row[1])

    def events(self) -> Iterator[Event]:
        """All events, in their order."""
        with self._lock:
            rows = self._connection.execute(SELECT).fetchall()
        yield from (Event(*row) for row in rows)

    @property
    def key(self) -> bytes:
        """A secret of this record, 32 bytes: names that nobody can guess are made with it."""
        (value,) = self._connection.execute("SELECT value FROM meta WHERE name = 'key'").fetchone()
        return bytes.fromhex(value)

    # inside

    @contextmanager
    def _writing(self) -> Iterator[Callable[[Event], Event]]:
        """Append events, all of them or none, and on the disk at the end; only then they count."""
        written: list[Event] = []
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield lambda event: self._write(event, written)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have ended it
                    self._connection.execute("ROLLBACK")
                raise
            for event in written:
                self.let(event)

    def _write(self, event: Event, written: list[Event]) -> Event:
        number = self._number + len(written) + 1
        stands = number if event.kind == "answer" else event.stands
        event = replace(
            event, number=number, stands=stands, at=self._clock().isoformat(timespec="milliseconds")
        )
        self._connection.execute(INSERT, event.row)
        written.append(event)
        return event

    def _answer(
        self, write: Callable[[Event], Event], reader: str, read: Round, answer: Answer, batch: str | None
    ) -> Event | Conflict:
        chain = chain_of(answer.image, read, reader)
        version = self._versions.get(chain, 0)
        told = [proposal for proposal in (answer.shown, answer.revealed) if proposal is not None]
        event = Event(
            0, "", reader, "answer", *chain, answer.says, answer.label, answer.key or None, answer.how, batch,
            int(answer.check_up), answer.shown.text if answer.shown else None,
            answer.revealed.text if answer.revealed else None, told[0].model if told else None,
            version or None,
        )
        if answer.version == version:
            return write(event)
        now = self._standing.get(chain)
        if now and (now.reader, now.value, now.previous or 0) == (reader, answer.value, answer.version):
            return now  # the same once more: the first time its receipt was lost
        write(replace(event, kind="conflict", detail=json.dumps({"saw": answer.version})))
        return Conflict(answer.image, version, now)

    def _undo(self, write: Callable[[Event], Event], undone: Event) -> Event:
        chain = undone.chain
        before = self._before.get(undone.number)
        return write(Event(
            0, "", undone.reader, "undo", *chain, batch=undone.batch, previous=self._versions[chain],
            stands=before,
        ))


def _now() -> datetime:
    return datetime.now(UTC)


def _prepare(connection: sqlite3.Connection) -> None:
    """Make a connection safe, and an empty database a record.

    Raises:
        sqlite3.DatabaseError: it is another's database, or of another version.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and (application, version) != (APPLICATION, VERSION):
        raise sqlite3.DatabaseError(f"it is no record of version {VERSION}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # an answer is on the disk before it is acknowledged
    connection.execute("PRAGMA fullfsync = ON")  # macOS: on the disk, and not in its cache; elsewhere nothing
    connection.execute("PRAGMA trusted_schema = OFF")
    if not tables:
        _make(connection)


def _make(connection: sqlite3.Connection) -> None:
    schema = files("hundredfold.annotate").joinpath("events.sql").read_text(encoding="utf-8")
    key = secrets.token_hex(KEY_BYTES)
    connection.executescript(
        f"BEGIN; {schema} INSERT INTO meta VALUES ('key', '{key}');"  # noqa: S608 - hexadecimal digits of ours
        f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
    )
