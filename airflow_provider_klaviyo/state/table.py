"""The state as a table that answers for thousands of rows at once: a copy for one run, the log is the truth.

SQLite, because of the figures at the head of ``tests/benchmarks/diff.py``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.state.asked import AskedAddresses
from airflow_provider_klaviyo.state.departed import Departed
from airflow_provider_klaviyo.state.encounters import Encounters, Met
from airflow_provider_klaviyo.state.errors import StateUnreadable
from airflow_provider_klaviyo.state.rows import Known, Status
from airflow_provider_klaviyo.state.shared import SharedIdentifiers
from airflow_provider_klaviyo.state.statements import PART, change, change_by_rows, look_up, packed, parts
from airflow_provider_klaviyo.state.tracked import TrackedPeople

_VERSION = 2
_CACHE_KIB = 16_384
_PAGE, _SMALL_PAGE, _FEW_PAGES = 4_096, 1_024, 256
_STATUSES = {status.value: status for status in Status}
_NAMED = {status.name.lower(): status.value for status in Status}
"""The statuses as statements name them: ``:acknowledged``, ``:in_doubt`` and so on."""


class StateTable:
    """Rows by the hash of their primary key; safe to share among threads.

    Keys and persons are hashes of 64 bits, signed (``state.keys``), and any number of them may be given at once. A
    ``serial`` is the number of the entry that says what a method is told. Each row has a place, by which
    ``Encounters`` knows it.

    ``people`` are those whom the sync has put on a list, ``departed`` whom a run takes off it, ``shared`` says whose
    the identifiers are that several have, and ``asked`` who was asked for consent.

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
        self._places = 0
        try:
            self._prepare()
            self._encounters = Encounters(self._database)
            self.people = TrackedPeople(self._database, self._lock, self)
            self.departed = Departed(self._database, self._lock)
            self.shared = SharedIdentifiers(self._database, self._lock)
            self.asked = AskedAddresses(self._database, self._lock)
        except BaseException:
            self._database.close()
            raise
        self._database.execute("BEGIN")

    def look_up(self, keys: Sequence[int]) -> dict[int, Known]:
        """What is known of those of some rows that are here, by key."""
        query = "SELECT key, fingerprint, status, serial FROM rows WHERE key IN"
        with self._lock:
            rows = look_up(self._database, query, keys)
        return {row[0]: Known(row[1], _STATUSES[row[2]], row[3]) for row in rows}

    def meet(self, keys: Sequence[int], since: int) -> Met:
        """What is known of a chunk of the run's keys, which count as seen from now on.

        :param keys: in the run's order; a key that comes twice is first only once.
        :param since: acknowledgements count when an entry after this one made them.
        """
        with self._lock:
            encounters = self._begin_run()
            query = (
                "SELECT key, place, CASE WHEN status = :acknowledged AND serial > :since THEN fingerprint END, "
                "status = :in_doubt, person FROM rows WHERE key IN (SELECT value FROM json_each(:keys))"
            )
            named = {**_NAMED, "since": since, "keys": packed(sorted(keys))}
            found = self._database.execute(query, named).fetchall()
            places = {key: place for key, place, _, _, _ in found}
            strangers = [key for key in keys if key not in places]
            new = dict(zip(strangers, encounters.are_first(strangers), strict=True)) if strangers else {}
            is_first = []
            for key in keys:
                place = places.get(key)
                if place is None:
                    is_first.append(new[key])
                    new[key] = False
                else:
                    is_first.append(encounters.is_first(place))
        return Met(
            is_first,
            {key: fingerprint for key, _, fingerprint, _, _ in found if fingerprint is not None},
            {key for key, _, _, is_in_doubt, _ in found if is_in_doubt},
            found,
        )

    def _begin_run(self) -> Encounters:
        self._encounters.begin(self._places)
        return self._encounters

    def mark(self, rows: Sequence[Sequence[Any]], status: Status, serial: int) -> None:
        """Enter rows, or overwrite them but for their place.

        :param rows: as ``Sent``: key, fingerprint, person, and an identity that is not kept here.
        """
        with self._lock:
            query = "SELECT key FROM rows WHERE key IN"
            known = {key for (key,) in look_up(self._database, query, [row[0] for row in rows])}
            change_by_rows(
                self._database,
                "INSERT INTO rows (key, fingerprint, person, status, serial, place) "
                "SELECT key, fingerprint, person, :status, :serial, place FROM given WHERE true "
                "ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, "
                "person = excluded.person, status = excluded.status, serial = excluded.serial",
                ("key", "fingerprint", "person", "place"),
                [(*row[:3], self._place_for(row[0], known)) for row in rows],
                status=status.value,
                serial=serial,
            )

    def _place_for(self, key: int, known: Collection[int]) -> int:
        """A new place for a new row; one that is known keeps its own."""
        if key in known:
            return -1
        self._places += 1
        return self._places - 1

    def rehash(self, hashes: Mapping[int, int]) -> None:
        """Give rows that are acknowledged another fingerprint, and leave all else of them as it is.

        :param hashes: fingerprints by key.
        """
        with self._lock:
            self._database.executemany(
                "UPDATE rows SET fingerprint = ? WHERE key = ? AND status = ?",
                ((fingerprint, key, Status.ACKNOWLEDGED.value) for key, fingerprint in hashes.items()),
            )

    def set_status(self, keys: Sequence[int], status: Status, serial: int) -> None:
        """Give rows that are there another status."""
        with self._lock:
            statement = "UPDATE rows SET status = :status, serial = :serial WHERE key IN"
            change(self._database, statement, keys, status=status, serial=serial)

    def settle(self, keys: Sequence[int], sent: int, status: Status, serial: int) -> None:
        """The same for rows that are still in doubt by an entry: a later doubt stays one.

        :param sent: the number of the entry that put them in doubt.
        """
        with self._lock:
            for part in parts(keys):
                self._database.execute(
                    "UPDATE rows SET status = :status, serial = :serial "
                    "WHERE key IN (SELECT value FROM json_each(:keys)) AND status = :in_doubt AND serial = :sent",
                    {**_NAMED, "status": status, "serial": serial, "keys": packed(part), "sent": sent},
                )

    def overrule(self, keys: Sequence[int], persons: Sequence[int], serial: int) -> None:
        """Make rows stale that name one of these people and are not among these keys."""
        with self._lock:
            for part in parts(persons):
                self._database.execute(
                    "UPDATE rows SET status = :stale, serial = :serial "
                    "WHERE person IN (SELECT value FROM json_each(:persons)) AND person != 0 "
                    "AND status = :acknowledged AND key NOT IN (SELECT value FROM json_each(:keys))",
                    {**_NAMED, "serial": serial, "persons": packed(part), "keys": packed(keys)},
                )

    def forget(self, keys: Sequence[int]) -> None:
        """Delete rows."""
        with self._lock:
            change(self._database, "DELETE FROM rows WHERE key IN", keys)

    def forget_rows_of(self, persons: Sequence[int]) -> None:
        """Delete the rows that name these people."""
        with self._lock:
            change(self._database, "DELETE FROM rows WHERE person IN", persons)

    def make_stale(self, persons: Sequence[int], serial: int) -> None:
        """Let the rows that name these people count no longer."""
        with self._lock:
            statement = "UPDATE rows SET status = :stale, serial = :serial WHERE person IN"
            change(self._database, statement, persons, stale=Status.STALE, serial=serial)

    def people_with_settled_rows(self, persons: Sequence[int]) -> set[int]:
        """Those of these people whom a row names that counts, or is in doubt."""
        with self._lock:
            query = "SELECT DISTINCT person FROM rows WHERE status != :stale AND person IN"
            return {person for (person,) in look_up(self._database, query, persons, stale=Status.STALE)}

    def clear(self) -> None:
        """Delete everything but what belongs to this run."""
        with self._lock:
            for table in ("rows", "added", "former", "profiles", "unread", "shared", "asked"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - one of these words
            self.departed.clear()

    def keys_of_person(self, person: int) -> list[int]:
        """The rows that name a person."""
        with self._lock:
            return [
                key for (key,) in self._database.execute("SELECT key FROM rows WHERE person = ?", (person,))
            ]

    def persons_of(self, keys: Sequence[int]) -> dict[int, int]:
        """Whom rows that are there name."""
        with self._lock:
            return dict(look_up(self._database, "SELECT key, person FROM rows WHERE key IN", keys))

    def unseen(self) -> Iterator[list[int]]:
        """The people of rows that this run did not see, of at most ``PART`` rows at a time; some may come twice."""
        last: int | None = None
        query = "SELECT key, person, place FROM rows WHERE (? IS NULL OR key > ?) ORDER BY key LIMIT ?"
        while True:
            with self._lock:
                self._begin_run()
                found = self._database.execute(query, (last, last, PART)).fetchall()
            yield [person for _, person, place in found if not self.was_seen(place)]
            if len(found) < PART:
                return
            last = found[-1][0]

    def was_seen(self, place: int) -> bool:
        """Whether this run saw the row at a place."""
        return self._begin_run().include(place)

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
        """Write a compact copy, without what belongs to this run.

        :param path: a file that is not there yet, on this machine.
        """
        with self._lock:
            self._database.execute("COMMIT")
            self._database.execute(f"PRAGMA page_size = {self._page_size()}")
            self._database.execute("VACUUM main INTO ?", (str(path),))
            self._database.execute("BEGIN")

    def close(self) -> None:
        """Give the file back; nothing can be asked from then on."""
        self._database.close()

    def _page_size(self) -> int:
        """Bytes of a page of a copy: each of a dozen tables and indexes takes one, which is much of a small file."""
        ((pages,),) = self._database.execute("PRAGMA page_count")
        return _SMALL_PAGE if pages < _FEW_PAGES else _PAGE

    def _prepare(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.execute(
                "CREATE TABLE rows (key INTEGER PRIMARY KEY, fingerprint INTEGER NOT NULL, person INTEGER NOT NULL, "
                "status INTEGER NOT NULL, serial INTEGER NOT NULL, place INTEGER NOT NULL)"
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
