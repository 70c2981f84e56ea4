"""What a driver gives for a query: an executed cursor, and a way to get the next rows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_klaviyo.sync.source.query import DuplicateColumns, NoResultSet

# Drivers have no common types worth the name: these two are Any where rows are read, never outside.
Connection = Any
Cursor = Any

MakeCursor = Callable[[], Cursor]
Fetch = Callable[[], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Result:
    """An executed query: its cursor, how the next rows are got, and how many there are if that is known.

    ``read_name`` makes a column's name of what the driver takes for it. ``unzoned`` names columns whose timestamps may
    be moments that the driver hands out without their zone, in one that is not known here. ``is_held`` is whether the
    driver holds all rows in memory, however few are fetched.
    """

    cursor: Cursor
    fetch: Fetch
    total: int | None = None
    read_name: Callable[[str], str] = str
    unzoned: tuple[str, ...] = ()
    is_held: bool = False

    def columns(self) -> tuple[str, ...]:
        """The names of the columns; some drivers know them after the first fetch only.

        :raises UnsuitableQuery: when there is none, or one of them twice.
        """
        return column_names(self.cursor.description, self.read_name)


def column_names(
    description: Sequence[Sequence[Any]] | None, read_name: Callable[[str], str] = str
) -> tuple[str, ...]:
    """The names in a cursor's description.

    :raises UnsuitableQuery: when there is none, or one of them twice.
    """
    if not description:
        message = "The statement returns no columns; sql must be a query, such as a SELECT."
        raise NoResultSet(message)
    columns = tuple(read_name(_text(column[0])) for column in description)
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        names = ", ".join(map(repr, repeated))
        message = f"The query returns more than one column named {names}; give each its own alias."
        raise DuplicateColumns(message, columns=repeated)
    return columns


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
