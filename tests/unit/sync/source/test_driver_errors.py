"""Messages of databases as they are: cells of rows are not shown, names and codes and what to do are."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.sync.source.drivers.errors import sqlstate, words_of_query

JANE = """Jane "JJ" O'Doe"""
QUOTING = {
    "PostgreSQL": 'invalid input syntax for type integer: "{}"',
    "PostgreSQL, enum": 'invalid input value for enum mood: "{}"',
    "PostgreSQL, range": 'value "{}" is out of range for type "int"',
    "PostgreSQL, by JDBC": "ERROR: duplicate key\n  Detail: Key (name)=({}) already exists.",
    "MySQL": "Incorrect integer value: '{}' for column `shop`.`people`.`age` at row 1",
    "MySQL, cast": "Truncated incorrect DOUBLE value: '{}'",
    "MySQL, key": "Duplicate entry '{}' for key 'people.email'",
    "MySQL, XML": "XPATH syntax error: '{}'",
    "MySQL, literal": "You have an error in your SQL syntax; check the manual near ' WHERE n = '{}'' at line 1",
    "Snowflake": "Numeric value '{}' is not recognized",
    "SQL Server": "Conversion failed when converting the varchar value '{}' to data type int.",
    "SQL Server, key": "Cannot insert duplicate key in object 'dbo.p'. The duplicate key value is ({}).",
    "BigQuery": "Bad int64 value: {}",
    "BigQuery, date": "Invalid date: '{}'",
    "Trino": "Cannot cast '{}' to BIGINT",
    "Databricks": '[CAST_INVALID_INPUT] The value \'{}\' of the type "STRING" cannot be cast to "INT".',
    "DuckDB": "Conversion Error: Could not convert string '{}' to INT32 when casting from source column name",
    "DuckDB, literal": "Conversion Error: no\n\nLINE 1: SELECT '{}'::int\n               ^",
    "ClickHouse": "Cannot parse string '{}' as UInt32",
    "SQLite": 'unrecognized token: "{}"',
    "Vertica": 'Could not convert "{}" from column people.name to an int8',
    "Java": 'For input string: "{}"',
}


@pytest.mark.parametrize("message", QUOTING.values(), ids=QUOTING)
@pytest.mark.parametrize("cell", ["Jane Doe", "O'Doe", JANE, "Jane\nDoe", "'Doe'", '"Doe"', "Doe's"])
def test_a_cell_is_not_shown(message: str, cell: str) -> None:
    told = words_of_query(RuntimeError(message.format(cell)))
    assert "Doe" not in told
    assert "Jane" not in told
    assert told.split()[0].strip(":") == message.split()[0].strip(":")


@given(st.sampled_from(sorted(QUOTING)), st.text(st.characters(codec="utf-8"), min_size=1, max_size=12))
def test_no_cell_is_shown_whatever_it_is(database: str, cell: str) -> None:
    message = QUOTING[database].format(f"Doe{cell}Doe")
    assert "Doe" not in words_of_query(RuntimeError(message))


@pytest.mark.parametrize(
    "message",
    [
        'relation "nowhere" does not exist',
        'column p.emial does not exist (Perhaps you meant to reference the column "p.email".)',
        "Unknown column 'emial' in 'field list'",
        "Column 'email' in where clause is ambiguous",
        "Table 'shop.nowhere' doesn't exist",
        "SELECT command denied to user 'me'@'here' for table `shop`.`people`",
        "check the manual for the right syntax to use near 'SELEC 1' at line 1",
        "no such table: nowhere",
        'near "SELEC": syntax error',
        'near "%": syntax error',
        "Invalid column name 'emial'.",
        "SQL compilation error: error line 1 at position 7\ninvalid identifier 'EMIAL'",
        "Object 'SHOP.NOWHERE' does not exist or not authorized.",
        "line 1:8: Column 'emial' cannot be resolved",
        'Binder Error: Referenced column "emial" not found in FROM clause!\nCandidate bindings: "email"',
        "division by zero",
    ],
)
def test_names_are_shown(message: str) -> None:
    assert words_of_query(RuntimeError(message)) == message


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            RuntimeError(1366, "Incorrect value: 'Jane' for column 'a'"),
            "Incorrect value: '***' for column 'a' (error 1366)",
        ),
        (RuntimeError(245, b"Cannot convert 'Jane' to int"), "Cannot convert '***' to int (error 245)"),
        (
            RuntimeError("22018", "[22018] Cannot convert 'Jane'"),
            "[22018] Cannot convert '***' (SQLSTATE 22018)",
        ),
        (RuntimeError("42S22", "Odd word 'emial'"), "Odd word 'emial' (SQLSTATE 42S22)"),
        (RuntimeError("42000", "Odd word 'Jane'"), "Odd word '***' (SQLSTATE 42000)"),
        (
            RuntimeError({"C": "22P02", "M": "Invalid digit, Value 'J'"}),
            "Invalid digit, Value '***' (SQLSTATE 22P02)",
        ),
        (sqlite3.OperationalError("malformed JSON"), "malformed JSON"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_the_code_is_shown(error: Exception, told: str) -> None:
    assert words_of_query(error) == told


def test_a_message_that_a_driver_keeps_beside_its_words_is_read() -> None:
    class TrinoError(Exception):
        message = "Column 'emial' cannot be resolved: 'Jane'"

    told = words_of_query(TrinoError('TrinoUserError(name=COLUMN_NOT_FOUND, message="…")'))
    assert told == "Column 'emial' cannot be resolved: '***'"


@pytest.mark.parametrize("args", [(), ("words",), (7, "words"), ("words", "more"), ({},)])
def test_what_is_no_state_is_none(args: Any) -> None:
    assert sqlstate(RuntimeError(*args)) == ""


WITH_STATE = [
    (
        "22P02",
        'invalid input syntax for type integer: "zoe @ x"',
        'invalid input syntax for type integer: "***"',
    ),
    (
        "22P02",
        'invalid input syntax for type uuid: "4155552671"',
        'invalid input syntax for type uuid: "***"',
    ),
    (
        "22007",
        'invalid input syntax for type date: "17.05.1990"',
        'invalid input syntax for type date: "***"',
    ),
    (
        "22008",
        'date/time field value out of range: "99.05.1990"',
        'date/time field value out of range: "***"',
    ),
    (
        "22003",
        'value "4155552671" is out of range for type integer',
        'value "***" is out of range for type integer',
    ),
    (
        "23505",
        "duplicate key\nDETAIL:  Key (email)=(zoe@x.com) already exists.",
        "duplicate key\nDETAIL:  Key (email)=(***)",
    ),
    (
        "23505",
        "duplicate key\nDETAIL:  Key (name)=(Zoë\uff20x) already exists.",
        "duplicate key\nDETAIL:  Key (name)=(***)",
    ),
    ("42703", 'column "emial" does not exist\nLINE 1: SELECT emial FROM people\n               ^', None),
    ("42P01", 'relation "peple" does not exist\nLINE 12: FROM peple\n              ^', None),
    ("42883", "function lower(integer) does not exist", None),
    ("57014", "canceling statement due to statement timeout at 2026-11-29 14:03:22.123+00", None),
    ("08006", 'connection to server at "10.0.0.5", port 5432 failed: timeout expired', None),
    ("28P01", 'password authentication failed for user "etl"', None),
    ("53300", "remaining connection slots are reserved (192.168.100.200:5432)", None),
]


@pytest.mark.parametrize(("state", "message", "told"), WITH_STATE)
def test_people_are_hidden_and_names_places_times_and_codes_are_not(
    state: str, message: str, told: str | None
) -> None:
    shown = words_of_query(RuntimeError(state, message))
    assert shown.startswith(message if told is None else told)
    assert shown.endswith(f" (SQLSTATE {state})")
