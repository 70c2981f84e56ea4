"""What holds for every driver, shown with the one that comes with Python."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.records.values.unsendable import Unreadable
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_several_statements, refuse_writing
from airflow_provider_klaviyo.sync.source.query import (
    DuplicateColumns,
    NoCursor,
    NoResultSet,
    Query,
    QueryFailed,
    QueryWrites,
    SeveralStatements,
    UnsuitableQuery,
)
from airflow_provider_klaviyo.sync.source.rows import RowStream

NUMBERS = (
    "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {}) "
    "SELECT id, 'x' || id AS name FROM n"
)


class Hook:
    """As bare as a DbApiHook can be; remembers the connections it opened."""

    def __init__(self, path: str = ":memory:", row_factory: Any = None) -> None:
        self.path = path
        self.row_factory = row_factory
        self.opened: list[sqlite3.Connection] = []

    def get_conn(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path)
        connection.row_factory = self.row_factory
        self.opened.append(connection)
        return connection

    @staticmethod
    def strip_sql_string(sql: str) -> str:
        return sql.strip().rstrip(";")

    @property
    def is_all_closed(self) -> bool:
        return all(map(is_closed, self.opened))


def is_closed(connection: sqlite3.Connection) -> bool:
    with suppress(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")
        return False
    return True


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    assert hook.is_all_closed


def rows_of(hook: Any, sql: str, parameters: Any = None, **options: Any) -> list[tuple[object, ...]]:
    with RowStream(hook, Query(sql, parameters), **options) as stream:
        return [row for chunk in stream for row in chunk]


@pytest.mark.parametrize(
    ("rows", "sizes"), [(0, []), (1, [1]), (9, [9]), (10, [10]), (11, [10, 1]), (30, [10, 10, 10])]
)
def test_rows_come_in_full_chunks_and_a_last_one(hook: Hook, rows: int, sizes: list[int]) -> None:
    sql = f"SELECT * FROM ({NUMBERS.format(max(rows, 1))}) WHERE id <= {rows}"
    with RowStream(hook, Query(sql), chunk_size=10) as stream:
        chunks = list(stream)
    assert [len(chunk) for chunk in chunks] == sizes
    assert [row for chunk in chunks for row in chunk] == [(n, f"x{n}") for n in range(1, rows + 1)]
    assert stream.rows_read == rows


def test_columns_are_known_before_the_first_row_is_taken(hook: Hook) -> None:
    with RowStream(hook, Query("SELECT 1 AS id, 'a' AS \"E-mail\"")) as stream:
        assert stream.columns == ("id", "E-mail")
        assert stream.rows_read == 0


def test_columns_are_known_of_an_empty_result(hook: Hook) -> None:
    with RowStream(hook, Query("SELECT 1 AS id WHERE 1 = 0")) as stream:
        assert stream.columns == ("id",)
        assert list(stream) == []


def test_a_driver_that_does_not_count_leaves_the_total_unknown(hook: Hook) -> None:
    with RowStream(hook, Query(NUMBERS.format(5))) as stream:
        assert stream.total is None


@pytest.mark.parametrize("sql", ["SELECT 1 AS a;", " SELECT 1 AS a ; \n", "SELECT 1 AS a -- the end;"])
def test_a_closing_semicolon_is_fine(hook: Hook, sql: str) -> None:
    assert rows_of(hook, sql) == [(1,)]


@pytest.mark.parametrize("sql", ["\ufeffSELECT 1 AS a", "\ufeff\n SELECT 1 AS a;", " \ufeffSELECT 1 AS a"])
def test_a_byte_order_mark_before_a_query_is_nothing(hook: Hook, sql: str) -> None:
    assert rows_of(hook, sql) == [(1,)]


@pytest.mark.parametrize("parameters", [("a", 2), ["a", 2]])
def test_positional_parameters_reach_the_driver(hook: Hook, parameters: Sequence[object]) -> None:
    assert rows_of(hook, "SELECT ? AS a, ? AS b", parameters) == [("a", 2)]


def test_named_parameters_reach_the_driver(hook: Hook) -> None:
    assert rows_of(hook, "SELECT :name AS a", {"name": "a"}) == [("a",)]


def dictionary(cursor: sqlite3.Cursor, row: tuple[object, ...]) -> dict[str, object]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


@pytest.mark.parametrize(
    "row_factory",
    [None, sqlite3.Row, dictionary, lambda _, row: list(row)],
    ids=["tuple", "sqlite3.Row", "mapping", "list"],
)
def test_rows_are_tuples_whatever_the_cursor_makes(row_factory: Callable[..., object] | None) -> None:
    rows = rows_of(Hook(row_factory=row_factory), NUMBERS.format(3), chunk_size=2)
    assert rows == [(1, "x1"), (2, "x2"), (3, "x3")]
    assert {type(row) for row in rows} == {tuple}


def test_a_column_name_that_occurs_twice_is_named(hook: Hook) -> None:
    with pytest.raises(DuplicateColumns, match="'email', 'id'") as caught:
        rows_of(hook, "SELECT 1 AS email, 2 AS id, 3 AS email, 4 AS id, 5 AS other")
    assert caught.value.columns == ("email", "id")


@pytest.mark.parametrize("sql", ["PRAGMA foreign_keys = ON", "-- nothing"])
def test_a_statement_without_result_is_refused(hook: Hook, sql: str) -> None:
    with pytest.raises(NoResultSet, match="such as a SELECT"):
        rows_of(hook, sql)


def test_several_statements_fail_with_the_drivers_words(hook: Hook) -> None:
    with pytest.raises(QueryFailed, match="one statement at a time"):
        rows_of(hook, "SELECT 1 AS a; SELECT 2 AS a")


def test_a_query_that_the_database_refuses_fails_before_any_row(hook: Hook) -> None:
    with pytest.raises(QueryFailed, match="before its first row: no such table: nowhere") as caught:
        rows_of(hook, "SELECT * FROM nowhere")
    assert caught.value.rows_read == 0


@pytest.mark.parametrize(
    ("sql", "parameters", "shown"),
    [
        ("SELECT 1 AS a WHERE 1 = %(n)s", {"n": 1}, "%(n)s"),
        ("SELECT 1 AS a WHERE 1 = %s", [1], "%s"),
        ("SELECT 'at :noon' AS a WHERE 1 = %(n)s -- ?", {"n": 1}, "%(n)s"),
    ],
)
def test_placeholders_of_another_style_are_told(hook: Hook, sql: str, parameters: Any, shown: str) -> None:
    with pytest.raises(QueryFailed) as caught:
        rows_of(hook, sql, parameters)
    words = f'near "%": syntax error. The SQL has the placeholder {shown}, and sqlite3 takes ? or :name.'
    assert str(caught.value) == f"The query failed before its first row: {words}"


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT a FROM nowhere WHERE b = :n AND c LIKE '%s'", {"n": 1}),
        ("SELECT a FROM nowhere WHERE b = ? AND c %s", [1]),
        ("SELECT a FROM nowhere WHERE b = '%(n)s'", {"n": 1}),
        ("SELECT a FROM nowhere WHERE b = %(n)s", None),
    ],
    ids=["named", "its own and another", "in quotes", "no parameters"],
)
def test_placeholders_are_not_blamed_for_other_errors(hook: Hook, sql: str, parameters: Any) -> None:
    with pytest.raises(QueryFailed) as caught:
        rows_of(hook, sql, parameters)
    assert "placeholder" not in str(caught.value)


def test_an_error_names_the_connection(hook: Hook) -> None:
    words = r"before its first row \(sql_conn_id='shop'\): no such table: nowhere"
    with (
        pytest.raises(QueryFailed, match=words),
        RowStream(hook, Query("SELECT * FROM nowhere", conn_id="shop")),
    ):
        pass
    with (
        pytest.raises(QueryFailed, match=r"could not be opened \(sql_conn_id='shop'\): unable"),
        RowStream(Hook("/nowhere/at/all.db"), Query("SELECT 1 AS a", conn_id="shop")),
    ):
        pass


def test_a_query_that_breaks_off_says_after_how_many_rows(hook: Hook) -> None:
    overflow = "CASE WHEN id <= 5000 THEN id ELSE abs(-9223372036854775807 - 1) END"
    came: list[int] = []
    with RowStream(hook, Query(f"SELECT {overflow} AS id FROM ({NUMBERS.format(9000)})")) as stream:
        chunks = map(len, stream)
        with pytest.raises(QueryFailed, match=r"after [34],\d{3} rows: integer overflow") as caught:
            came.extend(chunks)
    assert caught.value.rows_read == stream.rows_read == sum(came)


def test_an_error_shows_no_address(hook: Hook) -> None:
    address = "ann@example.com"
    with pytest.raises(QueryFailed) as caught:
        rows_of(hook, f'SELECT * FROM "{address}"')
    assert address not in str(caught.value)
    assert caught.value.__suppress_context__  # a traceback would show the driver's words


def test_a_connection_that_cannot_be_opened_says_so() -> None:
    with pytest.raises(QueryFailed, match=r"could not be opened: unable to open database file"):
        rows_of(Hook("/nowhere/at/all.db"), "SELECT 1 AS a")


def test_a_connection_without_cursors_is_named() -> None:
    class ExaConnection:
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

    class ExasolHook(Hook):
        connection = ExaConnection()

        def get_conn(self) -> Any:
            return self.connection

    with pytest.raises(NoCursor, match=r"ExaConnection.*ExasolHook.*no DB-API cursor"):
        rows_of(ExasolHook(), "SELECT 1 AS a")
    assert ExasolHook.connection.is_closed


def test_configuration_mistakes_are_told_from_failures() -> None:
    assert {issubclass(kind, UnsuitableQuery) for kind in (DuplicateColumns, NoResultSet, NoCursor)} == {True}
    assert not issubclass(QueryFailed, UnsuitableQuery)


def test_a_consumer_that_stops_early_leaves_nothing_open(hook: Hook) -> None:
    def rows() -> Iterator[object]:
        with RowStream(hook, Query(NUMBERS.format(100)), chunk_size=10) as stream:
            for chunk in stream:
                yield from chunk

    generator = rows()
    assert next(generator) == (1, "x1")
    generator.close()
    assert hook.is_all_closed


def test_a_consumers_error_passes_through_untouched(hook: Hook) -> None:
    with pytest.raises(KeyError), RowStream(hook, Query(NUMBERS.format(100)), chunk_size=10):
        raise KeyError
    assert hook.is_all_closed


@pytest.fixture
def people(tmp_path: Path) -> str:
    """A file with two people in a table."""
    path = str(tmp_path / "people.db")
    with closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE people (id INTEGER); INSERT INTO people VALUES (1), (2)")
    return path


WRITING = "DELETE FROM people RETURNING id"


@pytest.mark.parametrize(
    "sql",
    [
        WRITING,
        "/* SELECT */ -- SELECT\n INSERT INTO people SELECT id FROM people RETURNING id",
        "WITH one AS (SELECT 1) UPDATE people SET id = 3 RETURNING id",
        "CREATE TABLE t (a INTEGER)",
        "PRAGMA user_version = 3",
    ],
)
def test_a_query_that_writes_is_refused(people: str, sql: str) -> None:
    with pytest.raises(QueryWrites, match=r"more than read.*read_only=False"):
        rows_of(Hook(people), sql)
    assert rows_of(Hook(people), "SELECT id FROM people") == [(1,), (2,)]


def test_what_a_query_writes_that_may_is_kept_on_request(people: str) -> None:
    hook = Hook(people)
    with RowStream(hook, Query(WRITING, read_only=False)) as stream:
        assert list(stream) == [[(1,), (2,)]]
    stream.commit()
    assert hook.is_all_closed
    assert rows_of(Hook(people), "SELECT id FROM people") == []


@pytest.mark.parametrize("read_to_the_end", [True, False])
def test_what_a_query_writes_is_undone_without_that(people: str, read_to_the_end: bool) -> None:
    hook = Hook(people)
    with RowStream(hook, Query(WRITING, read_only=False), chunk_size=1) as stream:
        chunks = list(stream) if read_to_the_end else [next(iter(stream))]
    stream.close()
    assert len(chunks) == 1 + read_to_the_end
    assert hook.is_all_closed
    assert rows_of(Hook(people), "SELECT id FROM people") == [(1,), (2,)]


def test_what_a_query_writes_is_undone_when_its_rows_bring_trouble(people: str) -> None:
    stream = RowStream(Hook(people), Query(WRITING, read_only=False))
    with pytest.raises(ZeroDivisionError), stream:
        assert 1 / len([chunk for chunk in stream if not chunk])
    stream.commit()
    assert rows_of(Hook(people), "SELECT id FROM people") == [(1,), (2,)]


def test_a_commit_that_fails_is_told(people: str) -> None:
    class Locked(CountingConnection):
        def commit(self) -> None:
            message = "database is locked"
            raise sqlite3.OperationalError(message)

    hook = Hook(people)
    connection = Locked(hook.get_conn(), None)
    hook.get_conn = lambda: connection  # type: ignore[method-assign,assignment,return-value]
    with RowStream(hook, Query(WRITING, read_only=False)) as stream:
        list(stream)
    with pytest.raises(QueryFailed, match=r"next run finds the same rows: database is locked"):
        stream.commit()
    assert hook.is_all_closed


READING = [
    "SELECT replace(a, 'DELETE', '') FROM t FOR UPDATE",
    "(SELECT 1)",
    "SELECT 1 -- ; DELETE",
    "WITH a AS (SELECT 'x) UPDATE' AS b, delete_me FROM t) SELECT * FROM a WHERE b IN ('(DELETE')",
    "VALUES (1)",
    "SHOW tables",
    "EXPLAIN UPDATE t SET a = 1",
    "WITH a AS (SELECT 'x' AS b) SELECT UPPER(INSERT (b, 1, 0, 'y')) AS b FROM a WHERE (INSERT(b, 1, 1, 'z') = 'z')",
]


@pytest.mark.parametrize("dialect", ["postgres", "mysql", "any"])
@pytest.mark.parametrize("sql", READING)
def test_a_text_that_only_reads_is_taken(dialect: str, sql: str) -> None:
    refuse_writing(sql, dialect)


@pytest.mark.parametrize("dialect", ["postgres", "mysql", "any"])
@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("update t set a = 1 returning a", "UPDATE"),
        ("/* SELECT */ (-- SELECT\n  Delete FROM t)", "DELETE"),
        ("WITH a AS (SELECT 1), b AS MATERIALIZED ( INSERT INTO t TABLE a RETURNING 1) SELECT 1", "INSERT"),
        ("WITH a AS (SELECT 1) MERGE INTO t USING a ON true", "MERGE"),
        ("SELECT 1; DROP TABLE t", "DROP"),
    ],
)
def test_a_text_that_writes_is_told_by_its_words(dialect: str, sql: str, word: str) -> None:
    with pytest.raises(QueryWrites, match=rf"more than read \({word}\)"):
        refuse_writing(sql, dialect)


def test_a_procedure_of_a_database_that_is_not_known_might_write() -> None:
    refuse_writing("CALL people()", "postgres")
    with pytest.raises(QueryWrites, match="EXEC"):
        refuse_writing("EXEC dbo.people", "any")


def test_a_chunk_holds_at_least_one_row(hook: Hook) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RowStream(hook, Query("SELECT 1 AS a"), chunk_size=0)


def test_a_text_that_is_not_utf_8_costs_nothing_but_itself(hook: Hook) -> None:
    broken = "CASE WHEN id % 2000 = 7 THEN CAST(x'5a6feb' AS TEXT) ELSE name END"
    sql = f"SELECT id, {broken} AS name, x'5a6feb' AS data, '' AS empty FROM ({NUMBERS.format(5000)})"
    rows = rows_of(hook, sql)
    assert [row[0] for row in rows] == list(range(1, 5001))
    assert [row[0] for row in rows if row[1] != f"x{row[0]}"] == [7, 2007, 4007]
    told = "column 'name' holds text that is not in UTF-8; mend it in the database"
    assert rows[6] == (7, Unreadable(told), b"Zo\xeb", "")


def test_a_hook_may_have_its_own_way_to_read_text() -> None:
    class Latin1Hook(Hook):
        def get_conn(self) -> sqlite3.Connection:
            connection = super().get_conn()
            connection.text_factory = lambda data: data.decode("latin-1")
            return connection

    assert rows_of(Latin1Hook(), "SELECT CAST(x'5a6feb' AS TEXT) AS a") == [("Zoë",)]


class CountingCursor:
    """A driver that knows, or says it knows, how many rows there are."""

    def __init__(self, cursor: sqlite3.Cursor, rowcount: object) -> None:
        self._cursor = cursor
        self.rowcount = rowcount

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


class CountingConnection:
    def __init__(self, connection: sqlite3.Connection, rowcount: object) -> None:
        self._connection = connection
        self._rowcount = rowcount

    def cursor(self) -> CountingCursor:
        return CountingCursor(self._connection.cursor(), self._rowcount)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize(
    ("rowcount", "total"),
    [(5, 5), (-1, None), (None, None), (2**64 - 1, None), (0, None), (2, None)],
    ids=["known", "unknown", "absent", "unknown, unsigned", "counted so far", "counted wrong"],
)
def test_a_total_is_believed_if_the_rows_bear_it_out(rowcount: object, total: int | None) -> None:
    class CountingHook(Hook):
        def get_conn(self) -> Any:
            return CountingConnection(super().get_conn(), rowcount)

    with RowStream(CountingHook(), Query(NUMBERS.format(5)), chunk_size=3) as stream:
        assert stream.total == total
        assert sum(map(len, stream)) == 5


class Posing:
    """Poses as a connection or a cursor of SQLite, but for what its classes change."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class CostlyCursor(Posing):
    """As pydruid's and Elasticsearch's: counting reads the whole result, and the columns are gone with the last row."""

    is_read = False

    @property
    def rowcount(self) -> int:
        pytest.fail("the count has a price")

    @property
    def description(self) -> Any:
        return None if self.is_read else self.real.description

    def fetchmany(self, size: int) -> Any:
        rows = self.real.fetchmany(size)
        self.is_read = len(rows) < size
        return rows


def hook_with(cursor: type[Posing]) -> Hook:
    class PosingHook(Hook):
        def get_conn(self) -> Any:
            connection = Posing(super().get_conn())
            connection.cursor = lambda: cursor(connection.real.cursor())
            return connection

    return PosingHook()


def test_a_count_that_has_a_price_is_not_asked_for_and_columns_are_read_in_time() -> None:
    with RowStream(hook_with(CostlyCursor), Query(NUMBERS.format(3))) as stream:
        assert stream.columns == ("id", "name")
        assert stream.total is None
        assert [len(chunk) for chunk in stream] == [3]


class StrictCursor(Posing):
    """A driver that makes objects of values and cannot make one of them."""

    def fetchmany(self, size: int) -> Any:
        msg = "hour must be in 0..23"
        raise ValueError(msg)


def test_a_value_that_a_driver_cannot_make_is_told_with_what_to_cast() -> None:
    with pytest.raises(QueryFailed, match=r"hour must be in 0\.\.23\. .*Cast to text.*times of 24 hours"):
        rows_of(hook_with(StrictCursor), NUMBERS.format(3))


def test_a_connection_in_autocommit_leaves_it_whatever_its_hook_supports() -> None:
    class AutocommitHook(Hook):
        supports_autocommit = False
        connection: Any = None

        def get_conn(self) -> Any:
            self.connection = Posing(super().get_conn())
            self.connection.autocommit = True
            return self.connection

    hook = AutocommitHook()
    rows_of(hook, NUMBERS.format(3))
    assert hook.connection.autocommit is False


SINGLE: Mapping[str, Sequence[str]] = {
    "postgres": [
        "SELECT ';'",
        "SELECT ';', 'it''s; fine'",
        "SELECT E'\\';' AS a",
        "SELECT 'c:\\' AS a",
        'SELECT 1 AS ";"',
        "SELECT $$;$$, $tag$ ; $$ ; $tag$",
        "SELECT 1 -- a; b\n AS c",
        "SELECT 1 /* a; b\n */ AS c",
        "/* outer /* inner */ ; */ SELECT 1",
        "SELECT 1 /*/**/; b */",
        "SELECT '/*' AS a, 1 /* it's ; here */ AS b",
        "SELECT 1; -- the end",
        "SELECT 1 ;; ",
    ],
    "mysql": [
        "SELECT ';'",
        "SELECT 'it\\'s; fine'",
        'SELECT "a\\";" AS b',
        "SELECT 1 AS `;`",
        "SELECT 1 # a; b\n AS c",
        "SELECT 1; -- the end",
        "SELECT 1 /* a /* ; b */ AS c",
    ],
}
SEVERAL: Mapping[str, Sequence[str]] = {
    "postgres": [
        "SELECT 1; SELECT 2",
        "SET a = 1;SELECT ';'",
        "SELECT 'c:\\'; SELECT 'b'",
        "SELECT $$a$$; SELECT $$b$$",
        "SELECT 1 /* outer /* inner */ */; SELECT 2",
        "SELECT '/*'; SELECT '*/'",
    ],
    "mysql": [
        "SELECT 1 --\n; SELECT 2",
        "SELECT 1 /* a /* b */; SELECT 2 /* c */",
        "SELECT 1; SELECT 2",
        "SELECT 'a\\\\'; SELECT 'b'",
        "SELECT `a`;SELECT 1",
    ],
}


@pytest.mark.parametrize(("dialect", "sql"), [(name, sql) for name, all_ in SINGLE.items() for sql in all_])
def test_a_semicolon_inside_a_statement_ends_none(dialect: str, sql: str) -> None:
    refuse_several_statements(sql, dialect)


@pytest.mark.parametrize(("dialect", "sql"), [(name, sql) for name, all_ in SEVERAL.items() for sql in all_])
def test_several_statements_are_told_from_one(dialect: str, sql: str) -> None:
    with pytest.raises(SeveralStatements):
        refuse_several_statements(sql, dialect)
