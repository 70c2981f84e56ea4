"""SQLite's values, whose types are those of the single value, to the JSON that Klaviyo would read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from airflow.providers.sqlite.hooks.sqlite import SqliteHook

from airflow_provider_klaviyo.records.values.columns import to_json_values
from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream

pytestmark = pytest.mark.integration

ENCODER = msgspec.json.Encoder(decimal_format="number")


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read expressions as the values of one column."""
    host = str(tmp_path / "shop.db")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": host}))

    def read(*expressions: str) -> list[object]:
        sql = " UNION ALL ".join(f"SELECT {expression} AS a" for expression in expressions)
        with RowStream(SqliteHook(sqlite_conn_id="shop"), Query(sql)) as stream:
            (chunk,) = stream
        return [value for (value,) in chunk]

    return read


def test_a_column_of_any_types_becomes_json(read: Any) -> None:
    values, reasons = to_json_values(
        read(
            "'Zoë 🙂'", "9223372036854775807", "0.5", "NULL", "1 = 1", "datetime('2024-05-01')", "json('[1]')"
        ),
        timezone=ZoneInfo("Europe/Berlin"),
    )
    assert not reasons
    assert json.loads(ENCODER.encode(values)) == [
        "Zoë 🙂",
        9223372036854775807,
        0.5,
        None,
        1,
        "2024-05-01 00:00:00",
        "[1]",
    ]


def test_infinity_and_binary_data_have_a_reason(read: Any) -> None:
    values, reasons = to_json_values(read("9e999", "1.5", "x'6162'"), timezone=ZoneInfo("UTC"))
    assert values == [None, 1.5, None]
    assert "Infinity" in reasons[0]
    assert "encode it as text" in reasons[2]
