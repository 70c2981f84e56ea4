"""PostgreSQL whose database or connection is in an encoding of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from airflow.providers.postgres.hooks.postgres import PostgresHook

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.records.values.unsendable import Unreadable
from airflow_provider_klaviyo.sync.source.query import Query, UnknownEncoding
from airflow_provider_klaviyo.sync.source.rows import RowStream
from tests.integration.conftest import Sync

pytestmark = pytest.mark.integration

NAMES = """
SELECT g AS id, CASE g WHEN 1 THEN 'Zo' || E'\\xc3\\xab' WHEN 2 THEN 'Zo' || E'\\xeb' ELSE 'Ann' END AS name
FROM generate_series(1, 3) g ORDER BY g
"""
TOLD = "column {!r} holds text that is not in UTF-8; mend it in the database"


@pytest.fixture(scope="module")
def ascii_uri(postgres_uri: str) -> Iterator[str]:
    """A database that does not know the encoding of its text."""
    server, _, name = postgres_uri.rpartition("/")
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name}_ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        yield f"{server}/{name}_ascii"
        connection.execute(f"DROP DATABASE {name}_ascii WITH (FORCE)")


class Psycopg2Hook:
    """The older driver, which Airflow's hook takes with SQLAlchemy 1.4."""

    strip_sql_string = staticmethod(PostgresHook.strip_sql_string)

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def get_conn(self) -> Any:
        psycopg2 = pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
        return psycopg2.connect(self.uri)


Read = Callable[..., list[Any]]


@pytest.fixture(params=["psycopg", "psycopg2"])
def read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read rows through a connection to this database, in this encoding."""

    def read(uri: str, encoding: str, sql: str, parameters: Any = None) -> list[Any]:
        uri += f"?client_encoding={encoding}" if encoding else ""
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", uri)
        hook = Psycopg2Hook(uri) if request.param == "psycopg2" else PostgresHook(postgres_conn_id="shop")
        with RowStream(hook, Query(sql, parameters)) as stream:
            return [dict(zip(stream.columns, row, strict=True)) for chunk in stream for row in chunk]

    return read


def test_a_database_that_does_not_know_its_encoding_is_told_before_the_first_row(
    read: Read, ascii_uri: str
) -> None:
    with pytest.raises(UnknownEncoding, match=r'SQL_ASCII.*\{"client_encoding": "UTF8"\}'):
        read(ascii_uri, "", "SELECT 1 AS a")


def test_a_text_in_another_encoding_costs_nothing_but_itself(read: Read, ascii_uri: str) -> None:
    names = [row["name"] for row in read(ascii_uri, "UTF8", NAMES)]
    assert names == ["Zoë", Unreadable(TOLD.format("name")), "Ann"]


def test_the_connection_says_how_text_is_read(read: Read, ascii_uri: str) -> None:
    assert [row["name"] for row in read(ascii_uri, "LATIN1", NAMES)] == ["ZoÃ«", "Zoë", "Ann"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("'Zoë'", "Zoë"),
        ("ARRAY['Zoë', NULL]", ["Zoë", None]),
        (r"""'{"a": ["Zoë", "\u00eb"]}'::json""", {"a": ["Zoë", "ë"]}),
        ("""'{"a": "Zoë"}'::jsonb""", {"a": "Zoë"}),
        ("""ARRAY['["Zoë"]'::json]""", [["Zoë"]]),
        ("12", 12),
        ("date '2024-05-01' - date '2024-04-30'", 1),
        ("NULL::text", None),
        ("ARRAY['Zoë', 'Zo' || E'\\xeb']", Unreadable(TOLD.format("größe"))),
        ("json_build_object('a', 'Zo' || E'\\xeb')", Unreadable(TOLD.format("größe"))),
    ],
)
def test_values_arrive_as_they_were_meant(read: Read, ascii_uri: str, value: str, expected: object) -> None:
    assert read(ascii_uri, "UTF8", f'SELECT {value} AS "größe"') == [{"größe": expected}]


@pytest.mark.parametrize("parameters", [{"name": "Zoë", "no": 1}, None])
def test_the_query_is_read_by_the_database_as_it_was_meant(
    read: Read, ascii_uri: str, parameters: dict[str, object] | None
) -> None:
    name = "%(name)s::text" if parameters else "'Zoë'"
    assert read(ascii_uri, "UTF8", f"SELECT {name} = U&'Zo' || E'\\xc3\\xab' AS a", parameters) == [
        {"a": True}
    ]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "WIN1252", "UTF8"])
def test_a_database_that_knows_its_encoding_gives_all_its_text(
    read: Read, postgres_uri: str, encoding: str
) -> None:
    """The euro is not in LATIN1, and the heart in none but UTF-8: the server would end the query there."""
    assert read(postgres_uri, encoding, "SELECT U&'\\20ac \\2665 ë' AS a") == [{"a": "€ ♥ ë"}]


def test_nothing_is_sent_from_a_database_that_does_not_know_its_encoding(
    klaviyo: Emulator, sync: Sync, ascii_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(ascii_uri)
    connection = {
        "conn_type": "postgres",
        "host": parts.hostname,
        "port": parts.port,
        "login": parts.username,
        "schema": parts.path.strip("/"),
    }
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))
    sql = f"SELECT 'p' || id || '@shop.io' AS email, name AS first_name FROM ({NAMES}) names"
    run = sync(sql=sql, mapping=None)
    assert type(run.error).__name__ == "AirflowFailException"
    assert "SQL_ASCII" in str(run.error)
    assert run.counts() == {}
    assert klaviyo.requests() == []

    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({**connection, "extra": {"client_encoding": "UTF8"}}))
    run = sync(sql=sql, mapping=None)
    assert run.counts() == {"rows_read": 3, "accepted": 3}
    assert [(line["outcome"], line["reason"]) for line in run.rejects] == [
        ("warning", TOLD.format("first_name"))
    ]
