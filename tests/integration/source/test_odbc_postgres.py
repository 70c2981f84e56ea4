"""PostgreSQL by ODBC, whose driver says of arrays and JSON that they are text: the server is asked, at no risk."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from airflow_provider_klaviyo.records.values.unsendable import Unreadable
from airflow_provider_klaviyo.sync.source.query import DuplicateColumns, Query, QueryError
from airflow_provider_klaviyo.sync.source.rows import RowStream
from tests.integration.source.contract.sources import SOURCES

pytestmark = pytest.mark.integration


@pytest.fixture
def hook(request: pytest.FixtureRequest) -> Any:
    return next(source for source in SOURCES if source.name == "ODBC to PostgreSQL").hook(request)


def rows(hook: Any, sql: str, **query: Any) -> list[tuple[object, ...]]:
    with RowStream(hook, Query(sql, **query)) as stream:
        return [row for chunk in stream for row in chunk]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT '{\"a\": 1}'::json AS a -- what it holds", {"a": 1}),
        ("WITH w AS (SELECT ARRAY[true, NULL] AS a) SELECT a FROM w", [True, None]),
        ("VALUES (ARRAY['x,\"y\"', ''])", ['x,"y"', ""]),
        ("SELECT '[0:1]={1,2}'::int[] AS a", [1, 2]),
        ("SELECT ARRAY[[1.50, 2], [3, 'NaN']]::text[] AS a", [["1.50", "2"], ["3", "NaN"]]),
        ("SELECT '{a,b}' AS a", "{a,b}"),
        ("SELECT '[\"a\"]'::text AS a", '["a"]'),
        ("SELECT array_agg(n) AS a FROM (SELECT 1 AS n FOR UPDATE) t", [1]),
    ],
)
def test_a_column_is_what_the_server_says(hook: Any, sql: str, expected: object) -> None:
    assert rows(hook, sql) == [(expected,)]


def test_a_long_value_is_whole(hook: Any) -> None:
    sql = (
        "SELECT to_jsonb(array_agg(n)) AS a, array_agg('somebody' || n) AS b FROM generate_series(1, 20000) n"
    )
    ((numbers, texts),) = rows(hook, sql)
    assert numbers == list(range(1, 20001))
    assert isinstance(texts, list)
    assert (len(texts), texts[-1]) == (20000, "somebody20000")


def test_parameters_go_along(hook: Any) -> None:
    assert rows(hook, "SELECT ARRAY[?, 'b'] AS a", parameters=("a",)) == [(["a", "b"],)]


def test_a_statement_that_is_no_part_of_another_is_read_as_it_is(hook: Any) -> None:
    assert rows(hook, "SHOW server_encoding") == [("UTF8",)]


def test_the_query_runs_once(hook: Any, postgres_uri: str) -> None:
    """Not when it is asked for its types."""
    with psycopg.connect(postgres_uri, autocommit=True) as database:
        database.execute("CREATE SEQUENCE times")
    sql = "SELECT ARRAY[nextval('times')] AS a"
    assert rows(hook, sql, read_only=False) == [([1],)]


def test_the_key_of_a_state_of_before_stays_text(hook: Any) -> None:
    assert rows(hook, "SELECT ARRAY[1] AS a, ARRAY[1] AS b", keys_as_before=("A",)) == [("{1}", [1])]


def test_what_is_wrong_with_a_query_is_said_as_ever(hook: Any) -> None:
    with pytest.raises(QueryError, match="emial"):
        rows(hook, "SELECT emial FROM (SELECT 1 AS email) t")


# --- dates and times ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "'infinity'::date",
        "'-infinity'::timestamp",
        "'infinity'::timestamptz",
        "'0044-03-15 BC'::date",
        "'0044-03-15 12:00 BC'::timestamptz",
        "'12026-01-01'::date",
        "'12026-01-01 10:00'::timestamp",
        "'24:00'::time",
    ],
)
def test_what_python_has_no_date_for_is_left_out_and_not_another_date(hook: Any, value: str) -> None:
    """The driver makes today of a date of infinity, and a year of four digits of one of five."""
    ((first, left_out),) = rows(hook, f"SELECT 1 AS a, {value} AS b")
    assert first == 1
    assert isinstance(left_out, Unreadable)
    assert left_out.reason.startswith("column 'b' holds infinity")


def test_dates_and_times_are_what_they_are(hook: Any) -> None:
    sql = (
        'SELECT DATE \'9999-12-31\' AS "the ""day""", TIMESTAMP \'2024-05-01 12:30:00.12\' AS b, '
        "'2024-10-27 00:30+00'::timestamptz AS c, '2024-10-27 01:30+00'::timestamptz AS d, "
        "TIME '12:30' AS e, NULL::date AS f"
    )
    with RowStream(hook, Query(sql, timezone=ZoneInfo("Europe/Berlin"))) as stream:
        assert stream.columns == ('the "day"', "b", "c", "d", "e", "f")
        ((day, timestamp, first, second, time, nothing),) = [row for chunk in stream for row in chunk]
    assert (day, timestamp) == (dt.date(9999, 12, 31), dt.datetime(2024, 5, 1, 12, 30, 0, 120_000))
    assert first == dt.datetime(2024, 10, 27, 0, 30, tzinfo=dt.UTC)
    assert second - first == dt.timedelta(hours=1), "both are half past two in Berlin"
    assert (time, nothing) == (dt.time(12, 30), None)


def test_rows_keep_the_order_of_the_query(hook: Any) -> None:
    sql = "SELECT n, DATE '2024-01-01' + n AS b FROM generate_series(1, 9000) n ORDER BY n % 7, n DESC"
    given = [row[0] for row in rows(hook, sql)]
    assert given == sorted(range(1, 9001), key=lambda n: (n % 7, -n))


def test_two_columns_of_one_name_are_still_refused(hook: Any) -> None:
    with pytest.raises(DuplicateColumns, match="'a'"):
        rows(hook, "SELECT 1 AS a, DATE '2024-01-01' AS a")
