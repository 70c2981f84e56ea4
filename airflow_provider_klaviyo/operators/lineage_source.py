"""Which tables and columns a query reads, as Airflow's own parser for OpenLineage finds them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

_QUOTED = r"""'(?:[^']|'')*'|"[^"]*"|`[^`]*`|--[^\n]*|/\*.*?\*/"""
_PLACEHOLDER = re.compile(rf"{_QUOTED}|::|(?P<placeholder>%\([^)]*\)s|%s|\?|:\w+)", re.DOTALL)
_BRACKET = re.compile(rf"{_QUOTED}|(?P<bracket>[()])", re.DOTALL)
_QUERY = re.compile(r"\s*(?:SELECT|WITH)\b", re.IGNORECASE)
_STAR = re.compile(r"(?:\bSELECT\s+(?:DISTINCT\s+)?|,\s*|\.)\*", re.IGNORECASE)
_NAMED_QUERY = re.compile(
    r"""["`]?(\w+)["`]?\s*(?:\([^()]*\)\s*)?\bAS\s+(?:(?:NOT\s+)?MATERIALIZED\s+)?\(""", re.IGNORECASE
)


class Origin(NamedTuple):
    """A column of a table."""

    namespace: str
    table: str
    column: str


@dataclass(frozen=True)
class Source:
    """What a query reads.

    :param tables: OpenLineage's datasets.
    :param columns: the origins of the query's columns, by their names in lower case.
    :param takes_all: whether the query has columns of one table that it does not name.
    """

    tables: Sequence[Any]
    columns: Mapping[str, Sequence[Origin]]
    takes_all: bool

    def origins(self, column: str) -> Sequence[Origin]:
        """Where a column of the query comes from; nothing where that is not known."""
        if found := self.columns.get(column.casefold()):
            return found
        if not self.takes_all:
            return ()
        (table,) = self.tables
        names = _columns_of(table)
        if names and column.casefold() not in names:
            return ()
        return (Origin(table.namespace, table.name, names.get(column.casefold(), column)),)


def source_of(hook: Any, conn_id: str, sql: str, *, has_parameters: bool) -> Source | None:
    """What a query reads; None where the hook does not say what its database is.

    :param hook: a ``DbApiHook``.
    :param conn_id: its connection.
    :param has_parameters: whether the query has placeholders, which the parser does not know.
    """
    from airflow.providers.openlineage.sqlparser import SQLParser

    connection = hook.get_connection(conn_id)
    database = hook.get_openlineage_database_info(connection)
    if database is None:
        return None
    schema = hook.get_openlineage_default_schema()
    parser = SQLParser(dialect=hook.get_openlineage_database_dialect(connection), default_schema=schema)
    sql = _without_placeholders(sql) if has_parameters else sql
    found = parser.generate_openlineage_metadata_from_sql(
        sql=[sql, *_inner_queries(sql)],
        hook=hook,
        database_info=database,
        sqlalchemy_engine=hook.get_sqlalchemy_engine(),
        use_connection=True,
    )
    own = {_name(database, schema, name).casefold() for name in _NAMED_QUERY.findall(sql)}
    tables = {each.name.casefold(): each for each in found.inputs if each.name.casefold() not in own}
    columns: dict[str, list[Origin]] = {}
    meta = parser.parse(parser.split_sql_string(sql))
    for each in meta.column_lineage if meta else ():
        for column in each.lineage:
            table = (
                tables.get(_name_of(column.origin, database, schema).casefold()) if column.origin else None
            )
            if origin := _origin(table, column.name, tables.values()):
                columns.setdefault(each.descendant.name.casefold(), []).append(origin)
    takes_all = len(tables) == 1 and bool(_STAR.search(sql))
    return Source(list(tables.values()), columns, takes_all)


def _origin(table: Any, column: str, tables: Iterable[Any]) -> Origin | None:
    """The column of a table, or of the one that has such a column: the parser takes the first one of a join."""
    if table and (_columns_of(table).get(column.casefold()) or not _columns_of(table)):
        return Origin(table.namespace, table.name, column)
    having = [each for each in tables if column.casefold() in _columns_of(each)]
    return Origin(having[0].namespace, having[0].name, column) if len(having) == 1 else None


def _name_of(table: Any, database: Any, schema: str | None) -> str:
    return _name(database, table.schema or schema, table.name, table.database)


def _name(database: Any, schema: str | None, table: str, named: str | None = None) -> str:
    return ".".join(each for each in (named or database.database, schema, table) if each)


def _columns_of(table: Any) -> dict[str, str]:
    """The columns of a table as far as its database has told, by their names in lower case."""
    schema = (table.facets or {}).get("schema")
    return {field.name.casefold(): field.name for field in (schema.fields if schema else ())}


def _without_placeholders(sql: str) -> str:
    return _PLACEHOLDER.sub(lambda found: "'0'" if found["placeholder"] else found[0], sql)


def _inner_queries(sql: str) -> Iterator[str]:
    """The queries in brackets: the parser passes over the tables of those before a SELECT."""
    opened: list[int] = []
    for found in _BRACKET.finditer(sql):
        if found["bracket"] == "(":
            opened.append(found.end())
        elif found["bracket"] and opened and _QUERY.match(inner := sql[opened.pop() : found.start()]):
            yield inner
