"""Whom the tries of one run took off a list: a retry may not remove as many again."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence

from airflow_provider_klaviyo.state.statements import change, packed


class Departed:
    """People whom a run has begun to take off the list, until it has succeeded; a part of the state's table.

    Persons are hashes of 64 bits, signed (``state.keys``), and any number may be given at once.

    :param database: that of the state.
    :param lock: guards the database.
    """

    def __init__(self, database: sqlite3.Connection, lock: threading.RLock) -> None:
        self._database = database
        self._lock = lock
        for table in ("departed (person INTEGER PRIMARY KEY)", "departed_by (run TEXT NOT NULL)"):
            database.execute(f"CREATE TABLE IF NOT EXISTS {table}")

    def add(self, run: str, persons: Sequence[int]) -> None:
        """A run is about to take these off; whom another run took off is forgotten."""
        with self._lock:
            if self._run() != run:
                self.clear()
                self._database.execute("INSERT INTO departed_by VALUES (?)", (run,))
            self._database.execute(
                "INSERT OR IGNORE INTO departed SELECT value FROM json_each(?)", (packed(sorted(persons)),)
            )

    def by(self, run: str) -> set[int]:
        """Whom the tries of a run have begun to take off."""
        with self._lock:
            if self._run() != run:
                return set()
            return {person for (person,) in self._database.execute("SELECT person FROM departed")}

    def forget(self, persons: Sequence[int]) -> None:
        """Keep nothing of these."""
        with self._lock:
            change(self._database, "DELETE FROM departed WHERE person IN", persons)

    def clear(self) -> None:
        """Keep nothing of anybody."""
        with self._lock:
            for table in ("departed", "departed_by"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - one of these words

    def _run(self) -> str | None:
        row = self._database.execute("SELECT run FROM departed_by").fetchone()
        return row[0] if row else None
