"""Columns of a result that need more than their driver does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_klaviyo.records.values.unsendable import Unreadable
from airflow_provider_klaviyo.sync.source.drivers.result import Cursor, Result
from airflow_provider_klaviyo.sync.source.query import Query

Mend = Callable[[Sequence[Any]], Sequence[Any]]
"""From the values of a column to those that it should have had."""

BEYOND_PYTHON = (
    "holds infinity, 24 o'clock, or a year before 1 or after 9999; turn it into NULL or text in SQL"
)


def mended(result: Result, mends: Mapping[int, Mend]) -> Result:
    """The same result, some of its columns changed in every chunk.

    :param mends: by the indexes of the columns.
    """

    def fetch() -> Sequence[Any]:
        columns: list[Sequence[Any]] = list(zip(*result.fetch(), strict=True))
        for index, mend in mends.items() if columns else ():
            columns[index] = mend(columns[index])
        return list(zip(*columns, strict=True))

    return replace(result, fetch=fetch) if mends else result


def mends_by_type(cursor: Cursor, choose: Callable[[Any], Mend | None]) -> dict[int, Mend]:
    """What to change, by the type codes in a cursor's description.

    :param choose: from a type code to the mend of its columns; None where the driver does well.
    """
    chosen = ((index, choose(column[1])) for index, column in enumerate(cursor.description or ()))
    return {index: mend for index, mend in chosen if mend}


def keys_as_before(result: Result, query: Query, before: Mapping[type, Callable[[Any], object]]) -> Result:
    """The result, with the key's columns as the driver gave them before their values were made alike.

    :param before: what the driver gave, by the type that its values have now.
    """

    def spelled(value: object) -> object:
        return before[type(value)](value) if type(value) in before else value

    names = {name.lower() for name in query.keys_as_before}
    indexes = (
        n for n, column in enumerate(result.cursor.description or ()) if str(column[0]).lower() in names
    )
    return mended(result, dict.fromkeys(indexes, each(spelled)))


def each(mend: Callable[[Any], object]) -> Mend:
    """A mend of one value at a time; NULL stays NULL."""
    return lambda values: [None if value is None else mend(value) for value in values]


def parsed(value: object) -> object:
    """What JSON stands for that came as text; a text that is none stays itself."""
    if not isinstance(value, (str, bytes)):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def named(column: str, value: object) -> object:
    """The value; one that is unreadable, or has such a part, names its column: drivers do not tell where it stands."""
    found = _unreadable_in(value)
    return Unreadable(f"column {column!r} {found.reason}") if found else value


def _unreadable_in(value: object) -> Unreadable | None:
    if isinstance(value, Unreadable):
        return value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return next(filter(None, map(_unreadable_in, parts)), None)


from_json = each(parsed)
