"""PostgreSQL by ADBC, whose driver gives up a whole batch for one value: the message says which columns to look at."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.sync.source.query import Query, QueryFailed, UnreadableColumns
from airflow_provider_klaviyo.sync.source.rows import RowStream
from tests.integration.source.contract.sources import SOURCES

pytestmark = pytest.mark.integration


@pytest.fixture
def hook(request: pytest.FixtureRequest) -> Any:
    return next(source for source in SOURCES if source.name == "ADBC to PostgreSQL").hook(request)


def rows(hook: Any, sql: str) -> list[tuple[object, ...]]:
    with RowStream(hook, Query(sql)) as stream:
        return [row for chunk in stream for row in chunk]


@pytest.mark.parametrize("value", ["ROW(1, 'x')", "ROW(1)", "ARRAY[ROW('x'::text)]", "NULL::record"])
def test_rows_without_a_type_are_refused_with_the_column_and_the_remedy(hook: Any, value: str) -> None:
    """Of one number, the driver makes an object whose field is called ``oid``."""
    with pytest.raises(
        UnreadableColumns, match=r"rows without a type of their own, .* as 'c': write to_jsonb"
    ):
        rows(hook, f"SELECT 1 AS a, {value} AS c")
    assert rows(hook, "SELECT to_jsonb(t) AS c FROM (SELECT 1 AS a, 'x' AS b) t") == [({"a": 1, "b": "x"},)]


@pytest.mark.parametrize(
    "value",
    [
        "'[2:3]={1,2}'::int[]",
        "'1 day 2562048:00:00'::interval",
        "'=r/postgres'::aclitem",
        "(SELECT p FROM pg_aggregate p LIMIT 1)",
    ],
)
def test_a_value_that_ends_the_query_has_its_column_named(hook: Any, value: str) -> None:
    with pytest.raises(
        QueryFailed, match=r"cannot read a value of these columns, or of one of them: 'c'\. Cast"
    ):
        rows(hook, f"SELECT 1 AS a, 'secret cell' AS b, {value} AS c")


def test_what_the_database_says_is_not_blamed_on_columns(hook: Any) -> None:
    with pytest.raises(QueryFailed, match="division by zero") as failed:
        rows(hook, "SELECT ARRAY[1 / (n - 3)] AS c FROM generate_series(1, 5) n")
    assert "Cast" not in str(failed.value)
