"""MySQL's and MariaDB's column types, through both drivers of Airflow's hook, to the JSON that Klaviyo would read."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from airflow_provider_klaviyo.records.values.columns import to_json_values, to_strings
from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream

_REASON = "the MySQL driver is not installed (apt-get install libmariadb-dev pkg-config build-essential)"
MySqlHook: Any = pytest.importorskip(
    "airflow.providers.mysql.hooks.mysql", reason=_REASON, exc_type=ImportError
).MySqlHook

pytestmark = pytest.mark.integration

ENCODER = msgspec.json.Encoder(decimal_format="number")
BERLIN = ZoneInfo("Europe/Berlin")
TABLE = """
CREATE TEMPORARY TABLE things (
    text_ VARCHAR(20) CHARACTER SET utf8mb4, big BIGINT, unsigned_big BIGINT UNSIGNED, decimal_ DECIMAL(10, 2),
    wide DECIMAL(30, 0), double_ DOUBLE, float_ FLOAT, boolean_ BOOLEAN, timestamp_ TIMESTAMP(6) NULL,
    datetime_ DATETIME, zero DATETIME, date_ DATE, year_ YEAR, time_ TIME, json_ JSON, enum_ ENUM('happy', 'sad'),
    set_ SET('a', 'b', 'c'), blob_ BLOB, bits BIT(3)
)
"""
ROW = """
INSERT INTO things VALUES (
    'Zoë 🙂', 9223372036854775807, 18446744073709551615, 12.50, 123456789012345678901, 0.1, 0.5, TRUE,
    '2024-05-01 12:30:00.5', '2024-05-01 12:30:00', '0000-00-00 00:00:00', '2024-05-01', 2024, '12:30:00',
    '{"a": [1, null]}', 'happy', 'c,a', 'ab', b'101'
)
"""


class ThingsHook(MySqlHook):
    """Finds the table in its session."""

    def get_conn(self) -> Any:
        connection = super().get_conn()
        cursor = connection.cursor()
        for statement in ("SET sql_mode = ''", TABLE, ROW, "INSERT INTO things () VALUES ()"):
            cursor.execute(statement)
        cursor.close()
        connection.commit()
        return connection


@pytest.fixture(params=["mysqlclient", "mysql-connector-python"])
def read(request: pytest.FixtureRequest, mysql_uri: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read one column of two rows, the second of them NULL."""
    if request.param == "mysql-connector-python":
        pytest.importorskip("mysql.connector", reason="mysql-connector-python is not installed")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"{mysql_uri}?client={request.param}&charset=utf8mb4")

    def read(column: str) -> list[object]:
        with RowStream(
            ThingsHook(mysql_conn_id="shop"), Query(f"SELECT {column} AS a FROM things")
        ) as stream:
            (chunk,) = stream
        return [value for (value,) in chunk]

    return read


SENT = {
    "text_": "Zoë 🙂",
    "big": 9223372036854775807,
    "decimal_": 12.5,
    "double_": 0.1,
    "float_": 0.5,
    "boolean_": 1,
    "timestamp_": "2024-05-01T12:30:00.500000+00:00",
    "datetime_": "2024-05-01T12:30:00+02:00",
    "zero": None,
    "date_": "2024-05-01",
    "year_": 2024,
    "enum_": "happy",
    "bits": 5,
}


@pytest.mark.parametrize(("column", "expected"), SENT.items(), ids=SENT)
def test_a_column_becomes_json(read: Any, column: str, expected: object) -> None:
    values, reasons = to_json_values(read(column), timezone=BERLIN)
    assert not reasons
    assert json.loads(ENCODER.encode(values)) == [expected, None]


def test_json_is_text_or_an_object(read: Any) -> None:
    """MariaDB's JSON is text, and mysqlclient leaves MySQL's as text, too."""
    (value, _), reasons = to_json_values(read("json_"), timezone=BERLIN)
    assert not reasons
    assert value in ('{"a": [1, null]}', {"a": [1, None]})


def test_a_set_is_text_or_a_sorted_list(read: Any) -> None:
    (value, _), reasons = to_json_values(read("set_"), timezone=BERLIN)
    assert not reasons
    assert value in ("a,c", ["a", "c"])


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("unsigned_big", "64 bits"),
        ("wide", "64 bits"),
        ("time_", "seconds or to text"),
        ("blob_", "encode it as text"),
    ],
)
def test_a_column_that_json_cannot_hold_has_a_reason(read: Any, column: str, words: str) -> None:
    values, reasons = to_json_values(read(column), timezone=BERLIN)
    assert values == [None, None]
    assert list(reasons) == [0]
    assert words in reasons[0]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("big", "9223372036854775807"),
        ("unsigned_big", "18446744073709551615"),
        ("wide", "123456789012345678901"),
    ],
)
def test_an_id_column_becomes_text(read: Any, column: str, expected: str) -> None:
    assert to_strings(read(column), timezone=BERLIN) == ([expected, None], {})
