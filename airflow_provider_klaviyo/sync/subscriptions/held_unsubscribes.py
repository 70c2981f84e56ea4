"""People who are to be unsubscribed, brought together from all rows that ask for anything for them.

Rows of one person may ask for different channels, or name several numbers. What they ask for together is sent once
for each person: an opt-out is never a duplicate, and unsubscribing somebody from a list twice would be one too many.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from airflow_provider_klaviyo.records.record import Flawed, Mapped, Problem, Record, all_of
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord, body_of
from airflow_provider_klaviyo.sync.scratch.chunk_file import ChunkFile
from airflow_provider_klaviyo.sync.scratch.first_notes import FirstNotes, scratch_database
from airflow_provider_klaviyo.sync.scratch.packing import Packing

AT_ONCE = 1_000
"""Parts of rows that are brought together in one go."""


class Part(NamedTuple):
    """What a row asks for of one person; all parts with the same ``home`` go into one record.

    :param record: the row with no other channels.
    """

    home: int
    record: SubscriptionRecord


class Divide(Protocol):
    """Divides rows into parts by whom their addresses belong to."""

    def __call__(self, records: Sequence[SubscriptionRecord]) -> Sequence[Sequence[Part]]: ...


class HeldUnsubscribes:
    """Keeps rows until all were read, and brings them together.

    :param duplicate: why a row is skipped that asks for nothing new.
    """

    def __init__(self, folder: Path, divide: Divide, *, needs_every_row: bool, duplicate: str) -> None:
        self.needs_every_row = needs_every_row
        self._records: ChunkFile[list[SubscriptionRecord]] = ChunkFile(
            folder / "held", list[SubscriptionRecord]
        )
        self._parts = _Parts(folder)
        self._divide = divide
        self._duplicate = (Problem("", duplicate),)
        self._numbers = itertools.count(1)
        self._is_complete = False
        self._first: Sequence[_Placed] = ()

    def keep(self, records: Sequence[Record]) -> None:
        """Write records down; they are kept when this has come to its end."""
        if records:
            self._records.add(all_of(SubscriptionRecord, records))

    def complete(self) -> None:
        """Every row was read: divide them by whom they are about."""
        for records in self._records:
            self._parts.add(self._divide(records))
        self._is_complete = True

    def first(self) -> Sequence[Record]:
        """The parts of rows for the next people."""
        self._first = self._parts.first()
        return [placed.record for placed in self._first]

    def drop_first(self) -> None:
        """Keep these no longer."""
        self._parts.drop(self._first[-1])

    def judge(self, records: Sequence[Record]) -> Mapped:  # noqa: ARG002 - they are the first ones
        """One record for each person, numbered anew, and the rows that ask for nothing new."""
        people: list[Record] = []
        skipped = []
        for _, placed in itertools.groupby(self._first, key=lambda each: (each.lead, each.home)):
            together, repeated = _sorted([each.record for each in placed])
            people.append(_brought_together(together, next(self._numbers)))
            skipped += [Flawed(each.number, each.row, self._duplicate) for each in repeated]
        return Mapped(people, [], [], skipped)

    def rest(self) -> Iterator[Sequence[Record]]:
        """The records of rows that nothing was handed out of, each once."""
        return self._parts.rest() if self._is_complete else iter(self._records)

    def close(self) -> None:
        """Forget everything."""
        self._records.close()
        self._parts.close()


def _sorted(parts: Sequence[SubscriptionRecord]) -> tuple[list[SubscriptionRecord], list[SubscriptionRecord]]:
    """The parts of one person that ask for anything, and those that only repeat what others ask for."""
    together, repeated = [], []
    asked: set[str] = set()
    for part in parts:
        if part.shares == 1 and asked.issuperset(part.channels):
            repeated.append(part)
        else:
            together.append(part)
            asked.update(part.channels)
    return together, repeated


def _brought_together(parts: Sequence[SubscriptionRecord], number: int) -> SubscriptionRecord:
    """One record that asks for all that the parts ask for."""
    first = parts[0]
    identifiers: dict[str, str] = {}
    for part in parts:
        identifiers = {**part.identifiers, **identifiers}
    spelled = next((part.spellings for part in parts if "email" in part.identifiers), ())
    record = SubscriptionRecord(
        number,
        first.row,
        first.identity,
        b"",
        mode=first.mode,
        channels=tuple(dict.fromkeys(channel for part in parts for channel in part.channels)),
        identifiers=identifiers,
        matched_by=first.matched_by,
        spellings=spelled,
        rows=tuple(parts),
    )
    record.body = body_of(record)
    return record


# ------------------------------------------------------------------------------------------------------------


class _Placed(NamedTuple):
    """A part with its position: behind the parts of whoever an earlier row names."""

    lead: int
    home: int
    serial: int
    record: SubscriptionRecord


class _Parts:
    """Parts of rows on disk, those of one person together, in the order in which rows first name people."""

    def __init__(self, folder: Path) -> None:
        self._leads = FirstNotes(folder / "leads.sqlite")
        self._database: sqlite3.Connection = scratch_database(folder / "parts.sqlite")
        self._packing: Packing[SubscriptionRecord] = Packing(SubscriptionRecord)
        self._database.execute(
            "CREATE TABLE parts (lead INTEGER, home INTEGER, serial INTEGER, is_first INTEGER, record BLOB, "
            "PRIMARY KEY (lead, home, serial)) WITHOUT ROWID"
        )
        self._database.execute("BEGIN")
        self._serials = itertools.count(1)
        self._dropped = (0, 0)

    def add(self, rows: Sequence[Sequence[Part]]) -> None:
        """Take the parts of rows, in the rows' order."""
        leads = self._leads.find(part.home for parts in rows for part in parts)
        for parts in rows:
            for part in parts:
                leads.setdefault(part.home, part.record.number)
        self._leads.note(leads)
        self._database.executemany(
            "INSERT INTO parts VALUES (?, ?, ?, ?, ?)",
            itertools.chain.from_iterable(self._entries(parts, leads) for parts in rows),
        )

    def _entries(self, parts: Sequence[Part], leads: Mapping[int, int]) -> Iterator[tuple[object, ...]]:
        foremost = min((leads[part.home], part.home) for part in parts)
        for part in parts:
            part.record.shares = len(parts)
            index = (leads[part.home], part.home)
            yield (*index, next(self._serials), index == foremost, self._packing.dump(part.record))

    def first(self) -> Sequence[_Placed]:
        """The next parts, with all others of the same people."""
        found = self._after(self._dropped, AT_ONCE)
        if len(found) < AT_ONCE:
            return found
        last = (found[-1].lead, found[-1].home)
        whole = [each for each in found if (each.lead, each.home) != last]
        return whole or self._of(*last)

    def drop(self, last: _Placed) -> None:
        """Go on behind a person."""
        self._dropped = (last.lead, last.home)

    def rest(self) -> Iterator[Sequence[Record]]:
        """The rows whose first part was not dropped."""
        last: tuple[int, ...] = (*self._dropped, 1 << 62)
        query = (
            "SELECT lead, home, serial, record FROM parts WHERE is_first AND (lead, home, serial) > (?, ?, ?) "
            "ORDER BY lead, home, serial LIMIT ?"
        )
        while found := self._read(query, *last, AT_ONCE):
            yield [each.record for each in found]
            last = found[-1][:3]

    def _after(self, index: tuple[int, int], most: int) -> list[_Placed]:
        query = (
            "SELECT lead, home, serial, record FROM parts WHERE (lead, home) > (?, ?) "
            "ORDER BY lead, home, serial LIMIT ?"
        )
        return self._read(query, *index, most)

    def _of(self, lead: int, home: int) -> list[_Placed]:
        query = "SELECT lead, home, serial, record FROM parts WHERE lead = ? AND home = ? ORDER BY serial"
        return self._read(query, lead, home)

    def _read(self, query: str, *values: int) -> list[_Placed]:
        found = self._database.execute(query, values).fetchall()
        return [
            _Placed(lead, home, serial, self._packing.load(record)) for lead, home, serial, record in found
        ]

    def close(self) -> None:
        """Forget everything."""
        self._leads.close()
        self._database.close()
