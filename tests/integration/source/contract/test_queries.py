"""Every source in one suite: what holds of a query, whatever its values are."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.sync.source.query import (
    NoResultSet,
    Query,
    QueryFailed,
    QueryWrites,
    SeveralStatements,
)
from airflow_provider_klaviyo.sync.source.rows import RowStream
from tests.integration.source.contract.sources import SOURCES, DriverHook, Source, needed

pytestmark = pytest.mark.integration

EVERY = [pytest.param(source, id=source.name) for source in SOURCES]
BY_SQL = [pytest.param(source, id=source.name) for source in SOURCES if not source.rows.startswith("rows")]
"""Without the stubs, which know their queries by heart."""


@pytest.mark.parametrize("source", EVERY)
def test_rows_come_in_full_chunks_as_soon_as_they_prove_narrow(
    source: Source, request: pytest.FixtureRequest
) -> None:
    with RowStream(source.hook(request), Query(source.rows)) as stream:
        assert [name.lower() for name in stream.columns] == ["a"]
        chunks = list(stream)
    assert [len(chunk) for chunk in chunks] == [50, 400, 2000, 2000, 50]
    assert {type(row) for chunk in chunks for row in chunk} == {tuple}
    assert [row[0] for chunk in chunks for row in chunk] == list(range(1, 4501))


@pytest.mark.parametrize("source", EVERY)
def test_an_empty_result_has_columns(source: Source, request: pytest.FixtureRequest) -> None:
    sql = "empty" if source.rows.startswith("rows") else f"SELECT * FROM ({source.rows}) q WHERE 1 = 0"
    with RowStream(source.hook(request), Query(sql)) as stream:
        assert [name.lower() for name in stream.columns] == ["a"]
        assert list(stream) == []


@pytest.mark.parametrize("source", BY_SQL)
def test_a_query_that_fails_names_what_is_wrong(source: Source, request: pytest.FixtureRequest) -> None:
    with (
        pytest.raises(QueryFailed, match=r"before its first row: .*(?i:nowhere)"),
        RowStream(source.hook(request), Query("SELECT 1 AS a FROM nowhere")),
    ):
        pass


@pytest.mark.parametrize("source", BY_SQL)
def test_a_statement_that_writes_is_refused(source: Source, request: pytest.FixtureRequest) -> None:
    with pytest.raises(QueryWrites), RowStream(source.hook(request), Query("CREATE TABLE made (a INTEGER)")):
        pass


@pytest.mark.parametrize("source", BY_SQL)
def test_a_connection_is_let_go_of_in_the_midst_of_the_rows(
    source: Source, request: pytest.FixtureRequest
) -> None:
    with RowStream(source.hook(request), Query(source.rows)) as stream:
        assert len(next(iter(stream))) == 50


# --- DuckDB, which keeps what is written outside of a transaction -------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    duckdb = needed("duckdb", "dependency group sources")
    path = tmp_path / "shop.duckdb"
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute("CREATE TABLE people (a INTEGER)")
    return path


def people(file: Path) -> list[Any]:
    with closing(needed("duckdb", "").connect(str(file))) as connection:
        return [row[0] for row in connection.execute("SELECT a FROM people").fetchall()]


def hook_of(file: Path) -> DriverHook:
    return DriverHook(lambda: needed("duckdb", "").connect(str(file)))


INSERT = "INSERT INTO people VALUES (1) RETURNING a"


def test_duckdb_undoes_what_a_query_writes_unless_it_may(file: Path) -> None:
    with RowStream(hook_of(file), Query(INSERT, read_only=False)) as stream:
        assert list(stream) == [[(1,)]]
    stream.close()
    assert people(file) == []


def test_duckdb_keeps_what_a_query_writes_when_it_is_told_so(file: Path) -> None:
    with RowStream(hook_of(file), Query(INSERT, read_only=False)) as stream:
        assert list(stream) == [[(1,)]]
    stream.commit()
    assert people(file) == [1]


def test_duckdb_is_asked_to_only_read(file: Path) -> None:
    with pytest.raises(QueryWrites), RowStream(hook_of(file), Query(INSERT)) as stream:
        list(stream)
    assert people(file) == []


@pytest.mark.parametrize("name", ["DuckDB", "ODBC to PostgreSQL"])
def test_several_statements_are_refused_where_the_driver_would_run_them(
    name: str, request: pytest.FixtureRequest
) -> None:
    source = next(each for each in SOURCES if each.name == name)
    with (
        pytest.raises(SeveralStatements),
        RowStream(source.hook(request), Query("SELECT 1 AS a; SELECT 2 AS a")),
    ):
        pass


# --- drivers that lose rows ---------------------------------------------------------------------------------------


def test_druid_is_not_trusted_to_hand_out_every_row(request: pytest.FixtureRequest) -> None:
    source = next(each for each in SOURCES if each.name == "Druid")
    with RowStream(source.hook(request), Query("rows")) as stream:
        assert "backslash" in stream.distrust


def test_pinot_returns_ten_rows_where_nothing_is_said(request: pytest.FixtureRequest) -> None:
    source = next(each for each in SOURCES if each.name == "Pinot")
    with RowStream(source.hook(request), Query("rows")) as stream:
        assert "no LIMIT" in stream.distrust
        assert sum(map(len, stream)) == 10


@pytest.mark.parametrize("source", [each for each in EVERY if each.id not in ("Druid", "Pinot")])
def test_other_sources_are_trusted(source: Source, request: pytest.FixtureRequest) -> None:
    with RowStream(source.hook(request), Query(source.rows)) as stream:
        assert not stream.distrust


# --- drivers that hold the whole result ---------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "is_told"), [("ODBC to MariaDB", True), ("mysqlclient", False)])
def test_a_large_result_that_is_held_in_memory_is_told_of(
    name: str, is_told: bool, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    source = next(each for each in SOURCES if each.name == name)
    with RowStream(source.hook(request), Query("SELECT seq AS a FROM seq_1_to_200000")) as stream:
        assert sum(map(len, stream)) == 200_000
    assert ("holds the whole result" in caplog.text) is is_told


# --- JDBC ---------------------------------------------------------------------------------------------------------


def test_a_statement_without_result_is_told_from_a_query(request: pytest.FixtureRequest) -> None:
    source = next(each for each in SOURCES if each.name == "JDBC to HSQLDB")
    with pytest.raises(NoResultSet), RowStream(source.hook(request), Query("SET SCHEMA PUBLIC")):
        pass


def test_an_error_of_java_has_its_sqlstate(request: pytest.FixtureRequest) -> None:
    source = next(each for each in SOURCES if each.name == "JDBC to PostgreSQL")
    with (
        pytest.raises(QueryFailed, match=r'(?s)relation "nowhere" does not exist.*SQLSTATE 42P01'),
        RowStream(source.hook(request), Query("SELECT 1 AS a FROM nowhere")),
    ):
        pass


def test_parameters_reach_java(request: pytest.FixtureRequest) -> None:
    source = next(each for each in SOURCES if each.name == "JDBC to PostgreSQL")
    with RowStream(source.hook(request), Query("SELECT ? || 'b' AS a", ["a"])) as stream:
        assert list(stream) == [[("ab",)]]
