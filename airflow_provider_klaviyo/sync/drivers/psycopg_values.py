"""Values that psycopg refuses to make objects of, so that one of them does not cost the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_klaviyo.records.unsendable import Unreadable
from airflow_provider_klaviyo.sync.drivers.result import Cursor, Result

_UNREADABLE = Unreadable(
    "the SQL driver cannot read this value (infinity, or a year before 1); turn it into NULL or text in SQL"
)


def fetch_readable(result: Result) -> Sequence[Any]:
    """Fetch the next rows, with an ``Unreadable`` in place of a value that Python's types cannot hold.

    ``infinity`` and years before 1 make psycopg refuse the whole fetch, so one such value would end the run.
    """
    from psycopg import DataError

    try:
        return result.fetch()
    except DataError as error:
        if error.sqlstate is not None or not hasattr(result.cursor, "scrollable"):
            raise  # the server's own error; or a client-side cursor, whose result is more than this fetch
    return _load_leniently(result.cursor)


def _load_leniently(cursor: Cursor) -> Sequence[Any]:
    from psycopg.adapt import Transformer

    fetched = cursor.pgresult
    for column in range(fetched.nfields):
        oid, form = fetched.ftype(column), fetched.fformat(column)
        loader = cursor.adapters.get_loader(oid, form)
        if loader and not getattr(loader, "is_lenient", False):
            cursor.adapters.register_loader(oid, _lenient(loader))
    transformer = Transformer(cursor)
    transformer.set_pgresult(fetched)
    rows: Sequence[Any] = transformer.load_rows(0, fetched.ntuples, tuple)
    return rows


def _lenient(strict: Any) -> Any:
    from psycopg import DataError
    from psycopg.adapt import Loader

    class LenientLoader(Loader):
        is_lenient = True
        format = strict.format

        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._strict = strict(oid, context)

        def load(self, data: Any) -> object:
            try:
                value: object = self._strict.load(data)
            except DataError:
                return _UNREADABLE
            return value

    return LenientLoader
