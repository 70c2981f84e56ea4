"""The state as a table that answers for thousands of rows at once: a copy for one run, the log is the truth.

SQLite, because of the figures at the head of ``tests/benchmarks/diff.py``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

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


class Gone(NamedTuple):
    """A row that this run did not see."""

    key: int
    person: int
    identity: str | None
    status: Status


class StateTable:
    """Rows by the hash of their primary key; safe to share among threads.

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

    def is_acknowledged(self, keys: Sequence[int], prints: Sequence[int], since: int) -> list[bool]:
        """Which rows are acknowledged with exactly this fingerprint, by an entry after ``since``."""
        with self._lock:
            rows = self._database.execute(
                "SELECT key, fingerprint FROM rows WHERE key IN (SELECT value FROM json_each(?)) "
                "AND status = 1 AND serial > ?",
                (_json(sorted(keys)), since),
            )
            known = dict(rows.fetchall())
        return [known.get(key) == fingerprint for key, fingerprint in zip(keys, prints, strict=True)]

    def first_seen(self, keys: Sequence[int]) -> list[bool]:
        """Which keys occur for the first time in this run, also among themselves."""
        with self._lock:
            before = self._database.total_changes
            self._database.execute(
                "INSERT OR IGNORE INTO seen SELECT value, ? FROM json_each(?)",
                (self._chunk, _json(sorted(keys))),
            )
            self._chunk += 1
            if self._database.total_changes - before == len(keys):
                return [True] * len(keys)
            old = self._database.execute(
                "SELECT key FROM seen WHERE chunk < ? AND key IN (SELECT value FROM json_each(?))",
                (self._chunk - 1, _json(sorted(keys))),
            )
            met = {key for (key,) in old}
        news = []
        for key in keys:
            news.append(key not in met)
            met.add(key)
        return news

    def mark(self, rows: Iterable[Sequence[object]], status: Status, serial: int) -> None:
        """Enter rows, given as ``Marked``, or overwrite them."""
        with self._lock:
            self._database.executemany(
                "INSERT OR REPLACE INTO rows (key, fingerprint, person, identity, status, serial) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                ((*row, status.value, serial) for row in rows),
            )

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
            "SELECT key, person, identity, status FROM rows WHERE (? IS NULL OR key > ?) "
            "AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.key = rows.key) ORDER BY key LIMIT ?"
        )
        while True:
            with self._lock:
                found = self._database.execute(query, (last, last, _PART)).fetchall()
            for key, person, identity, status in found:
                yield Gone(key, person, identity, Status(status))
            if len(found) < _PART:
                return
            last = found[-1][0]

    def count_gone(self) -> int:
        """How many rows this run did not see."""
        query = "SELECT COUNT(*) FROM rows WHERE NOT EXISTS (SELECT 1 FROM seen WHERE seen.key = rows.key)"
        with self._lock:
            return int(self._database.execute(query).fetchone()[0])

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
                "status INTEGER NOT NULL, serial INTEGER NOT NULL, identity TEXT)"
            )
            self._database.execute("CREATE INDEX rows_by_person ON rows (person)")
            self._database.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            msg = (
                f"The state's snapshot has form {version}, and this release reads form {_VERSION}: use the release "
                "that wrote it, or run once with full_refresh=True, which starts a new state."
            )
            raise StateUnreadable(msg)
        self._chunk = 0
        self._database.execute("CREATE TEMP TABLE seen (key INTEGER PRIMARY KEY, chunk INTEGER NOT NULL)")


_STATUS = {status.value: status for status in Status}


def _json(values: Sequence[int]) -> str:
    """A list of values travels as one JSON text, which is a third faster than a statement for each."""
    return msgspec.json.encode(values).decode()


def _parts(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), _PART):
        yield values[start : start + _PART]
