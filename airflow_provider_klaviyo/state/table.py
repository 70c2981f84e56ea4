"""The state as a table that answers for thousands of rows at once: a copy for one run, the log is the truth.

SQLite, because of the figures at the head of ``tests/benchmarks/diff.py``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from airflow_provider_klaviyo.state.errors import StateUnreadable

_VERSION = 1
_CACHE_KIB = 16_384
_PART = 10_000


class Status(IntEnum):
    """What is known of a row; a row that the table does not have is new."""

    ACKNOWLEDGED = 1
    FAILED = 2
    IN_DOUBT = 3
    STALE = 4


class Known(NamedTuple):
    """What the table has of a row; ``serial`` is the number of the entry that said so."""

    fingerprint: int
    status: Status
    serial: int


class Marked(NamedTuple):
    """A row as the table takes it."""

    key: int
    fingerprint: int
    person: int
    identity: str | None


class Met(NamedTuple):
    """Which keys a run meets for the first time, the fingerprints of the acknowledged, and who is in doubt."""

    is_first: list[bool]
    acknowledged: Mapping[int, int]
    in_doubt: Collection[int]


class Gone(NamedTuple):
    """A row that this run did not see."""

    key: int
    person: int
    identity: str | None
    status: Status


class StateTable:
    """Rows by the hash of their primary key; safe to share among threads.

    Which rows a run has seen is a bit for each, by the row's place: a table of keys would cost a third of the diff.

    :param path: the file; made when it is not there.
    :raises StateUnreadable: when it is of another release's form.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for setting in (
            "journal_mode=OFF",
            "synchronous=OFF",
            "locking_mode=EXCLUSIVE",
            f"cache_size=-{_CACHE_KIB}",
            "temp_store=FILE",
        ):
            self._database.execute(f"PRAGMA {setting}")
        self._chunk = 0
        self._places = self._old_places = 0
        self._bits: bytearray | None = None
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise
        self._database.execute("BEGIN")

    def look_up(self, keys: Sequence[int]) -> dict[int, Known]:
        """What is known of some rows."""
        found: dict[int, Known] = {}
        with self._lock:
            for part in _parts(keys):
                rows = self._database.execute(
                    "SELECT key, fingerprint, status, serial FROM rows WHERE key IN (SELECT value FROM json_each(?))",
                    (_json(sorted(part)),),
                )
                found.update((row[0], Known(row[1], _STATUS[row[2]], row[3])) for row in rows)
        return found

    def meet(self, keys: Sequence[int], since: int) -> Met:
        """What is known of a chunk of the run's keys, which count as seen from now on.

        :param since: acknowledgements count when an entry after this one made them.
        """
        with self._lock:
            self._begin_run()
            query = (
                "SELECT key, place, CASE WHEN status = 1 AND serial > ? THEN fingerprint END, status = 3 FROM rows "
                "WHERE key IN (SELECT value FROM json_each(?))"
            )
            found = self._database.execute(query, (since, _json(sorted(keys)))).fetchall()
            places = {key: place for key, place, _, _ in found}
            strangers = [key for key in keys if key not in places]
            new = dict(zip(strangers, self._first_met(strangers), strict=True)) if strangers else {}
            is_first = []
            for key in keys:
                place = places.get(key)
                if place is None:
                    is_first.append(new[key])
                    new[key] = False
                else:
                    is_first.append(self._is_first_seen(place))
        return Met(
            is_first,
            {key: fingerprint for key, _, fingerprint, _ in found if fingerprint is not None},
            {key for key, _, _, is_in_doubt in found if is_in_doubt},
        )

    def _begin_run(self) -> None:
        """Rows that are here by now get a bit each; those that come later were met before they came."""
        if self._bits is None:
            self._bits = bytearray(self._places // 8 + 1)
            self._old_places = self._places

    def _is_first_seen(self, place: int) -> bool:
        bits = self._bits
        if bits is None or place >= self._old_places:
            return False
        byte, bit = place >> 3, 1 << (place & 7)
        if bits[byte] & bit:
            return False
        bits[byte] |= bit
        return True

    def _first_met(self, keys: Sequence[int]) -> list[bool]:
        """Which keys that no row has were not met in an earlier chunk."""
        self._chunk += 1
        before = self._database.total_changes
        self._database.execute(
            "INSERT OR IGNORE INTO met SELECT value, ? FROM json_each(?)", (self._chunk, _json(sorted(keys)))
        )
        if self._database.total_changes - before == len(keys):
            return [True] * len(keys)
        old = self._database.execute(
            "SELECT key FROM met WHERE chunk < ? AND key IN (SELECT value FROM json_each(?))",
            (self._chunk, _json(sorted(keys))),
        )
        met = {key for (key,) in old}
        return [key not in met for key in keys]

    def mark(self, rows: Sequence[Sequence[Any]], status: Status, serial: int) -> None:
        """Enter rows, given as ``Marked``, or overwrite them."""
        with self._lock:
            known = self.look_up([row[0] for row in rows])
            self._database.executemany(
                "INSERT INTO rows (key, fingerprint, person, identity, status, serial, place) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, "
                "person = excluded.person, identity = excluded.identity, status = excluded.status, "
                "serial = excluded.serial",
                ((*row, status.value, serial, self._place_for(row[0], known)) for row in rows),
            )

    def _place_for(self, key: int, known: Mapping[int, Known]) -> int:
        """A new place for a new row; one that is known keeps its own."""
        if key in known:
            return -1
        self._places += 1
        return self._places - 1

    def settle(self, keys: Sequence[int], status: Status, serial: int) -> None:
        """Give rows that are there another status."""
        with self._lock:
            for part in _parts(keys):
                self._database.execute(
                    "UPDATE rows SET status = ?, serial = ? WHERE key IN (SELECT value FROM json_each(?))",
                    (status.value, serial, _json(part)),
                )

    def settle_sent(self, keys: Sequence[int], sent: int, status: Status, serial: int) -> None:
        """The same for rows that are still in doubt by the entry ``sent``: a later doubt stays one."""
        with self._lock:
            for part in _parts(keys):
                self._database.execute(
                    "UPDATE rows SET status = ?, serial = ? "
                    "WHERE key IN (SELECT value FROM json_each(?)) AND status = 3 AND serial = ?",
                    (status.value, serial, _json(part), sent),
                )

    def overrule(self, keys: Sequence[int], persons: Sequence[int], serial: int) -> None:
        """Make rows stale that name one of these people and are not among these keys."""
        with self._lock:
            for part in _parts(persons):
                self._database.execute(
                    "UPDATE rows SET status = 4, serial = ? WHERE person IN (SELECT value FROM json_each(?)) "
                    "AND person != 0 AND status = 1 AND key NOT IN (SELECT value FROM json_each(?))",
                    (serial, _json(part), _json(keys)),
                )

    def forget(self, keys: Sequence[int]) -> None:
        """Delete rows."""
        with self._lock:
            for part in _parts(keys):
                self._database.execute(
                    "DELETE FROM rows WHERE key IN (SELECT value FROM json_each(?))", (_json(part),)
                )

    def keys_of_person(self, person: int) -> list[int]:
        """The rows that name a person."""
        with self._lock:
            return [
                key for (key,) in self._database.execute("SELECT key FROM rows WHERE person = ?", (person,))
            ]

    def gone(self) -> Iterator[Gone]:
        """The rows that this run did not see."""
        last: int | None = None
        query = (
            "SELECT key, person, identity, status, place FROM rows WHERE (? IS NULL OR key > ?) "
            "ORDER BY key LIMIT ?"
        )
        while True:
            with self._lock:
                self._begin_run()
                found = self._database.execute(query, (last, last, _PART)).fetchall()
            for key, person, identity, status, place in found:
                if not self._was_seen(place):
                    yield Gone(key, person, identity, Status(status))
            if len(found) < _PART:
                return
            last = found[-1][0]

    def _was_seen(self, place: int) -> bool:
        bits = self._bits
        return place >= self._old_places or bool(bits and bits[place >> 3] & 1 << (place & 7))

    def count_gone(self) -> int:
        """How many rows this run did not see."""
        return sum(1 for _ in self.gone())

    def counts(self) -> Mapping[Status, int]:
        """How many rows there are, by status."""
        with self._lock:
            rows = self._database.execute("SELECT status, COUNT(*) FROM rows GROUP BY status").fetchall()
        return {Status(status): count for status, count in rows}

    def is_empty(self) -> bool:
        """Whether there is no row."""
        with self._lock:
            return self._database.execute("SELECT 1 FROM rows LIMIT 1").fetchone() is None

    def freeze(self, path: Path) -> None:
        """Write a compact copy, without what belongs to this run."""
        with self._lock:
            self._database.execute("COMMIT")
            self._database.execute("VACUUM main INTO ?", (str(path),))
            self._database.execute("BEGIN")

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    def _prepare(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.execute(
                "CREATE TABLE rows (key INTEGER PRIMARY KEY, fingerprint INTEGER NOT NULL, person INTEGER NOT NULL, "
                "status INTEGER NOT NULL, serial INTEGER NOT NULL, place INTEGER NOT NULL, identity TEXT)"
            )
            self._database.execute("CREATE INDEX rows_by_person ON rows (person)")
            self._database.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            msg = (
                f"The state's snapshot has form {version}, and this release reads form {_VERSION}: use the release "
                "that wrote it, or run once with full_refresh=True, which starts a new state."
            )
            raise StateUnreadable(msg)
        (self._places,) = self._database.execute("SELECT COALESCE(MAX(place), -1) + 1 FROM rows").fetchone()
        self._database.execute("CREATE TEMP TABLE met (key INTEGER PRIMARY KEY, chunk INTEGER NOT NULL)")


_STATUS = {status.value: status for status in Status}


def _json(values: Sequence[int]) -> str:
    """A list of values travels as one JSON text, which is a third faster than a statement for each."""
    return msgspec.json.encode(values).decode()


def _parts(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), _PART):
        yield values[start : start + _PART]
