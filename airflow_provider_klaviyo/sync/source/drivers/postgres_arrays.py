"""Arrays of PostgreSQL whose types the drivers do not know: of enums, domains, extensions, and more by psycopg2."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Cursor

_ARRAYS = """
SELECT typarray, CASE typtype WHEN 'd' THEN typbasetype ELSE oid END FROM pg_catalog.pg_type
WHERE typarray <> 0 AND typtype IN ('b', 'd', 'e') AND typdelim = ','
"""

Arrays = Sequence[tuple[int, int]]
"""The numbers of array types, and those of the types that their values are read by."""


def arrays_of(connection: Connection) -> Arrays:
    """The array types of a database; none where it does not tell, as relatives of PostgreSQL."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ARRAYS)
            return [(int(array), int(element)) for array, element in cursor.fetchall()]
    except Exception:
        return ()
    finally:
        connection.rollback()


def read_arrays_of_psycopg(connection: Connection) -> None:
    """Have lists of arrays that psycopg would leave as the database's text."""
    from psycopg.pq import Format
    from psycopg.types import TypeInfo
    from psycopg.types.array import register_array

    for array, element in arrays_of(connection):
        if not connection.adapters.get_loader(array, Format.TEXT):
            register_array(TypeInfo(f"type {element}", element, array), connection)


def read_arrays_of_psycopg2(cursor: Cursor, arrays: Arrays) -> None:
    """The same for psycopg2, which knows the arrays of few types."""
    from psycopg2 import extensions as types

    for array, element in arrays:
        if array not in types.string_types and array not in cursor.string_types:
            read = cursor.string_types.get(element) or types.string_types.get(element) or types.UNICODE
            types.register_type(types.new_array_type((array,), f"ARRAY{array}", read), cursor)
