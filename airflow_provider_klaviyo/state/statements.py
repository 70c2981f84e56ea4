"""SQLite for thousands of values at once: they travel as one JSON text, a third faster than a statement for each.

Python lets other threads in at each row of ``executemany``, and has to wait for its turn again, for milliseconds where
they are busy: a thousand rows then take seconds, and whoever waits for the lock of the database with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

PART = 10_000
"""Values in one statement."""

_VARIABLES = 900
"""Values that are bound one by one in a statement; SQLite before 3.32 takes 999."""


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


def change_by_rows(
    database: sqlite3.Connection,
    statement: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[int]],
    **named: object,
) -> None:
    """Insert or change rows, any number of them.

    :param statement: reads the rows ``FROM given``.
    :param columns: what the statement calls their values.
    :param rows: of whole numbers: SQLite cuts texts in JSON off at a NUL.
    :param named: what stands in the statement as ``:name``.
    """
    values = ", ".join(f"json_extract(value, '$[{index}]')" for index in range(len(columns)))
    given = f"given ({', '.join(columns)}) AS (SELECT {values} FROM json_each(:rows))"  # noqa: S608 - ours
    for part in parts(rows):
        database.execute(f"WITH {given} {statement}", {"rows": packed(part), **named})


def insert_texts(database: sqlite3.Connection, statement: str, rows: Sequence[Sequence[str | None]]) -> None:
    """Insert rows, any number of them, whose texts may hold any character.

    :param statement: has ``{rows}`` where its rows stand.
    """
    if not rows:
        return
    row = f"({', '.join('?' * len(rows[0]))})"
    for part in parts(rows, _VARIABLES // len(rows[0])):
        values = [value for each in part for value in each]
        database.execute(statement.format(rows=", ".join([row] * len(part))), values)


def packed(values: Sequence[object]) -> str:
    """The values as JSON."""
    return msgspec.json.encode(values).decode()


def parts(values: Sequence[T], size: int = PART) -> Iterator[Sequence[T]]:
    """The values, so many at a time at most."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
