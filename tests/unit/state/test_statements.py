"""Statements for thousands of values."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from airflow_provider_klaviyo.state.statements import insert_texts


@pytest.mark.parametrize("rows", [0, 1, 299, 300, 301, 2_000])
def test_texts_of_any_characters_are_inserted_in_few_statements(rows: int) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT, note TEXT) WITHOUT ROWID")
        people = [(f"P{number:05}", f"a\0'b{number}", None if number % 2 else "ä🂡") for number in range(rows)]
        statements: list[str] = []
        database.set_trace_callback(statements.append)
        insert_texts(database, "INSERT INTO people VALUES {rows} ON CONFLICT DO NOTHING", people)
        assert len([each for each in statements if "INSERT" in each]) == -(-rows // 300)
        assert database.execute("SELECT * FROM people ORDER BY id").fetchall() == people
