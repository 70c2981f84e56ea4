"""Klaviyo's ids of the people on a list: by these, people are found whose address was changed in Klaviyo by hand."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence

from airflow_provider_klaviyo.state.statements import change, look_up

_LOOKS = 3
"""So many looks without an id end the search: a new member shows on the list after a moment, if ever."""


class ProfileIds:
    """The ids of whom the sync has put on the list, and whose are still to be read; a part of the state's table.

    A person may have several: where the address was changed by hand and the row was sent once more, Klaviyo has made a
    second profile, and the sync has put both on the list. Persons are hashes (``state.keys``), any number at once.

    :param database: that of the state, with the people whom it has put on the list (``TrackedPeople``).
    :param lock: guards the database.
    """

    def __init__(self, database: sqlite3.Connection, lock: threading.RLock) -> None:
        self._database = database
        self._lock = lock
        is_known = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'unread'").fetchone()
        for table in (
            "profiles (person INTEGER, id TEXT, PRIMARY KEY (person, id)) WITHOUT ROWID",
            "unread (person INTEGER PRIMARY KEY, looks INTEGER NOT NULL)",
        ):
            database.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        if not is_known:  # the snapshot of a release that read no ids
            database.execute(f"{_EXPECT} AND is_sure = 1")

    # --- what happens -----------------------------------------------------------------------------------------

    def expect(self, persons: Sequence[int]) -> None:
        """These are on the list from now on, so their ids can be read."""
        with self._lock:
            change(self._database, f"{_EXPECT} AND person IN", persons)

    def learn(self, ids: Mapping[int, Sequence[str]]) -> None:
        """The list was asked for these.

        :param ids: what it shows, by person; none where it shows nobody.
        """
        with self._lock:
            self._database.executemany(
                "INSERT OR IGNORE INTO profiles SELECT person, ? FROM added WHERE person = ?",
                ((each, person) for person, found in ids.items() for each in found),
            )
            change(self._database, "DELETE FROM unread WHERE person IN", [each for each in ids if ids[each]])
            missing = [each for each in ids if not ids[each]]
            change(self._database, "UPDATE unread SET looks = looks + 1 WHERE person IN", missing)
            self._database.execute("DELETE FROM unread WHERE looks >= ?", (_LOOKS,))

    def forget(self, persons: Sequence[int]) -> None:
        """Keep no ids of these."""
        with self._lock:
            for table in ("profiles", "unread"):
                change(self._database, f"DELETE FROM {table} WHERE person IN", persons)  # noqa: S608 - ours

    # --- what is known ----------------------------------------------------------------------------------------

    def of(self, persons: Sequence[int]) -> dict[int, set[str]]:
        """The ids that are known of these, by person."""
        found: dict[int, set[str]] = {}
        with self._lock:
            rows = look_up(self._database, "SELECT person, id FROM profiles WHERE person IN", persons)
        for person, each in rows:
            found.setdefault(person, set()).add(each)
        return found

    def persons(self, profile: str) -> list[int]:
        """Who has an id; reads all ids."""
        with self._lock:
            query = "SELECT person FROM profiles WHERE id = ?"
            return [person for (person,) in self._database.execute(query, (profile,))]

    def unread(self, most: int) -> list[int]:
        """People whose ids are to be read, those first for whom the list was asked least often."""
        with self._lock:
            query = "SELECT person FROM unread ORDER BY looks, person LIMIT ?"
            return [person for (person,) in self._database.execute(query, (most,))]

    def unread_of(self, persons: Sequence[int]) -> set[int]:
        """Those of these whose ids are to be read."""
        with self._lock:
            found = look_up(self._database, "SELECT person FROM unread WHERE person IN", persons)
        return {person for (person,) in found}

    def count_unread(self) -> int:
        """How many people's ids are to be read."""
        with self._lock:
            return int(self._database.execute("SELECT COUNT(*) FROM unread").fetchone()[0])


_EXPECT = (
    "INSERT OR REPLACE INTO unread SELECT person, 0 FROM added WHERE substr(identity, 1, 10) != 'klaviyo_id'"
)
"""Whom the state knows by Klaviyo's id has no other one to be read."""
