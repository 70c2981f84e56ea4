"""PostgreSQL's column types, from the server through Airflow's hook to the JSON that Klaviyo would read."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psycopg
import pytest
from airflow.providers.postgres.hooks.postgres import PostgresHook

from airflow_provider_klaviyo.records.values.columns import to_json_values, to_strings
from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream

pytestmark = pytest.mark.integration

ENCODER = msgspec.json.Encoder(decimal_format="number")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(scope="module", autouse=True)
def mood(postgres_uri: str) -> None:
    """A type that only this database knows."""
    with psycopg.connect(postgres_uri) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('happy', 'sad')")


@pytest.fixture
def read(postgres_uri: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read one expression as a column of two rows, the second of them NULL."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", postgres_uri)

    def read(expression: str) -> list[object]:
        sql = f"SELECT CASE WHEN g = 1 THEN {expression} END AS a FROM generate_series(1, 2) g"
        with RowStream(PostgresHook(postgres_conn_id="shop"), Query(sql)) as stream:
            (chunk,) = stream
        return [value for (value,) in chunk]

    return read


SENT = {
    "text": ("'Zoë 🙂'::text", "Zoë 🙂"),
    "varchar": ("'a'::varchar(5)", "a"),
    "char": ("'a'::char(3)", "a  "),
    "smallint": ("5::smallint", 5),
    "bigint": ("9223372036854775807::bigint", 9223372036854775807),
    "numeric": ("12.50::numeric(10,2)", 12.5),
    "money": ("'1.50'::money::numeric", 1.5),
    "double": ("0.1::double precision", 0.1),
    "real": ("0.5::real", 0.5),
    "boolean": ("true", True),
    "timestamptz": ("'2024-05-01 12:30:00.5+03'::timestamptz", "2024-05-01T09:30:00.500000+00:00"),
    "timestamp": ("'2024-05-01 12:30:00'::timestamp", "2024-05-01T12:30:00+02:00"),
    "date": ("'2024-05-01'::date", "2024-05-01"),
    "time": ("'12:30'::time", "12:30:00"),
    "timetz": ("'12:30+02'::timetz", "12:30:00+02:00"),
    "uuid": ("'00000000-0000-0000-0000-000000000005'::uuid", "00000000-0000-0000-0000-000000000005"),
    "json": ("""'{"a": [1, 2.5, null], "b": {"c": true}}'::json""", {"a": [1, 2.5, None], "b": {"c": True}}),
    "jsonb": ("""'["a", {"b": 1}]'::jsonb""", ["a", {"b": 1}]),
    "array": ("ARRAY['a', NULL, 'b']", ["a", None, "b"]),
    "array of arrays": ("ARRAY[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
    "array of numerics": ("ARRAY[1.5, 2.25]::numeric[]", [1.5, 2.25]),
    "array of timestamps": ("ARRAY['2024-01-01'::timestamp]", ["2024-01-01T00:00:00+01:00"]),
    "row": ("ROW(1, 'a')", ["1", "a"]),
    "inet": ("'10.0.0.1'::inet", "10.0.0.1"),
    "cidr": ("'10.0.0.0/8'::cidr", "10.0.0.0/8"),
    "macaddr": ("'08:00:2b:01:02:03'::macaddr", "08:00:2b:01:02:03"),
    "enum": ("'happy'::mood", "happy"),
    "array of enums": ("ARRAY['happy'::mood]::text[]", ["happy"]),
    "bit": ("B'101'", "101"),
    "xml": ("'<a/>'::xml", "<a/>"),
}


@pytest.mark.parametrize(("expression", "expected"), SENT.values(), ids=SENT)
def test_a_column_becomes_json(read: Any, expression: str, expected: object) -> None:
    values, reasons = to_json_values(read(expression), timezone=BERLIN)
    assert not reasons
    assert json.loads(ENCODER.encode(values)) == [expected, None]


REFUSED = {
    "bytea": ("'\\x6162'::bytea", "encode it as text"),
    "NaN": ("'NaN'::double precision", "NaN"),
    "Infinity": ("'-Infinity'::double precision", "Infinity"),
    "numeric NaN": ("'NaN'::numeric", "NaN"),
    "large numeric": ("1e400::numeric", "cast it to text"),
    "numeric beyond 64 bits": ("9223372036854775808::numeric", "64 bits"),
    "interval": ("'1 month'::interval", "seconds or to text"),
    "range": ("int4range(1, 5)", "type Range"),
    "multirange": ("'{[1,3)}'::int4multirange", "type Multirange"),
    "infinite timestamp": ("'infinity'::timestamptz", "infinity"),
    "timestamps with an infinite one": ("ARRAY['infinity'::timestamp]", "infinity"),
    "date before Christ": ("'0044-03-15 BC'::date", "year before 1"),
    "half a character": ("""'"\\ud800"'::json""", "surrogate"),
}


@pytest.mark.parametrize(("expression", "words"), REFUSED.values(), ids=REFUSED)
def test_a_column_that_json_cannot_hold_has_a_reason(read: Any, expression: str, words: str) -> None:
    values, reasons = to_json_values(read(expression), timezone=BERLIN)
    assert values == [None, None]
    assert list(reasons) == [0]
    assert words in reasons[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("123::bigint", "123"),
        ("12345678901234567890123::numeric", "12345678901234567890123"),
        ("123.00::numeric(10, 2)", "123"),
        ("123::double precision", "123"),
        ("'00123'::text", "00123"),
        ("'00000000-0000-0000-0000-000000000005'::uuid", "00000000-0000-0000-0000-000000000005"),
    ],
)
def test_an_id_column_becomes_text(read: Any, expression: str, expected: str) -> None:
    assert to_strings(read(expression), timezone=BERLIN) == ([expected, None], {})
