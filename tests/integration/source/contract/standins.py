"""Drivers that no package brings a database for: SQLite's connection, with the types that theirs would describe."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any


class TypeOfOracle:
    """As oracledb describes a column."""

    def __init__(self, name: str) -> None:
        self.name = name


class Described:
    """A cursor whose columns have these types, and whose values these converters have made."""

    def __init__(self, cursor: sqlite3.Cursor, kinds: Sequence[Any], make: Any) -> None:
        self._cursor, self._kinds, self._make = cursor, kinds, make

    @property
    def description(self) -> list[tuple[str, Any]]:
        names = [column[0] for column in self._cursor.description]
        return list(zip(names, self._kinds, strict=True))

    def fetchmany(self, size: int) -> list[Any]:
        return [tuple(map(self._make, row)) for row in self._cursor.fetchmany(size)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def hook_of(module: str, kinds: Sequence[Any], make: Any = lambda value: value) -> Any:
    """A hook whose connection is of that driver's module.

    :param kinds: the type codes of its columns.
    :param make: what the driver makes of a value.
    """

    class Connection:
        def __init__(self) -> None:
            self._real = sqlite3.connect(":memory:")

        def cursor(self) -> Described:
            return Described(self._real.cursor(), kinds, make)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    Connection.__module__ = module

    class Hook:
        supports_autocommit = True
        get_conn = Connection

        @staticmethod
        def set_autocommit(connection: Any, autocommit: bool) -> None:
            pass

        @staticmethod
        def strip_sql_string(sql: str) -> str:
            return sql

    return Hook()
