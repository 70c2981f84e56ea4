"""Identifiers that several people of a run had, and the one of them who keeps each."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from airflow_provider_klaviyo.state.statements import change, change_by_rows, look_up


class Owned(NamedTuple):
    """A shared identifier that somebody keeps; ``value`` and ``owner`` are hashes as of people."""

    value: int
    owner: int
    field: str


class SharedIdentifiers:
    """Who keeps which shared identifier; a part of the state's table.

    Values and owners are hashes of 64 bits, signed (``state.keys.person_hash``); any number may be given at once.

    :param database: that of the state.
    :param lock: guards the database.
    """

    def __init__(self, database: sqlite3.Connection, lock: threading.RLock) -> None:
        self._database = database
        self._lock = lock
        database.execute(
            "CREATE TABLE IF NOT EXISTS shared (value INTEGER PRIMARY KEY, owner INTEGER NOT NULL, field TEXT NOT NULL)"
        )
        database.execute("CREATE INDEX IF NOT EXISTS shared_by_owner ON shared (owner)")

    def is_empty(self) -> bool:
        """Whether nobody shares anything, as mostly."""
        with self._lock:
            return self._database.execute("SELECT 1 FROM shared LIMIT 1").fetchone() is None

    def owners(self, values: Sequence[int]) -> dict[int, int]:
        """Who keeps those of these values that are shared, by value."""
        with self._lock:
            return dict(look_up(self._database, "SELECT value, owner FROM shared WHERE value IN", values))

    def of(self, owners: Sequence[int]) -> list[Owned]:
        """What these people keep."""
        with self._lock:
            query = "SELECT value, owner, field FROM shared WHERE owner IN"
            return [Owned(*row) for row in look_up(self._database, query, owners)]

    def known(self, persons: Sequence[int]) -> set[int]:
        """Those of these people, known by any identifier, of whom anything is kept."""
        return {*self.owners(persons), *(owned.owner for owned in self.of(persons))}

    def keep(self, owners: Mapping[int, int], field: str) -> None:
        """Note who keeps which values of a field.

        :param owners: people by value.
        :param field: what the values are, as Klaviyo names it: ``email``, ``phone_number`` and so on.
        """
        with self._lock:
            change_by_rows(
                self._database,
                "INSERT OR REPLACE INTO shared SELECT value, owner, :field FROM given",
                ("value", "owner"),
                list(owners.items()),
                field=field,
            )

    def release(self, values: Sequence[int]) -> None:
        """Let whoever comes have these values."""
        with self._lock:
            change(self._database, "DELETE FROM shared WHERE value IN", values)

    def forget(self, persons: Sequence[int]) -> None:
        """Delete what these people keep, and what they are known by."""
        with self._lock:
            change(self._database, "DELETE FROM shared WHERE owner IN", persons)
            change(self._database, "DELETE FROM shared WHERE value IN", persons)
