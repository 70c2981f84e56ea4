"""ClickHouse by clickhouse-connect, whose cursor holds the whole result: its client streams blocks, into a file.

The client makes hexadecimal digits of a text that is not in UTF-8, so texts are taken as bytes. A DateTime is a moment;
it comes without zone unless it is asked for with one, in that of the server or of this machine.
"""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from tempfile import TemporaryFile
from typing import Any

from airflow_provider_klaviyo.records.values.plain_types import INTERVAL
from airflow_provider_klaviyo.sync.source.drivers.columns import (
    Mend,
    each,
    keys_as_before,
    mended,
    mends_by_type,
)
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.nested import Read, single
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result, column_names
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_writing
from airflow_provider_klaviyo.sync.source.query import Query

_AS_BYTES = {"String": "bytes", "FixedString": "bytes"}
_WITH_TEXT = ("String", "JSON", "Variant", "Dynamic", "Object")
_DAY = dt.timedelta(days=1)
_MIDNIGHT = dt.datetime(1, 1, 1, tzinfo=dt.UTC)


def open_clickhouse(connection: Connection, query: Query, size: FetchSize) -> Result:
    """By the client of Airflow's connection, or of clickhouse-connect's own."""
    if query.read_only:
        refuse_writing(query.sql, "any")
    client = getattr(connection, "_client", None) or connection.client
    cursor = _Stream(client, query)
    column_names(cursor.description)
    lenience = Lenience()

    def choose(kind: str) -> Mend | None:
        read = _reader(kind, lenience)
        return each(read) if read else None

    result = Result(cursor, lambda: list(islice(cursor.rows, size.rows)))
    result = mended(result, mends_by_type(cursor, choose))
    return lenience.naming(keys_as_before(result, query, {dt.datetime: _as_the_cursor_gives_it}))


class _Stream:
    """A query as a cursor, whose rows lie in a file until they are asked for.

    The server breaks off an answer that nobody reads for half a minute (``http_send_timeout``, which a client cannot
    set), and Klaviyo's rate limits are waited for longer than that.
    """

    def __init__(self, client: Any, query: Query) -> None:
        given = {"parameters": query.parameters or None, "query_formats": _AS_BYTES}
        with ExitStack() as unless_read:
            self._file = unless_read.enter_context(TemporaryFile(prefix="klaviyo-"))
            self._read(client, query, given)
            unless_read.pop_all()  # closed with the cursor

    def _read(self, client: Any, query: Query, given: Mapping[str, Any]) -> None:
        """Read all rows into the file."""
        with client.query_row_block_stream(query.sql, tz_mode="aware", **given) as blocks:
            found = blocks.source
            for block in blocks:
                pickle.dump(list(block), self._file, pickle.HIGHEST_PROTOCOL)
        self._file.seek(0)
        if not found.column_names:  # no block came: the names are not sent by themselves
            with suppress(Exception):  # a statement that is no query
                found = client.query(f"SELECT * FROM (\n{query.sql}\n) LIMIT 0", **given)  # noqa: S608  # the user's own
        types = (str(kind.name) for kind in found.column_types)
        self.description = list(zip(found.column_names, types, strict=True))
        self.rows = map(tuple, chain.from_iterable(self._blocks()))

    def close(self) -> None:
        """Let the rows go."""
        self._file.close()

    def _blocks(self) -> Iterator[list[Any]]:
        with suppress(EOFError):
            while True:
                yield pickle.load(self._file)  # noqa: S301  # what was written above


def _as_the_cursor_gives_it(value: dt.datetime) -> dt.datetime:
    return value.replace(tzinfo=None) if str(value.tzinfo) == "UTC" else value


def _reader(kind: str, lenience: Lenience) -> Read | None:
    """What makes more of a value, by the name of its column's type; None where the client does well."""
    kind = kind.removeprefix("Nullable(")
    if kind.startswith("Interval"):
        return lambda _: lenience.unreadable(f"holds what cannot be sent: {INTERVAL}")
    if kind.startswith("Time"):
        return partial(_time, lenience)
    makes: dict[type, Read] = {}
    if any(map(kind.__contains__, _WITH_TEXT)):
        makes[bytes] = _fixed if "FixedString" in kind else lenience.text
    if "Float32" in kind and "Float64" not in kind:
        makes[float] = single
    return _Walk(makes) if makes else None


@dataclass(frozen=True, slots=True)
class _Walk:
    """Makes values of these types others, however deep they lie."""

    makes: Mapping[type, Callable[[Any], object]]

    def __call__(self, value: Any) -> object:
        make = self.makes.get(type(value))
        if make:
            return make(value)
        if isinstance(value, dict):
            return {self(key): self(part) for key, part in value.items()}
        return list(map(self, value)) if isinstance(value, (list, tuple)) else value


def _fixed(value: bytes) -> object:
    """A text of so many bytes, which zeros fill up; else it is binary."""
    try:
        return value.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return value


def _time(lenience: Lenience, value: object) -> object:
    if not isinstance(value, dt.timedelta):
        return value
    if not dt.timedelta(0) <= value < _DAY:
        return lenience.unreadable(
            "holds a time of more than a day, or below zero; cast it to seconds or to text in SQL"
        )
    return (_MIDNIGHT + value).time()
