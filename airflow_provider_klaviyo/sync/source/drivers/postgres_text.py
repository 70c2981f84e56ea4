"""Text of PostgreSQL: where the connection or the database has an encoding that would lose some of it, or all.

A database in SQL_ASCII holds bytes of any encoding, and says of none what it is. Its text is read in the connection's
``client_encoding``, but not by the server, which would end the query at the first text that does not fit: it is sent as
LATIN1, in which every byte is a character, and read here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_klaviyo.records.values.unsendable import Unreadable
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.result import Result
from airflow_provider_klaviyo.sync.source.query import Query, UnknownEncoding

_NOT_SAID = "SQL_ASCII"
_JSON = frozenset((114, 199, 3802, 3807))  # json, jsonb and their arrays (PostgreSQL's pg_type.dat)


def read_text(
    info: Any, encoding: str, set_encoding: Callable[[str], object]
) -> tuple[Lenience, BytesOfText | None]:
    """Have the server send all text that there is; what makes of it what it was, and of the rest an ``Unreadable``.

    :param info: of the connection, as psycopg and psycopg2 have it.
    :param encoding: the connection's, as Python names it.
    :param set_encoding: takes the name of another one, as PostgreSQL has it.
    :raises UnknownEncoding: when neither the database nor the connection says how its text is to be read.
    """
    known = info.parameter_status("client_encoding")
    is_said = info.parameter_status("server_encoding") != _NOT_SAID
    if not is_said and known == _NOT_SAID:
        raise UnknownEncoding
    wanted = "UTF8" if is_said else "LATIN1"
    if known != wanted:
        set_encoding(wanted)
    lenience = Lenience("utf-8" if is_said else encoding)
    return lenience, None if is_said else BytesOfText(lenience, encoding)


class BytesOfText:
    """Reads text that came as LATIN1, and writes the query in the same way.

    :param lenience: decodes the bytes.
    :param encoding: theirs, as Python names it.
    """

    def __init__(self, lenience: Lenience, encoding: str) -> None:
        self._lenience = lenience
        self._encoding = encoding

    def written(self, query: Query) -> Query:
        """The query as it must be said for its own bytes to arrive."""
        return replace(query, sql=self._write(query.sql), parameters=self._write(query.parameters))

    def read(self, result: Result) -> Result:
        """The result with its text as it was meant."""

        def fetch() -> Sequence[Any]:
            columns = list(zip(*result.fetch(), strict=True))
            kinds = [column[1] for column in result.cursor.description]
            return list(zip(*map(self._read_column, columns, kinds), strict=True))

        return replace(result, fetch=fetch, read_name=self._read_name)

    def loads(self, data: str | bytes) -> object:
        """Read JSON, which drivers give either as it came or as LATIN1."""
        text = self._lenience.text(data.encode("latin-1") if isinstance(data, str) else data)
        return json.loads(text) if isinstance(text, str) else text

    def _write(self, value: Any) -> Any:
        if isinstance(value, str):
            return value.encode(self._encoding).decode("latin-1")
        if isinstance(value, Mapping):
            return {name: self._write(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(self._write, value))
        return value

    def _read_name(self, name: str) -> str:
        return name.encode("latin-1").decode(self._encoding, "replace")

    def _read_column(self, values: Sequence[Any], kind: int) -> Sequence[Any]:
        is_text = kind not in _JSON and not {str, list, tuple}.isdisjoint(map(type, values))
        return list(map(self._read, values)) if is_text else values

    def _read(self, value: object) -> object:
        if isinstance(value, str):
            return self._lenience.text(value.encode("latin-1"))
        if isinstance(value, (list, tuple)):
            parts = [self._read(part) for part in value]
            return next((part for part in parts if isinstance(part, Unreadable)), parts)
        return value
