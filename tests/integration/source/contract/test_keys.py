"""A key is the same text by every driver, so that rows are known again when a connection is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.records.values.key_text import value_text
from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream
from tests.conftest import ROOT
from tests.integration.source.contract.sources import SOURCES, Source

pytestmark = pytest.mark.integration

KEYS = {
    "text": "Zoë 🙂",
    "integer": "9223372036854775807",
    "numeric": "12.5",
    "long numeric": "12345678901.25",
    "double": "0.1",
    "true": "True",
    "date": "2024-05-01",
    "time": "12:30:00",
    "timestamp": "2024-05-01 12:30:00.500000",
    "moment": "2024-05-01T09:30:00.500000+00:00",
    "uuid": "00000000-0000-0000-0000-00000000000a",
}
OTHERWISE = {
    "ODBC to PostgreSQL": {"moment": "2024-05-01 09:30:00.500000"},
    "ODBC to MariaDB": {"time": "12:30:00"},
}
"""What a driver's types do not tell."""


@pytest.mark.parametrize(
    ("source", "name"),
    [
        pytest.param(source, name, id=f"{source.name}: {name}")
        for source in SOURCES
        for name in KEYS
        if name in source.sql and (name not in source.instead or name in OTHERWISE.get(source.name, {}))
    ],
)
def test_a_key_is_the_same_text_by_every_driver(
    source: Source, name: str, request: pytest.FixtureRequest
) -> None:
    with RowStream(source.hook(request), Query(source.query.format(source.sql[name]))) as stream:
        value: Any = next(iter(stream))[0][0]
    assert value_text(value) == OTHERWISE.get(source.name, {}).get(name, KEYS[name])


def test_the_page_about_sources_has_each_of_them() -> None:
    page = (ROOT / Path("docs/sources.md")).read_text()
    named = {part for source in SOURCES for part in source.name.replace(" to ", " ").split()}
    assert [part for part in sorted(named) if part not in page] == []
