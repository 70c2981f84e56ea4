from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_klaviyo.records.values.unsendable import Unreadable
from airflow_provider_klaviyo.sync.source.drivers import mysql
from airflow_provider_klaviyo.sync.source.query import (
    DuplicateColumns,
    NoResultSet,
    Query,
    QueryError,
    QueryFailed,
    QueryWrites,
)
from airflow_provider_klaviyo.sync.source.rows import RowStream

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

    def __init__(self, uri: str, init_command: str | None, charset: str) -> None:
        self.uri = urlsplit(uri)
        self.init_command = init_command
        self.charset = charset

    def get_conn(self) -> Any:
        pymysql = pytest.importorskip("pymysql", reason="pymysql is not installed")
        return pymysql.connect(
            host=self.uri.hostname,
            port=self.uri.port or 3306,
            user=self.uri.username,
            password=self.uri.password or "",
            database=self.uri.path.strip("/"),
            init_command=self.init_command,
            charset=self.charset,
        )


@pytest.fixture(params=["mysqlclient", "mysql-connector-python", "pymysql"])
def make_hook(request: pytest.FixtureRequest, mysql_uri: str, monkeypatch: pytest.MonkeyPatch) -> MakeHook:
    def make(init_command: str | None = None, charset: str = "utf8mb4") -> Any:
        if request.param == "pymysql":
            return PyMySqlHook(mysql_uri, init_command, charset)
        if request.param == "mysql-connector-python":
            pytest.importorskip("mysql.connector", reason="mysql-connector-python is not installed")
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"{mysql_uri}?client={request.param}&charset={charset}")
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
    assert [len(chunk) for chunk in chunks] == [50, 400, 2000, 2000, 50]
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


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT EXTRACTVALUE('<a/>', CONCAT('Jane Doe(', id)) AS a FROM orders", "XPATH"),
        ("SELECT * FROM nowhere WHERE name = 'Jane Doe'", "nowhere"),
        ("SELEC 'Jane Doe'", "SQL syntax"),
        ("INSERT INTO orders VALUES ('Jane Doe', NULL, NULL) RETURNING id", "`id`"),
    ],
)
def test_no_cell_is_shown_when_a_query_fails(hook: Any, orders: str, sql: str, words: str) -> None:
    with pytest.raises(QueryFailed, match=words) as caught, RowStream(hook, Query(sql, read_only=False)):
        pass
    assert "Jane" not in str(caught.value)
    assert "Doe" not in str(caught.value)


def test_a_query_that_breaks_off_says_after_how_many_rows(hook: Any) -> None:
    """From 5,000 on the subquery has two rows, which the database finds out when it gets there."""
    sql = f"SELECT (SELECT 1 UNION ALL SELECT 2 FROM DUAL WHERE id > 5000) AS a FROM {numbers(4)}"
    with (
        pytest.raises(QueryFailed, match=r"after 4,450 rows: .*more than 1 row"),
        RowStream(hook, Query(sql)) as stream,
    ):
        list(stream)


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
    assert 50 <= stream.rows_read < 10**6


def test_a_server_that_waits_too_long_to_write_does_not_give_up(make_hook: MakeHook) -> None:
    hook = make_hook(init_command="SET SESSION net_write_timeout = 1")
    with RowStream(hook, Query(f"SELECT id, REPEAT('x', 900) AS a FROM {numbers(4)}")) as stream:
        chunks = iter(stream)
        first = len(next(chunks))
        time.sleep(1.5)
        assert first + sum(map(len, chunks)) == 10_000


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


IN_NEPAL = "SET SESSION time_zone = '+05:45'"


def connect(mysql_uri: str) -> Any:
    uri = urlsplit(mysql_uri)
    return pytest.importorskip("MySQLdb").connect(
        host=uri.hostname,
        port=uri.port or 3306,
        user=uri.username,
        passwd=uri.password or "",
        database=uri.path.strip("/"),
    )


@pytest.fixture
def orders(mysql_uri: str) -> Iterator[str]:
    """Three orders, at 23:00, 00:00 and 01:00 in UTC, written down as moments and as UTC's wall clock time."""
    with closing(connect(mysql_uri)) as database:
        cursor = database.cursor()
        cursor.execute("SET SESSION time_zone = '+00:00'")
        cursor.execute("CREATE TABLE orders (id INT, moment TIMESTAMP NULL, written DATETIME)")
        for id_, hour in enumerate(("2026-01-01 23:00", "2026-01-02 00:00", "2026-01-02 01:00"), 1):
            cursor.execute("INSERT INTO orders VALUES (%s, %s, %s)", (id_, hour, hour))
        cursor.execute("INSERT INTO orders VALUES (4, NULL, NULL)")
        database.commit()
        yield "orders"
        cursor.execute("DROP TABLE orders")


def test_a_timestamp_is_a_moment_whatever_the_zone_of_the_server(make_hook: MakeHook, orders: str) -> None:
    hook = make_hook(init_command=IN_NEPAL)
    assert rows_of(hook, "SELECT moment, written, MAX(moment) AS last FROM orders GROUP BY id ORDER BY id")[
        1:
    ] == [
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC)),
        (datetime(2026, 1, 2, 1, tzinfo=UTC), datetime(2026, 1, 2, 1), datetime(2026, 1, 2, 1, tzinfo=UTC)),
        (None, None, None),
    ]


@pytest.mark.parametrize("column", ["moment", "written"])
@pytest.mark.parametrize("start", ["2026-01-02 00:00:00+00:00", "2026-01-02T00:00:00+00:00"])
def test_the_interval_of_a_dag_run_selects_its_own_rows(
    make_hook: MakeHook, orders: str, column: str, start: str
) -> None:
    end = start.replace("02", "03")
    sql = f"SELECT id FROM orders WHERE {column} >= '{start}' AND {column} < '{end}' ORDER BY id"
    assert rows_of(make_hook(init_command=IN_NEPAL), sql) == [(2,), (3,)]


def test_a_server_that_will_not_read_in_utc_is_told_of(
    make_hook: MakeHook, orders: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As relatives of MySQL that know no time zones."""
    monkeypatch.setattr(mysql, "_READ_IN_UTC", "SET SESSION nothing_of_that_name = '+00:00'")
    hook = make_hook(init_command=IN_NEPAL)
    with RowStream(hook, Query("SELECT written, moment FROM orders WHERE id = 2")) as stream:
        assert stream.unzoned == ("moment",)
        rows = [row for chunk in stream for row in chunk]
    assert rows == [(datetime(2026, 1, 2), datetime(2026, 1, 2, 5, 45))]


def test_one_bit_is_a_boolean_and_more_are_a_number(hook: Any) -> None:
    hook.get_conn = partial(with_bits, hook.get_conn())
    of_one_bit, of_eight = zip(*rows_of(hook, "SELECT one, eight FROM bits"), strict=True)
    assert of_one_bit == (True, False, None)
    assert of_eight == (5, 0, None)
    if type(hook) is PyMySqlHook or "mysqlclient" in os.environ["AIRFLOW_CONN_SHOP"]:
        assert [type(bit) for bit in of_one_bit] == [bool, bool, type(None)]


def with_bits(connection: Any) -> Any:
    cursor = connection.cursor()
    cursor.execute("CREATE TEMPORARY TABLE bits (one BIT, eight BIT(8))")
    cursor.execute("INSERT INTO bits VALUES (b'1', b'101'), (b'0', b'0'), (NULL, NULL)")
    cursor.close()
    connection.commit()
    return connection


@pytest.fixture
def archived(mysql_uri: str, orders: str) -> Iterator[None]:
    """A function that writes, of which nothing shows in the text of the query."""
    with closing(connect(mysql_uri)) as database:
        cursor = database.cursor()
        cursor.execute(
            "CREATE FUNCTION archived(n INT) RETURNS INT MODIFIES SQL DATA "
            "BEGIN DELETE FROM orders WHERE id = n; RETURN n; END"
        )
        yield
        cursor.execute("DROP FUNCTION archived")


WRITING = ["DELETE FROM orders WHERE id = 1 RETURNING id", "SELECT archived(1) AS id FROM DUAL"]


@pytest.mark.parametrize("sql", WRITING)
def test_a_query_that_writes_is_refused(hook: Any, archived: None, sql: str) -> None:
    with pytest.raises(QueryWrites, match=r"read_only=False"):
        rows_of(hook, sql)
    assert rows_of(hook, "SELECT COUNT(*) AS n FROM orders") == [(4,)]


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("sql", WRITING)
def test_what_a_query_writes_that_may_is_kept_on_request(
    hook: Any, archived: None, sql: str, is_kept: bool
) -> None:
    with RowStream(hook, Query(sql, read_only=False)) as stream:
        assert list(stream) == [[(1,)]]
    stream.commit() if is_kept else stream.close()
    assert rows_of(hook, "SELECT COUNT(*) AS n FROM orders") == [(3 if is_kept else 4,)]


@pytest.mark.parametrize("charset", ["utf8", "latin1"])
def test_no_character_is_lost_whatever_the_charset_of_the_connection(
    make_hook: MakeHook, charset: str
) -> None:
    sql = "SELECT CONVERT(x'5A6FC3AB20F09F9982' USING utf8mb4) AS name"
    assert rows_of(make_hook(charset=charset), sql) == [("Zoë 🙂",)]


def test_a_text_that_the_driver_cannot_decode_costs_nothing_but_itself(hook: Any) -> None:
    """The server sends it as it is stored, and has no other character set."""
    connection = hook.get_conn()
    connection.set_character_set = connection.set_charset_collation = None
    with closing(connection.cursor()) as cursor:
        cursor.execute("SET character_set_results = NULL")
    hook.get_conn = lambda: connection
    broken = "CASE WHEN id % 2000 = 7 THEN CONVERT(_latin1 x'5A6FEB' USING latin1) ELSE 'Zo' END"
    rows = rows_of(hook, f"SELECT id, {broken} AS name, x'5A6FEB' AS data FROM {numbers(4)} WHERE id <= 5000")
    assert [row[0] for row in rows] == list(range(1, 5001))
    assert [row[0] for row in rows if isinstance(row[1], Unreadable)] == [7, 2007, 4007]
    assert rows[6][1] == Unreadable("column 'name' holds text that is not in UTF-8; mend it in the database")
    assert rows[7] == (8, "Zo", b"Zo\xeb")


def test_rows_are_tuples_even_if_the_connection_asks_for_dictionaries(
    mysql_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"{mysql_uri}?cursor=dictcursor")
    assert rows_of(MySqlHook(mysql_conn_id="shop"), "SELECT 1 AS a, 2 AS b") == [(1, 2)]
