"""SQLite for thousands of values at once: they travel as one JSON text, a third faster than a statement for each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

PART = 10_000
"""Values in one statement."""


def look_up(database: sqlite3.Connection, query: str, values: Sequence[int], **named: int) -> list[Any]:
    """The rows of a query, for any number of values.

    :param query: ends with ``IN``; the values follow.
    :param named: what stands in the query as ``:name``.
    """
    found: list[Any] = []
    for part in parts(values):
        found += database.execute(
            f"{query} (SELECT value FROM json_each(:values))",  # noqa: S608 - ours
            {"values": packed(sorted(part)), **named},
        )
    return found


def change(database: sqlite3.Connection, statement: str, values: Sequence[int], **named: int) -> None:
    """Change rows, for any number of values.

    :param statement: ends with ``IN``; the values follow.
    :param named: what stands in the statement as ``:name``.
    """
    for part in parts(values):
        database.execute(
            f"{statement} (SELECT value FROM json_each(:values))",  # noqa: S608 - ours
            {"values": packed(part), **named},
        )


def packed(values: Sequence[int]) -> str:
    """The values as JSON."""
    return msgspec.json.encode(values).decode()


def parts(values: Sequence[int]) -> Iterator[Sequence[int]]:
    """The values, at most ``PART`` at a time."""
    for start in range(0, len(values), PART):
        yield values[start : start + PART]
