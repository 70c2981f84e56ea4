"""Values that psycopg refuses to make objects of, so that one of them does not cost the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_klaviyo.sync.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.drivers.result import Cursor, Result

BEYOND_PYTHON = "holds infinity or a year before 1 or after 9999; turn it into NULL or text in SQL"


def readable(result: Result, lenience: Lenience) -> Result:
    """The result with an ``Unreadable`` in place of each value that Python's types cannot hold.

    One such value makes psycopg refuse the whole fetch, which a server-side cursor cannot repeat.
    """
    from psycopg import DataError

    def fetch() -> Sequence[Any]:
        try:
            return result.fetch()
        except (DataError, UnicodeDecodeError) as error:
            if getattr(error, "sqlstate", None) is not None or not hasattr(result.cursor, "scrollable"):
                raise  # the server's own error; or a client-side cursor, whose result is more than this fetch
        return _load_leniently(result.cursor, lenience)

    return lenience.naming(replace(result, fetch=fetch))


def _load_leniently(cursor: Cursor, lenience: Lenience) -> Sequence[Any]:
    from psycopg.adapt import Transformer

    fetched = cursor.pgresult
    for column in range(fetched.nfields):
        oid, form = fetched.ftype(column), fetched.fformat(column)
        loader = cursor.adapters.get_loader(oid, form)
        if loader and not getattr(loader, "is_lenient", False):
            cursor.adapters.register_loader(oid, _lenient(loader, lenience))
    transformer = Transformer(cursor)
    transformer.set_pgresult(fetched)
    rows: Sequence[Any] = transformer.load_rows(0, fetched.ntuples, tuple)
    return rows


def _lenient(strict: Any, lenience: Lenience) -> Any:
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
            except UnicodeDecodeError:
                return lenience.unreadable_text()
            except DataError:
                return lenience.unreadable(BEYOND_PYTHON)
            return value

    return LenientLoader
