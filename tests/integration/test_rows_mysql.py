from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_klaviyo.sync.query import DuplicateColumns, NoResultSet, Query, QueryError, QueryFailed
from airflow_provider_klaviyo.sync.rows import RowStream

_REASON = "the MySQL driver is not installed (apt-get install libmariadb-dev pkg-config build-essential)"
MySqlHook: Any = pytest.importorskip(
    "airflow.providers.mysql.hooks.mysql", reason=_REASON, exc_type=ImportError
).MySqlHook

pytestmark = pytest.mark.integration

MakeHook = Callable[..., Any]

TEN = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 "
TEN += "UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)"


def numbers(digits: int) -> str:
    """A table of the numbers from 1 to ten to that power, without a table."""
    tables = " CROSS JOIN ".join(f"{TEN} t{i}" for i in range(digits))
    return (
        f"(SELECT 1 + {' + '.join(f't{i}.d * {10**i}' for i in range(digits))} AS id FROM {tables}) numbers"
    )


class PyMySqlHook:
    """A driver that no hook of Airflow opens, but others may."""

    strip_sql_string = staticmethod(MySqlHook.strip_sql_string)

    def __init__(self, uri: str, init_command: str | None) -> None:
        self.uri = urlsplit(uri)
        self.init_command = init_command

    def get_conn(self) -> Any:
        pymysql = pytest.importorskip("pymysql", reason="pymysql is not installed")
        return pymysql.connect(
            host=self.uri.hostname,
            port=self.uri.port or 3306,
            user=self.uri.username,
            password=self.uri.password or "",
            database=self.uri.path.strip("/"),
            init_command=self.init_command,
        )


@pytest.fixture(params=["mysqlclient", "mysql-connector-python", "pymysql"])
def make_hook(request: pytest.FixtureRequest, mysql_uri: str, monkeypatch: pytest.MonkeyPatch) -> MakeHook:
    def make(init_command: str | None = None) -> Any:
        if request.param == "pymysql":
            return PyMySqlHook(mysql_uri, init_command)
        if request.param == "mysql-connector-python":
            pytest.importorskip("mysql.connector", reason="mysql-connector-python is not installed")
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"{mysql_uri}?client={request.param}")
        return MySqlHook(mysql_conn_id="shop", init_command=init_command)

    return make


@pytest.fixture
def hook(make_hook: MakeHook) -> Any:
    return make_hook()


def rows_of(hook: Any, sql: str, parameters: Any = None, **options: Any) -> list[tuple[object, ...]]:
    with RowStream(hook, Query(sql, parameters), **options) as stream:
        return [row for chunk in stream for row in chunk]


def test_rows_stream_in_chunks(hook: Any) -> None:
    sql = f"SELECT id, 'Zoë 🙂' AS name FROM {numbers(4)} WHERE id <= 4500;"
    with RowStream(hook, Query(sql)) as stream:
        assert stream.columns == ("id", "name")
        assert stream.total is None
        chunks = list(stream)
    assert [len(chunk) for chunk in chunks] == [2000, 2000, 500]
    assert {type(row) for chunk in chunks for row in chunk} == {tuple}
    assert chunks[0][0][1] == "Zoë 🙂"


def test_a_result_without_rows_has_columns(hook: Any) -> None:
    with RowStream(hook, Query("SELECT 1 AS id, 2 AS name FROM DUAL WHERE 1 = 0")) as stream:
        assert stream.columns == ("id", "name")
        assert list(stream) == []


@pytest.mark.parametrize("parameters", [("a%", 2), ["a%", 2]])
def test_positional_parameters_reach_the_driver(hook: Any, parameters: Any) -> None:
    assert rows_of(hook, "SELECT %s AS a, %s AS b", parameters) == [("a%", 2)]


def test_named_parameters_reach_the_driver(hook: Any) -> None:
    assert rows_of(hook, "SELECT %(name)s AS a", {"name": "ann"}) == [("ann",)]


@pytest.mark.parametrize("parameters", [None, (), {}])
def test_without_parameters_a_percent_sign_is_itself(hook: Any, parameters: Any) -> None:
    assert rows_of(hook, "SELECT 'a' LIKE '%a' AS a, 5 % 3 AS b", parameters) == [(1, 2)]


def test_a_statement_that_shows_something_has_rows(hook: Any) -> None:
    assert rows_of(hook, "SHOW VARIABLES LIKE 'net_write_timeout'") == [("net_write_timeout", "86400")]


def test_a_statement_without_result_is_refused(hook: Any) -> None:
    with pytest.raises(NoResultSet):
        rows_of(hook, "SET @a = 1")


@pytest.mark.parametrize("sql", ["SELECT 1 AS a; SELECT 2 AS a", "SET @a = 1; SELECT 2 AS a"])
def test_several_statements_are_refused(hook: Any, sql: str) -> None:
    with pytest.raises(QueryError, match=r"several statements|error in your SQL syntax"):
        rows_of(hook, sql)


def test_columns_of_one_name_are_refused(hook: Any) -> None:
    with pytest.raises(DuplicateColumns, match="'email'"):
        rows_of(hook, "SELECT 1 AS email, 2 AS email")


def test_a_query_that_the_database_refuses_fails_before_any_row(hook: Any) -> None:
    with pytest.raises(QueryFailed, match=r"before its first row.*nowhere"):
        rows_of(hook, "SELECT * FROM nowhere")


def test_a_query_that_breaks_off_says_after_how_many_rows(hook: Any) -> None:
    """From 5,000 on the subquery has two rows, which the database finds out when it gets there."""
    sql = f"SELECT (SELECT 1 UNION ALL SELECT 2 FROM DUAL WHERE id > 5000) AS a FROM {numbers(4)}"
    with RowStream(hook, Query(sql)) as stream:
        chunks = iter(stream)
        assert [len(next(chunks)), len(next(chunks))] == [2000, 2000]
        with pytest.raises(QueryFailed, match=r"after 4,000 rows: .*more than 1 row"):
            list(chunks)


def test_a_connection_that_is_cut_says_after_how_many_rows(hook: Any, make_hook: MakeHook) -> None:
    with RowStream(
        hook, Query(f"SELECT CONNECTION_ID() AS id, REPEAT('x', 900) AS a FROM {numbers(6)}")
    ) as stream:
        chunks = iter(stream)
        session = next(chunks)[0][0]
        killer = make_hook().get_conn()
        killer.cursor().execute(f"KILL {session}")
        killer.close()
        with pytest.raises(QueryFailed, match=r"after \d[\d,]* rows"):
            list(chunks)
    assert 2000 <= stream.rows_read < 10**6


def test_a_server_that_waits_too_long_to_write_does_not_give_up(make_hook: MakeHook) -> None:
    hook = make_hook(init_command="SET SESSION net_write_timeout = 1")
    with RowStream(hook, Query(f"SELECT id, REPEAT('x', 900) AS a FROM {numbers(4)}")) as stream:
        chunks = iter(stream)
        next(chunks)
        time.sleep(1.5)
        assert sum(map(len, chunks)) == 8000


def test_a_consumer_that_stops_early_does_not_wait_for_the_rest(hook: Any, make_hook: MakeHook) -> None:
    """Closing the cursor would read a hundred million rows: the test would not end in time."""
    with RowStream(hook, Query(f"SELECT CONNECTION_ID() AS session FROM {numbers(8)}")) as stream:
        session = next(iter(stream))[0][0]
    sql = f"SELECT COUNT(*) AS a FROM information_schema.processlist WHERE id = {session}"
    deadline = time.monotonic() + 10
    while rows_of(make_hook(), sql) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_columns_of_one_name_are_refused_without_waiting_for_the_rows(hook: Any) -> None:
    with pytest.raises(DuplicateColumns):
        rows_of(hook, f"SELECT id, id FROM {numbers(8)}")


def test_rows_are_tuples_even_if_the_connection_asks_for_dictionaries(
    mysql_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"{mysql_uri}?cursor=dictcursor")
    assert rows_of(MySqlHook(mysql_conn_id="shop"), "SELECT 1 AS a, 2 AS b") == [(1, 2)]
