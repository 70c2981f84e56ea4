"""PostgreSQL by ODBC: arrays and JSON come as text without a word, so the server is asked which columns are such.

The query is only planned for that, never run: once with no rows wanted, for the number of its columns, and once behind
a join that holds for none, for their types. Dates and times are then asked for as text, since of those that Python has
none for, such as infinity, the driver makes other dates.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from decimal import Decimal

from airflow_provider_klaviyo.sync.source.drivers.columns import BEYOND_PYTHON, Mend, each, from_json, parsed
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.nested import Read
from airflow_provider_klaviyo.sync.source.drivers.plain import execute
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Cursor
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_several_statements
from airflow_provider_klaviyo.sync.source.query import Query

_COLUMNS = "SELECT * FROM (\n{sql}\n) AS q LIMIT 0"
_TYPES = "SELECT {types} FROM (SELECT 1) AS one LEFT JOIN (\n{sql}\n) AS q({names}) ON false"
_AS_TEXT = "SELECT {columns} FROM (\n{sql}\n) AS q({names})\n"
_NAMES = """
SELECT a.oid::text, b.typname::text,
    CASE WHEN e.typtype IN ('b', 'd', 'e') AND e.typdelim = ',' THEN f.typname::text END
FROM pg_catalog.pg_type a
JOIN pg_catalog.pg_type b ON b.oid = CASE a.typtype WHEN 'd' THEN a.typbasetype ELSE a.oid END
LEFT JOIN pg_catalog.pg_type e ON e.typarray = b.oid
LEFT JOIN pg_catalog.pg_type f ON f.oid = CASE e.typtype WHEN 'd' THEN e.typbasetype ELSE e.oid END
WHERE a.oid IN ({})
"""
_JSON = frozenset(("json", "jsonb"))
_DATED = frozenset(("date", "time", "timestamp", "timestamptz"))
_ASKED = (str, dt.date, dt.time, dt.datetime)
"""What the driver makes of columns whose type it does not say, or whose values it may change."""

_PART = re.compile(r'"((?:[^"\\]|\\.)*)"|([{}])|([^{},"]+)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def told_by_postgres(
    connection: Connection, query: Query, lenience: Lenience
) -> tuple[Query, Mapping[int, Mend]]:
    """The query to run, and what to make of its columns, by their indexes; nothing where the server does not tell.

    Columns of a key that is kept as before stay as the driver has them. Ends the transaction.

    :raises Exception: the database's, when it broke off the connection.
    """
    refuse_several_statements(query.sql, "postgres")
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            return _told(cursor, query, lenience)
    except Exception:  # a statement that is no subquery, or a relative of PostgreSQL
        if getattr(connection, "closed", False):
            raise
        return query, {}
    finally:
        with suppress(Exception):
            connection.rollback()


def _told(cursor: Cursor, query: Query, lenience: Lenience) -> tuple[Query, Mapping[int, Mend]]:
    execute(cursor, replace(query, sql=_COLUMNS.format(sql=query.sql)))
    kept = {name.lower() for name in query.keys_as_before}
    columns = cursor.description
    asked = [n for n, (name, kind, *_) in enumerate(columns) if kind in _ASKED and name.lower() not in kept]
    if not asked:
        return query, {}
    types = ", ".join(f"pg_catalog.pg_typeof(c{n})::oid::text" for n in asked)
    names = ", ".join(f"c{n}" for n in range(len(columns)))
    execute(cursor, replace(query, sql=_TYPES.format(types=types, sql=query.sql, names=names)))
    oids = cursor.fetchone()
    cursor.execute(_NAMES.format(", ".join(set(oids))))
    kinds = {oid: (name, element) for oid, name, element in cursor.fetchall()}
    found = {n: kinds[oid] for n, oid in zip(asked, oids, strict=True)}
    mends = {n: mend for n, kind in found.items() if (mend := _mend(*kind, lenience))}
    as_text = {n for n in found if columns[n][1] is not str}
    if not as_text:
        return query, mends
    wanted = ", ".join(
        f"c{n}{'::text' if n in as_text else ''} AS {_quoted(name)}" for n, (name, *_) in enumerate(columns)
    )
    return replace(query, sql=_AS_TEXT.format(columns=wanted, sql=query.sql, names=names)), mends


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _mend(name: str, element: str | None, lenience: Lenience) -> Mend | None:
    if name in _JSON:
        return from_json
    if name in _DATED:
        return each(_elements(lenience)[name])
    if element is None:
        return None
    read = _elements(lenience).get(element, str)
    return each(lambda text: array(text, read))


def array(text: str, read: Read) -> object:
    """The list that PostgreSQL writes as text; what is none stays itself.

    :param read: of a value that is not NULL.
    """
    lists: list[list[object]] = [[]]
    for quoted, brace, plain in _PART.findall(text.partition("=")[2] if text.startswith("[") else text):
        if brace == "{":
            lists.append([])
            lists[-2].append(lists[-1])
        elif brace and len(lists) == 1:
            return text
        elif brace:
            lists.pop()
        elif plain:
            lists[-1].append(None if plain == "NULL" else read(plain))
        else:
            lists[-1].append(read(_ESCAPED.sub(r"\1", quoted)))
    return lists[0][0] if len(lists) == 1 and len(lists[0]) == 1 else text


def _elements(lenience: Lenience) -> Mapping[str, Read]:
    """Readers of values in arrays, by PostgreSQL's names of their types; others are text."""

    def of(kind: Callable[[str], object]) -> Read:
        def read(text: str) -> object:
            try:
                return kind(text)
            except ValueError:
                return lenience.unreadable(BEYOND_PYTHON)

        return read

    numbers: Mapping[str, Read] = {
        "int2": int, "int4": int, "int8": int, "float4": float, "float8": float, "numeric": Decimal
    }  # fmt: skip
    return {
        **numbers,
        "date": of(dt.date.fromisoformat),
        "time": of(dt.time.fromisoformat),
        **dict.fromkeys(("timestamp", "timestamptz"), of(dt.datetime.fromisoformat)),
        **dict.fromkeys(_JSON, parsed),
        "bool": lambda text: text == "t",
        "bytea": lambda text: bytes.fromhex(text.removeprefix("\\x")),
    }
