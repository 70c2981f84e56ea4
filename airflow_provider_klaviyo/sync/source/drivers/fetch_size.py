"""How many rows are fetched at once: many where they are narrow, few where they are wide, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_FIRST = 50
"""Rows of the first fetch, when nobody knows how wide they are."""

_GROWTH = 8
"""Times as many at most as the last time: the next rows may be wider."""

_CHUNK_BYTES = 4_000_000
_LOOKED_AT = 16


class FetchSize:
    """How many rows the next fetch is to give; it follows the rows that were seen.

    :param most: rows, however narrow they are.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._wanted = _FIRST

    @property
    def rows(self) -> int:
        """How many, now."""
        return min(self._wanted, self.most)

    def at_most(self, rows: int) -> FetchSize:
        """The same, for a database that gives no more than so many."""
        self.most = min(self.most, rows)
        return self

    def learn(self, rows: Sequence[Any]) -> None:
        """Look at some of the rows that were fetched."""
        some = rows[:: len(rows) // _LOOKED_AT + 1]
        wide = sum(map(_bytes_of_row, some)) // max(len(some), 1)
        self._wanted = max(1, min(_GROWTH * self.rows, _CHUNK_BYTES // (wide + 1)))


def _bytes_of_row(row: Any) -> int:
    """What the texts of a row take; anything else is small."""
    values = row.values() if isinstance(row, Mapping) else row
    return sum(map(_bytes_of, values))


def _bytes_of(value: object) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    return len(str(value)) if isinstance(value, (list, dict, tuple)) else 8
