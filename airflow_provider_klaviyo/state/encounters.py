"""Which keys a run has met: a bit for each row by its place, since a table of keys costs a third of the diff."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from airflow_provider_klaviyo.state.statements import packed


class Met(NamedTuple):
    """What is known of a chunk of a run's keys.

    :param is_first: for each key, whether the run meets it for the first time.
    :param acknowledged: the fingerprints of rows that Klaviyo has acknowledged, by key.
    :param in_doubt: the keys of rows that were sent and have no verdict.
    :param found: the rows as they were read, for what is rarely asked: key, place, fingerprint, doubt, person.
    """

    is_first: list[bool]
    acknowledged: Mapping[int, int]
    in_doubt: Collection[int]
    found: Sequence[Sequence[int]] = ()

    @property
    def persons(self) -> dict[int, int]:
        """Whom the acknowledged rows name."""
        return {key: person for key, _, _, _, person in self.found if key in self.acknowledged}


class Encounters:
    """What one run has met; a part of the state's table, which guards it.

    Rows that are here when the run begins have a bit each, by their place: an ordinal from 0. Those that come later
    were met before they came. Keys that no row has are kept in a table for as long as the run lasts.

    :param database: that of the state.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._chunk = 0
        self._places = 0
        self._bits: bytearray | None = None
        database.execute("CREATE TEMP TABLE met (key INTEGER PRIMARY KEY, chunk INTEGER NOT NULL)")

    def begin(self, places: int) -> None:
        """Begin the run, unless it has begun.

        :param places: how many places rows have by now, used or not.
        """
        if self._bits is None:
            self._bits = bytearray(places // 8 + 1)
            self._places = places

    def is_first(self, place: int) -> bool:
        """Whether the row at a place is met for the first time; it counts as met from now on."""
        bits = self._bits
        if bits is None or place >= self._places:
            return False
        byte, bit = place >> 3, 1 << (place & 7)
        if bits[byte] & bit:
            return False
        bits[byte] |= bit
        return True

    def are_first(self, keys: Sequence[int]) -> list[bool]:
        """Which keys of a chunk, that no row has, were not met in an earlier chunk; they count as met from now on."""
        self._chunk += 1
        before = self._database.total_changes
        self._database.execute(
            "INSERT OR IGNORE INTO met SELECT value, ? FROM json_each(?)", (self._chunk, packed(sorted(keys)))
        )
        if self._database.total_changes - before == len(keys):
            return [True] * len(keys)
        old = self._database.execute(
            "SELECT key FROM met WHERE chunk < ? AND key IN (SELECT value FROM json_each(?))",
            (self._chunk, packed(sorted(keys))),
        )
        met = {key for (key,) in old}
        return [key not in met for key in keys]

    def include(self, place: int) -> bool:
        """Whether the row at a place was met."""
        bits = self._bits
        return place >= self._places or bool(bits and bits[place >> 3] & 1 << (place & 7))
