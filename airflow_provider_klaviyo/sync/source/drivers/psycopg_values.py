"""Values that psycopg refuses to make objects of, so that one of them does not cost the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.columns import BEYOND_PYTHON
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Cursor, Result


def readable(result: Result, size: FetchSize, lenience: Lenience) -> Result:
    """The result with an ``Unreadable`` in place of each value that Python's types cannot hold.

    One such value makes psycopg refuse the whole fetch, which a server-side cursor cannot repeat.
    """
    from psycopg import DataError

    rows_read = 0
    is_whole = not hasattr(result.cursor, "scrollable")  # a client-side cursor has fetched the whole result
    has_failed = False

    def fetch() -> Sequence[Any]:
        nonlocal rows_read, has_failed
        try:
            rows = None if is_whole and has_failed else result.fetch()
        except (DataError, UnicodeDecodeError) as error:
            if getattr(error, "sqlstate", None) is not None:
                raise  # the server's own error
            rows, has_failed = None, True
        if rows is None:
            first = rows_read if is_whole else 0
            rows = _load_leniently(result.cursor, first, first + size.rows, lenience)
        rows_read += len(rows)
        return rows

    return replace(result, fetch=fetch)


def _load_leniently(cursor: Cursor, first: int, end: int, lenience: Lenience) -> Sequence[Any]:
    from psycopg.adapt import Transformer

    fetched = cursor.pgresult
    for column in range(fetched.nfields):
        oid, form = fetched.ftype(column), fetched.fformat(column)
        loader = cursor.adapters.get_loader(oid, form)
        if loader and not getattr(loader, "is_lenient", False):
            cursor.adapters.register_loader(oid, _lenient(loader, lenience))
    transformer = Transformer(cursor)
    transformer.set_pgresult(fetched)
    rows: Sequence[Any] = transformer.load_rows(first, min(end, fetched.ntuples), tuple)
    return rows


def _lenient(strict: Any, lenience: Lenience) -> Any:
    """A loader, which is any class with what ``psycopg.abc.Loader`` has, that gives an ``Unreadable`` for an error."""
    from psycopg import DataError

    class LenientLoader:
        is_lenient = True
        format = strict.format

        def __init__(self, oid: int, context: Any = None) -> None:
            self._strict = strict(oid, context)

        def load(self, data: Any) -> object:
            try:
                value: object = self._strict.load(data)
            except UnicodeDecodeError:
                return lenience.unreadable_text()
            except DataError:
                return lenience.unreadable(BEYOND_PYTHON)
            return value

    return LenientLoader


def load_json(connection: Connection, loads: Callable[[bytes], object]) -> None:
    """Have JSON read by this function; ``set_json_loads`` takes one method for that of any other object."""
    from psycopg.pq import Format

    class JsonLoader:
        format = Format.TEXT

        def __init__(self, oid: int, context: Any = None) -> None:
            """As psycopg makes one."""

        def load(self, data: Any) -> object:
            return loads(bytes(data))

    for kind in ("json", "jsonb"):
        connection.adapters.register_loader(kind, JsonLoader)
