"""Every source in one suite: for each value of the table, the same arrives in Klaviyo."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream
from tests.integration.source.contract.sources import SOURCES, Source
from tests.integration.source.contract.values import ARRIVES, ZONE, Refused, arrived

pytestmark = pytest.mark.integration

CASES = [pytest.param(source, name, id=f"{source.name}: {name}") for source in SOURCES for name in source.sql]


def read(hook: Any, sql: str) -> list[object]:
    """The first column of a query."""
    with RowStream(hook, Query(sql, timezone=ZONE)) as stream:
        return [row[0] for chunk in stream for row in chunk]


@pytest.mark.parametrize(("source", "name"), CASES)
def test_a_value_arrives_as_it_was_meant(source: Source, name: str, request: pytest.FixtureRequest) -> None:
    expected = source.instead.get(name, ARRIVES[name])
    values = read(source.hook(request), source.query.format(source.sql[name]))
    value, null = arrived(values)
    assert null in (None, [])
    if isinstance(expected, Refused):
        assert isinstance(value, Refused)
        assert expected.words in value.words
    else:
        assert value == expected
        assert type(value) is type(expected)
