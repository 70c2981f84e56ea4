"""Who was already met in this run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from airflow_provider_klaviyo.sync.scratch import scratch_database


class SeenPeople:
    """The people of a run, kept on disk, so that a million of them cost no more memory than a thousand.

    A person is kept as a 64-bit keyed hash (Python's own of strings): among ten million people the chance that
    any two share one is about 3 in a million, and then the second is reported as a duplicate, never lost in silence.
    Measured for a million people: about 1 µs each; a Python set takes 0.2 µs, but 90 MB.
    """

    def __init__(self, directory: Path) -> None:
        self._database = scratch_database(directory / "people.sqlite")
        self._database.execute("CREATE TABLE seen (person INTEGER PRIMARY KEY, chunk INTEGER)")
        self._database.execute("BEGIN")
        self._chunk = 0

    def add(self, identities: Sequence[str]) -> list[int]:
        """Remember a chunk of people; returns the places of those met before, in it or in an earlier chunk."""
        hashes = list(map(hash, identities))
        if self._insert(sorted(hashes)) == len(hashes):  # neighbours share pages of the tree
            return []
        return _repeated(hashes, self._earlier(hashes))

    def close(self) -> None:
        """Forget everyone."""
        self._database.close()

    def _insert(self, hashes: Sequence[int]) -> int:
        """Insert who is new; returns how many were.

        A chunk travels as one JSON list, which is a third faster than a statement for each person.
        """
        self._chunk += 1
        before = self._database.total_changes
        statement = "INSERT OR IGNORE INTO seen SELECT value, ? FROM json_each(?)"
        self._database.execute(statement, (self._chunk, msgspec.json.encode(hashes).decode()))
        return self._database.total_changes - before

    def _earlier(self, hashes: Sequence[int]) -> set[int]:
        """Who of them came with an earlier chunk."""
        query = "SELECT person FROM seen WHERE chunk < ? AND person IN (SELECT value FROM json_each(?))"
        found = self._database.execute(query, (self._chunk, msgspec.json.encode(hashes).decode()))
        return {person for (person,) in found}


def _repeated(hashes: Sequence[int], earlier: set[int]) -> list[int]:
    met = set(earlier)
    places = []
    for place, person in enumerate(hashes):
        if person in met:
            places.append(place)
        met.add(person)
    return places
