"""SQLite for thousands of values at once: they travel as one JSON text, a third faster than a statement for each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

PART = 10_000
"""Values in one statement."""


def look_up(database: sqlite3.Connection, query: str, values: Sequence[int]) -> list[Any]:
    """The rows of a query that ends with ``IN``, for any number of values."""
    found: list[Any] = []
    for part in parts(values):
        found += database.execute(f"{query} (SELECT value FROM json_each(?))", (packed(sorted(part)),))  # noqa: S608 - ours
    return found


def change(database: sqlite3.Connection, statement: str, values: Sequence[int]) -> None:
    """The same for a statement that changes rows."""
    for part in parts(values):
        database.execute(f"{statement} (SELECT value FROM json_each(?))", (packed(part),))  # noqa: S608 - ours


def packed(values: Sequence[int]) -> str:
    """The values as JSON."""
    return msgspec.json.encode(values).decode()


def parts(values: Sequence[int]) -> Iterator[Sequence[int]]:
    """The values, so many at a time as one statement takes."""
    for start in range(0, len(values), PART):
        yield values[start : start + PART]
