"""What a run notes on disk for itself alone: gone after it, so nothing is done to survive a crash."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

_CACHE_KIB = 8_192


def scratch_database(path: Path) -> sqlite3.Connection:
    """A database of this process alone, in one open transaction, that takes no more memory however large it is."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for setting in (
        "journal_mode=OFF",
        "synchronous=OFF",
        "locking_mode=EXCLUSIVE",
        f"cache_size=-{_CACHE_KIB}",
    ):
        database.execute(f"PRAGMA {setting}")
    return database


class FirstNotes:
    """A number for each key, on disk: the first that was noted."""

    def __init__(self, path: Path) -> None:
        self._database = scratch_database(path)
        self._database.execute("CREATE TABLE notes (key INTEGER PRIMARY KEY, number INTEGER)")
        self._database.execute("BEGIN")
        self.count = 0

    def note(self, notes: Mapping[int, int]) -> None:
        """Note numbers of keys that have none yet."""
        before = self._database.total_changes
        self._database.executemany("INSERT OR IGNORE INTO notes VALUES (?, ?)", sorted(notes.items()))
        self.count += self._database.total_changes - before

    def find(self, keys: Iterable[int]) -> dict[int, int]:
        """The numbers of those keys that have one."""
        wanted = msgspec.json.encode(sorted(set(keys))).decode()
        query = "SELECT key, number FROM notes WHERE key IN (SELECT value FROM json_each(?))"
        return dict(self._database.execute(query, (wanted,)))

    def close(self) -> None:
        """Forget everything."""
        self._database.close()
