"""People whom a sync has put on a list, so that it can take them off when they leave the query."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.state.profile_ids import ProfileIds
from airflow_provider_klaviyo.state.rows import Status
from airflow_provider_klaviyo.state.statements import PART, change, change_by_rows, look_up, packed


class Absent(NamedTuple):
    """A person on the list that no row of this run names.

    ``held_by`` are the keys of rows that named the person before and name another person now. Row 7 named
    ``a@shop.io`` yesterday and names ``b@shop.io`` today: ``a@`` is held by row 7, and stays until Klaviyo has ``b@``.
    """

    person: int
    held_by: tuple[int, ...] = ()


class _Rows(Protocol):
    """The rows of the state, in the same database."""

    def persons_of(self, keys: Sequence[int]) -> dict[int, int]: ...
    def unseen(self) -> Iterator[list[int]]: ...
    def was_seen(self, place: int) -> bool: ...


class TrackedPeople:
    """People that the sync has put on the list, and the people that rows named before; a part of the state's table.

    Persons and keys are hashes of 64 bits, signed (``state.keys``), and any number of them may be given at once. An
    identity is what a person is known by, written out as ``records`` do: the identifier's name, NUL, its value.

    ``ids`` are Klaviyo's of the same people, as far as they were read.

    :param database: that of the state.
    :param lock: guards the database.
    :param rows: those of the same state.
    """

    def __init__(self, database: sqlite3.Connection, lock: threading.RLock, rows: _Rows) -> None:
        self._database = database
        self._lock = lock
        self._rows = rows
        for table in (
            "TABLE IF NOT EXISTS added (person INTEGER PRIMARY KEY, identity TEXT NOT NULL, is_sure INTEGER NOT NULL)",
            "TABLE IF NOT EXISTS former (person INTEGER, key INTEGER, PRIMARY KEY (person, key)) WITHOUT ROWID",
            "TEMP TABLE named (person INTEGER PRIMARY KEY)",
            "TEMP TABLE leaving (person INTEGER PRIMARY KEY)",
        ):
            database.execute(f"CREATE {table}")
        self.ids = ProfileIds(database, lock)

    # --- what happens -----------------------------------------------------------------------------------------

    def track(self, identities: Mapping[int, tuple[int, str]]) -> None:
        """These may be on the list from now on; to be called before the rows change.

        :param identities: person and identity, by the key of the row that names them.
        """
        with self._lock:
            self._database.executemany("INSERT OR IGNORE INTO added VALUES (?, ?, 0)", identities.values())
        self.keep_former({key: person for key, (person, _) in identities.items()})

    def keep_former(self, persons: Mapping[int, int]) -> None:
        """Remember the person that a row named before, where it names another one now; call it before rows change.

        :param persons: the person that a row names now, by the row's key.
        """
        with self._lock:
            before = self._rows.persons_of(list(persons))
            change_by_rows(
                self._database,
                "INSERT OR IGNORE INTO former (key, person) SELECT key, person FROM given",
                ("key", "person"),
                [(key, person) for key, person in before.items() if person != persons[key]],
            )
            change_by_rows(
                self._database,
                "DELETE FROM former WHERE (person, key) IN (SELECT person, key FROM given)",
                ("key", "person"),
                list(persons.items()),
            )

    def confirm(self, persons: Sequence[int]) -> None:
        """Klaviyo has put these on the list."""
        with self._lock:
            change(self._database, "UPDATE added SET is_sure = 1 WHERE person IN", persons)
        self.ids.expect(persons)

    def refuse(self, persons: Sequence[int]) -> None:
        """Klaviyo refused these people: those not put on the list before are not on it by the sync's doing."""
        with self._lock:
            change(self._database, "DELETE FROM added WHERE is_sure = 0 AND person IN", persons)

    def forget(self, persons: Sequence[int]) -> None:
        """Keep nothing of these, be it because they were taken off the list."""
        with self._lock:
            change(self._database, "DELETE FROM added WHERE person IN", persons)
            change(self._database, "DELETE FROM former WHERE person IN", persons)
        self.ids.forget(persons)

    def name(self, persons: Sequence[int]) -> None:
        """A row of this run names these, whatever becomes of the row."""
        with self._lock:
            self._database.execute(
                "INSERT OR IGNORE INTO named SELECT value FROM json_each(?)", (packed(sorted(persons)),)
            )

    # --- what is known ----------------------------------------------------------------------------------------

    def count(self) -> int:
        """How many the sync has put on the list."""
        with self._lock:
            return int(self._database.execute("SELECT COUNT(*) FROM added").fetchone()[0])

    def known_by(self) -> str | None:
        """The field that identifies them; None while there is nobody."""
        with self._lock:
            row = self._database.execute("SELECT identity FROM added LIMIT 1").fetchone()
        return Identity.of(row[0]).field if row else None

    def identities(self, persons: Sequence[int]) -> dict[int, str]:
        """Their identities, as whole texts."""
        with self._lock:
            return dict(
                look_up(self._database, "SELECT person, identity FROM added WHERE person IN", persons)
            )

    def absent(self) -> Iterator[list[Absent]]:
        """The people that the sync has put on the list and that no row of this run names, some thousand at a time."""
        for persons in self._rows.unseen():
            with self._lock:
                self._database.execute(
                    "INSERT OR IGNORE INTO leaving SELECT value FROM json_each(?)", (packed(sorted(persons)),)
                )
        with self._lock:
            self._database.execute("INSERT OR IGNORE INTO leaving SELECT DISTINCT person FROM former")
        for persons in self._leaving():
            tracked = self.identities(persons)
            yield self.unnamed([person for person in persons if person in tracked])

    def unnamed(self, persons: Sequence[int]) -> list[Absent]:
        """Those of these people that no row of this run names."""
        with self._lock:
            named = {
                person
                for (person,) in look_up(self._database, "SELECT person FROM named WHERE person IN", persons)
            }
            rows = look_up(self._database, "SELECT person, place FROM rows WHERE person IN", persons)
            named.update(person for person, place in rows if self._rows.was_seen(place))
            query = "SELECT f.person, f.key, r.place FROM former f JOIN rows r USING (key) WHERE f.person IN"
            held: dict[int, list[int]] = {}
            for person, key, place in look_up(self._database, query, persons):
                if self._rows.was_seen(place):
                    held.setdefault(person, []).append(key)
        return [Absent(person, tuple(held.get(person, ()))) for person in persons if person not in named]

    def named_among(self, persons: Sequence[int]) -> set[int]:
        """Those of these people that a row of this run names; asked for people that are not leaving.

        A tracked person that is not leaving is named by a row: so a worker knows it that did not read the query.
        """
        absent = {each.person for each in self.unnamed(persons)}
        return (set(persons) - absent) | self.identities(persons).keys()

    def newest(self) -> int:
        """The number of the last entry that said something of a row; 0 when none did."""
        with self._lock:
            return int(self._database.execute("SELECT COALESCE(MAX(serial), 0) FROM rows").fetchone()[0])

    def sent_since(self, serial: int) -> Iterator[list[str]]:
        """The identities of those whose row was sent after an entry, at most ``PART`` at a time.

        :param serial: the number of that entry.
        """
        last = -(1 << 63)
        query = (
            "SELECT r.key, a.identity FROM rows r CROSS JOIN added a USING (person) "
            "WHERE r.key > :last AND r.serial > :serial AND r.status != :stale ORDER BY r.key LIMIT :most"
        )
        while True:
            with self._lock:
                named = {"last": last, "serial": serial, "stale": Status.STALE, "most": PART}
                found = self._database.execute(query, named).fetchall()
            if not found:
                return
            yield [identity for _, identity in found]
            last = found[-1][0]

    def replaced(self, keys: Sequence[int]) -> set[int]:
        """The rows whose present person Klaviyo has acknowledged, for this row or for another of that person."""
        query = (
            "SELECT r.key FROM rows r WHERE EXISTS "
            "(SELECT 1 FROM rows o WHERE o.person = r.person AND o.status = :acknowledged) AND r.key IN"
        )
        with self._lock:
            found = look_up(self._database, query, keys, acknowledged=Status.ACKNOWLEDGED)
        return {key for (key,) in found}

    def _leaving(self) -> Iterator[list[int]]:
        last = -(1 << 63)
        query = "SELECT person FROM leaving WHERE person > ? ORDER BY person LIMIT ?"
        while True:
            with self._lock:
                persons = [person for (person,) in self._database.execute(query, (last, PART))]
            if not persons:
                return
            yield persons
            last = persons[-1]
