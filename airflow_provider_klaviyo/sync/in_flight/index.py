"""The notes of a folder as this run has read them, on disk: a million people cost no more memory than a thousand."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from airflow_provider_klaviyo.state.notes import Note
from airflow_provider_klaviyo.state.statements import change, change_by_rows, look_up, packed

_CACHE_KIB = 8_192


class ActiveNote(NamedTuple):
    """What a note says of somebody."""

    kind: str
    account: str
    by: str
    at: float
    until: float


class NoteIndex:
    """Finds notes by the people in them; may be used from any thread.

    :param folder: a private one of this run.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = threading.RLock()
        self._database = sqlite3.connect(
            folder / f"notes-{uuid.uuid4().hex}.sqlite", isolation_level=None, check_same_thread=False
        )
        for statement in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            f"PRAGMA cache_size=-{_CACHE_KIB}",
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, name TEXT NOT NULL, is_own INTEGER NOT NULL, "
            "kind TEXT, account TEXT, by TEXT, at REAL, until REAL)",
            "CREATE INDEX by_name ON notes (name)",
            "CREATE TABLE noted (hash INTEGER, note INTEGER, person INTEGER, PRIMARY KEY (hash, note, person)) "
            "WITHOUT ROWID",
            "CREATE INDEX by_note ON noted (note, person)",
            "BEGIN",  # one transaction for all: nobody else reads the file, and pages are written when they must be
        ):
            self._database.execute(statement)

    def add(self, name: str, note: Note, *, is_own: bool) -> None:
        """Take a note in; one that is known already stays as it is."""
        with self._lock:
            if self._ids([name]):
                return
            added = self._database.execute(
                "INSERT INTO notes (name, is_own, kind, account, by, at, until) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, is_own, note.kind, note.account, note.by, note.at, note.until),
            )
            change_by_rows(
                self._database,
                "INSERT OR IGNORE INTO noted SELECT hash, :note, person FROM given",
                ("hash", "person"),
                [(each, person) for person, who in enumerate(note.people) for each in who],
                note=added.lastrowid,
            )

    def rename(self, names: Iterable[str], name: str) -> None:
        """Know some notes by the name of one that says what they say together."""
        with self._lock:
            for each in names:
                self._database.execute("UPDATE notes SET name = ? WHERE name = ?", (name, each))

    def names(self) -> set[str]:
        """All notes that are known."""
        with self._lock:
            return {name for (name,) in self._database.execute("SELECT name FROM notes")}

    def drop(self, names: Iterable[str]) -> None:
        """Know some notes no longer."""
        with self._lock:
            change(self._database, "DELETE FROM noted WHERE note IN", self._ids(names))
            change(self._database, "DELETE FROM notes WHERE id IN", self._ids(names))

    def active(self, hashes: Collection[int], kinds: Collection[str], now: float) -> dict[int, ActiveNote]:
        """What notes of others that count say of people, by the hash: of several notes the one that counts longest."""
        query = (
            "SELECT hash, kind, account, by, at, until FROM noted JOIN notes ON notes.id = noted.note "
            "WHERE NOT is_own AND hash IN"
        )
        with self._lock:
            has_others = self._database.execute("SELECT 1 FROM notes WHERE NOT is_own LIMIT 1").fetchone()
            found = look_up(self._database, query, list(hashes)) if has_others else []
        active: dict[int, ActiveNote] = {}
        for digest, *facts in found:
            each = ActiveNote(*facts)
            if each.kind in kinds and each.until > max(
                now, active[digest].until if digest in active else now
            ):
                active[digest] = each
        return active

    def clear(self, kind: str, hashes: Collection[int]) -> tuple[set[str], set[str]]:
        """Take people out; returns the notes without anybody now, and others from which somebody was taken."""
        of_people = "SELECT note, person, kind FROM noted JOIN notes ON notes.id = noted.note WHERE hash IN"
        with self._lock:
            found = look_up(self._database, of_people, list(hashes))
            people = {(note, person) for note, person, its_kind in found if its_kind == kind}
            change_by_rows(
                self._database,
                "DELETE FROM noted WHERE (note, person) IN (SELECT note, person FROM given)",
                ("note", "person"),
                list(people),
            )
            query = (
                "SELECT name, EXISTS (SELECT 1 FROM noted JOIN notes ON id = note WHERE name = touched.name) "
                "FROM (SELECT DISTINCT name FROM notes WHERE id IN (SELECT value FROM json_each(?))) AS touched"
            )
            ids = packed(list({note for note, _ in people}))
            touched = self._database.execute(query, (ids,)).fetchall()
        empty = {name for name, holds_people in touched if not holds_people}
        return empty, {name for name, _ in touched} - empty

    def merged(self, names: Iterable[str]) -> Note | None:
        """What some notes say in one; None when all are gone."""
        heads = "SELECT kind, account, by, MIN(at), MAX(until) FROM notes WHERE id IN (SELECT value FROM json_each(?))"
        people = (
            "SELECT note, person, hash FROM noted WHERE note IN (SELECT value FROM json_each(?)) "
            "ORDER BY note, person"
        )
        with self._lock:
            ids = packed(self._ids(names))
            kind, account, by, at, until = self._database.execute(heads, (ids,)).fetchone()
            rows = self._database.execute(people, (ids,)).fetchall()
        if kind is None:
            return None
        persons = groupby(rows, key=lambda row: row[:2])
        who = [tuple(digest for _, _, digest in same) for _, same in persons]
        return Note(kind=kind, account=account, by=by, at=at, until=until, people=who)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._database.close()

    def _ids(self, names: Iterable[str]) -> Sequence[int]:
        query = "SELECT id FROM notes WHERE name = ?"
        return [each for name in names for (each,) in self._database.execute(query, (name,))]
