from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from airflow.providers.postgres.hooks.postgres import PostgresHook

from airflow_provider_klaviyo.records.values.unsendable import Unreadable
from airflow_provider_klaviyo.sync.source.drivers import postgres
from airflow_provider_klaviyo.sync.source.drivers.postgres import DeclaredCursor
from airflow_provider_klaviyo.sync.source.query import (
    DuplicateColumns,
    NoResultSet,
    Query,
    QueryFailed,
    QueryWrites,
    SeveralStatements,
)
from airflow_provider_klaviyo.sync.source.rows import RowStream

pytestmark = pytest.mark.integration

MakeHook = Callable[..., Any]


class Psycopg2Hook:
    """The older driver, which Airflow's hook takes where psycopg 3 is not installed."""

    supports_autocommit = True
    strip_sql_string = staticmethod(PostgresHook.strip_sql_string)

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def get_conn(self) -> Any:
        psycopg2 = pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
        return psycopg2.connect(self.uri)

    @staticmethod
    def set_autocommit(connection: Any, autocommit: bool) -> None:
        connection.autocommit = autocommit


@pytest.fixture(params=["psycopg", "psycopg2"])
def make_hook(request: pytest.FixtureRequest, postgres_uri: str, monkeypatch: pytest.MonkeyPatch) -> MakeHook:
    """Make a hook on the test database; extras are connection parameters of libpq."""

    def make(**extras: str) -> Any:
        uri = postgres_uri + "?" + "&".join(f"{name}={quote(value)}" for name, value in extras.items())
        if request.param == "psycopg2":
            return Psycopg2Hook(uri)
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", uri)
        return PostgresHook(postgres_conn_id="shop")

    return make


@pytest.fixture
def hook(make_hook: MakeHook) -> Any:
    return make_hook()


@pytest.fixture
def database(postgres_uri: str) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(postgres_uri, autocommit=True)) as connection:
        yield connection


@pytest.fixture
def people(database: psycopg.Connection[Any]) -> Iterator[str]:
    database.execute("DROP TABLE IF EXISTS people")  # other modules have people of their own
    database.execute("CREATE TABLE people AS SELECT g AS id FROM generate_series(1, 3) g")
    yield "people"
    database.execute("DROP TABLE people")


def rows_of(hook: Any, sql: str, parameters: Any = None, **options: Any) -> list[tuple[object, ...]]:
    with RowStream(hook, Query(sql, parameters), **options) as stream:
        return [row for chunk in stream for row in chunk]


def test_rows_stream_in_chunks(hook: Any) -> None:
    with RowStream(hook, Query("SELECT g AS id, 'x' AS name FROM generate_series(1, 4500) g;")) as stream:
        assert stream.columns == ("id", "name")
        assert stream.total is None
        assert [len(chunk) for chunk in stream] == [50, 400, 2000, 2000, 50]


def test_the_first_rows_arrive_before_the_query_is_done(hook: Any) -> None:
    """A client-side cursor would run into the division; a server-side one does not get there."""
    with RowStream(hook, Query("SELECT 1 / (100000 - g) AS a FROM generate_series(1, 200000) g")) as stream:
        assert len(next(iter(stream))) == 50


@pytest.mark.parametrize("parameters", [("a%", 2), ["a%", 2]])
def test_positional_parameters_reach_the_driver(hook: Any, parameters: Any) -> None:
    assert rows_of(hook, "SELECT %s::text AS a, %s::int + 5 %% 3 AS b", parameters) == [("a%", 4)]


def test_named_parameters_reach_the_driver(hook: Any) -> None:
    assert rows_of(hook, "SELECT %(name)s::text AS a", {"name": "ann"}) == [("ann",)]


@pytest.mark.parametrize("parameters", [None, (), {}])
def test_without_parameters_a_percent_sign_is_itself(hook: Any, parameters: Any) -> None:
    assert rows_of(hook, "SELECT 'a' LIKE '%a' AS a, 5 % 3 AS b", parameters) == [(True, 2)]


@pytest.mark.parametrize("sql", ["SHOW TIME ZONE", "EXPLAIN SELECT 1"])
def test_a_statement_that_no_cursor_can_hold_is_read_plainly(hook: Any, sql: str) -> None:
    with RowStream(hook, Query(sql)) as stream:
        assert stream.total == len(next(iter(stream))) == 1


WRITING = [
    "UPDATE people SET id = -id RETURNING id",
    "WITH taken AS (UPDATE people SET id = -id RETURNING id) SELECT id FROM taken",
    "SELECT negated(id) AS id FROM people ORDER BY people.id",
]


@pytest.fixture
def negated(database: psycopg.Connection[Any], people: str) -> Iterator[None]:
    """A function that writes, of which nothing shows in the text of the query."""
    database.execute(
        "CREATE FUNCTION negated(int) RETURNS int LANGUAGE sql AS "
        "'UPDATE people SET id = -id WHERE id = $1 RETURNING id'"
    )
    yield
    database.execute("DROP FUNCTION negated")


@pytest.mark.parametrize(
    "sql", [*WRITING, "SELECT nextval('numbers') AS a", "SELECT id FROM people FOR UPDATE"]
)
def test_a_query_that_writes_is_refused(
    hook: Any, database: psycopg.Connection[Any], negated: None, sql: str
) -> None:
    database.execute("CREATE SEQUENCE IF NOT EXISTS numbers")
    with pytest.raises(QueryWrites, match=r"(?s)in a read-only transaction.*read_only=False"):
        rows_of(hook, sql)
    assert rows_of(hook, "SELECT id FROM people ORDER BY id") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("sql", WRITING)
def test_what_a_query_writes_that_may_is_kept_on_request(
    hook: Any, negated: None, sql: str, is_kept: bool
) -> None:
    with RowStream(hook, Query(sql, read_only=False)) as stream:
        assert list(stream) == [[(-1,), (-2,), (-3,)]]
    stream.commit() if is_kept else stream.close()
    assert rows_of(hook, "SELECT abs(id) FROM people WHERE id < 0") == ([(1,), (2,), (3,)] if is_kept else [])


def test_a_relative_that_cannot_be_told_to_only_read_is_judged_by_the_words(
    hook: Any, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_READ_ONLY", "SET TRANSACTION OF NO KIND")
    assert rows_of(hook, "SELECT count(*) AS n FROM people") == [(3,)]
    with pytest.raises(QueryWrites, match="UPDATE"):
        rows_of(hook, WRITING[1])


@pytest.mark.parametrize("sql", ["SET TIME ZONE 'UTC'", "SELECT FROM people"])
def test_a_statement_without_columns_is_refused(hook: Any, people: str, sql: str) -> None:
    with pytest.raises(NoResultSet):
        rows_of(hook, sql)


def test_several_statements_are_refused_before_any_of_them_runs(hook: Any, people: str) -> None:
    with pytest.raises(SeveralStatements):
        rows_of(hook, f"DELETE FROM {people}; SELECT 1 AS a")


def test_a_comment_may_hold_another_one_and_a_semicolon(hook: Any) -> None:
    assert rows_of(hook, "/* outer /* inner */ ; */ SELECT 1 AS a") == [(1,)]


def test_columns_of_one_name_are_refused(hook: Any) -> None:
    with pytest.raises(DuplicateColumns, match=r"'\?column\?'"):
        rows_of(hook, "SELECT 1, 2")


@pytest.mark.parametrize(
    ("sql", "words"),
    [("SELECT * FROM nowhere", 'relation "nowhere" does not exist'), ("SELEC 1", 'at or near "SELEC"')],
)
def test_a_query_that_the_database_refuses_fails_before_any_row(hook: Any, sql: str, words: str) -> None:
    with pytest.raises(QueryFailed, match="before its first row") as caught:
        rows_of(hook, sql)
    assert words in str(caught.value)
    assert "DECLARE" not in str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT (name || g)::int AS a FROM generate_series(1, 9) g, (VALUES ('Jane Doe')) people(name)",
        "SELECT 'Jane Doe'::int AS a",
        """SELECT ('{"name": ' || name || '}')::json AS a FROM (VALUES ('Jane Doe')) people(name)""",
        "SELECT to_date(name, 'YYYY') AS a FROM (VALUES ('Jane Doe')) people(name)",
        "SELECT regexp_replace('a', name, '') AS a FROM (VALUES ('Jane Doe (')) people(name)",
        "SELECT 'Jane Doe' AS name FROM nowhere",
        "SELECT 'Jane Doe",
    ],
)
def test_no_cell_is_shown_when_a_query_fails(hook: Any, sql: str) -> None:
    with pytest.raises(QueryFailed, match=r"\(SQLSTATE [24]2\w+\)") as caught:
        rows_of(hook, sql)
    assert "Jane" not in str(caught.value)
    assert "Doe" not in str(caught.value)


def test_a_query_that_breaks_off_says_after_how_many_rows(hook: Any) -> None:
    sql = "SELECT 1 / (5000 - g) AS a FROM generate_series(1, 9000) g"
    with (
        pytest.raises(QueryFailed, match="after 4,450 rows: division by zero"),
        RowStream(hook, Query(sql)) as stream,
    ):
        list(stream)


def test_a_connection_that_is_cut_says_after_how_many_rows(
    make_hook: MakeHook, database: psycopg.Connection[Any]
) -> None:
    hook = make_hook(application_name="klaviyo_cut")
    with RowStream(hook, Query("SELECT g AS a FROM generate_series(1, 9000) g")) as stream:
        chunks = iter(stream)
        first = len(next(chunks))
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'klaviyo_cut'"
        )
        with pytest.raises(QueryFailed, match=f"after {first:,} rows"):
            next(chunks)


def test_a_session_that_idles_too_long_for_its_server_is_not_cut(
    make_hook: MakeHook, database: psycopg.Connection[Any]
) -> None:
    hook = make_hook(options="-c idle_in_transaction_session_timeout=500")
    with (
        RowStream(hook, Query("SELECT g AS a FROM generate_series(1, 9000) g")) as stream,
        closing(hook.get_conn()) as control,
        closing(control.cursor()) as cursor,
    ):
        chunks = iter(stream)
        first = len(next(chunks))
        cursor.execute("SELECT 1")
        time.sleep(1.2)
        assert first + sum(map(len, chunks)) == 9_000
        with pytest.raises(Exception, match=r"idle-in-transaction|closed"):
            cursor.execute("SELECT 1")


class KeptOpen:
    """A connection of a pool, or one that a tracing tool wraps: it poses as the driver's, and outlives its close."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def __class__(self) -> type:
        return type(self._connection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def close(self) -> None:
        pass


def test_the_lifted_timeout_ends_with_the_transaction(make_hook: MakeHook) -> None:
    """A pooler may give the same session to somebody else next."""
    hook = make_hook(options="-c idle_in_transaction_session_timeout=77000")
    with closing(hook.get_conn()) as connection:
        hook.get_conn = lambda: KeptOpen(connection)
        assert rows_of(hook, "SELECT current_setting('idle_in_transaction_session_timeout') AS a") == [("0",)]
        with closing(connection.cursor()) as cursor:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            assert cursor.fetchone() == ("77s",)


@pytest.mark.parametrize("is_read_to_the_end", [True, False])
def test_nothing_is_left_on_the_server(
    make_hook: MakeHook, database: psycopg.Connection[Any], is_read_to_the_end: bool
) -> None:
    hook = make_hook(application_name="klaviyo_left")
    with RowStream(hook, Query("SELECT g AS a FROM generate_series(1, 9000) g")) as stream:
        chunks = iter(stream)
        next(chunks)
        if is_read_to_the_end:
            list(chunks)
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'klaviyo_left'"
    deadline = time.monotonic() + 10
    while database.execute(sessions).fetchone() != (0,):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_rows_are_tuples_even_if_the_connection_asks_for_dictionaries(
    postgres_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"{postgres_uri}?cursor=dictcursor")
    assert rows_of(PostgresHook(postgres_conn_id="shop"), "SELECT 1 AS a, 2 AS b") == [(1, 2)]


def test_a_connection_in_autocommit_streams_too(make_hook: MakeHook) -> None:
    hook = make_hook()
    connection = hook.get_conn()
    connection.autocommit = True
    hook.get_conn = lambda: connection
    assert len(rows_of(hook, "SELECT g AS a FROM generate_series(1, 4500) g")) == 4500


@pytest.mark.parametrize(
    "value",
    [
        "'infinity'::timestamptz",
        "'-infinity'::date",
        "'0044-03-15 BC'::date",
        "'20000-01-01'::timestamp",
        "'24:00'::time",
    ],
)
def test_a_value_that_python_cannot_hold_costs_nothing_but_itself(hook: Any, value: str) -> None:
    kind = value.partition("::")[2]
    good = "'10:00'" if kind == "time" else "'2024-05-01'"
    odd = f"CASE WHEN g % 2000 = 7 THEN {value} ELSE {good}::{kind} END"
    sql = f"SELECT g AS id, {odd} AS a FROM generate_series(1, 5000) g"
    rows = rows_of(hook, sql)
    assert [row[0] for row in rows] == list(range(1, 5001))
    assert [row[0] for row in rows if isinstance(row[1], Unreadable)] == [7, 2007, 4007]
    assert len({type(row[1]) for row in rows}) == 2
    assert "column 'a' holds infinity, 24 o'clock, or a year" in rows[6][1].reason  # type: ignore[attr-defined]


def test_a_value_that_python_cannot_hold_may_come_of_a_statement_that_no_cursor_holds(
    hook: Any, database: psycopg.Connection[Any]
) -> None:
    database.execute(
        "CREATE TABLE moments AS SELECT g AS id, 'infinity'::date AS at FROM generate_series(1, 30) g"
    )
    database.execute("UPDATE moments SET at = '2024-05-01' WHERE id % 10 <> 7")
    sql = "UPDATE moments SET id = id RETURNING id, at"
    with RowStream(hook, Query(sql, read_only=False), chunk_size=10) as stream:
        rows = sorted(row for chunk in stream for row in chunk)
    stream.close()
    database.execute("DROP TABLE moments")
    assert [row[0] for row in rows] == list(range(1, 31))
    assert [row[0] for row in rows if isinstance(row[1], Unreadable)] == [7, 17, 27]


def test_a_cursor_can_be_declared_in_sql(postgres_uri: str) -> None:
    """As Redshift's own driver needs it, which has no named cursors."""
    psycopg2 = pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    with closing(psycopg2.connect(postgres_uri)) as connection, closing(DeclaredCursor(connection)) as cursor:
        cursor.execute("SELECT g AS a, %s AS b FROM generate_series(1, 5) g", ("x",))
        assert cursor.fetchmany(3) == [(1, "x"), (2, "x"), (3, "x")]
        assert [column[0] for column in cursor.description or ()] == ["a", "b"]
        assert cursor.fetchmany(3) == [(4, "x"), (5, "x")]
        assert cursor.fetchmany(3) == []


def test_the_query_is_planned_for_all_of_its_rows(hook: Any) -> None:
    assert rows_of(hook, "SELECT current_setting('cursor_tuple_fraction') AS a") == [("1",)]


def test_the_first_error_of_a_connection_that_dies_is_the_one_to_show(
    hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a pooler that permits no transactions: what comes after says that the connection is closed."""
    monkeypatch.setattr(postgres, "_SETTINGS", "SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(QueryFailed, match="terminat"):
        rows_of(hook, "SELECT 1 AS a")
