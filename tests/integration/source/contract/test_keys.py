"""A key is the same text by every driver, so that rows are known again when a connection is changed."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.records.values.key_text import value_text
from airflow_provider_klaviyo.state import target
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.owner import Task
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.environment import Environment
from airflow_provider_klaviyo.sync.options import SyncOptions
from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync
from airflow_provider_klaviyo.sync.run import SyncRun
from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.task_run import TaskRun
from tests.conftest import ROOT
from tests.integration.conftest import counts_of
from tests.integration.program import Access
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


BEFORE = {
    "ODBC to PostgreSQL": {"uuid": "00000000-0000-0000-0000-00000000000A", "true": "1", "false": "0"},
    "ADBC to PostgreSQL": {"numeric": "12.50", "long numeric": "12345678901.250000000"},
    "BigQuery": {
        "numeric": "12.500000000",
        "moment": "1714555800.5",
        "timestamp": "2024-05-01T12:30:00.500000",
        "binary": "YWI=",
    },
}
"""What the drivers themselves make of keys, and states of before know their rows by."""


@pytest.mark.parametrize(
    ("name", "value"), [pytest.param(source, name) for source, values in BEFORE.items() for name in values]
)
def test_a_state_of_before_finds_the_keys_that_it_knows(
    name: str, value: str, request: pytest.FixtureRequest
) -> None:
    source = next(each for each in SOURCES if each.name == name)
    query = Query(source.query.format(source.sql[value]), keys_as_before=["A"])
    with RowStream(source.hook(request), query) as stream:
        rows: Any = next(iter(stream))
    assert value_text(rows[0][0]) == BEFORE[name][value]
    assert rows[1][0] is None


@pytest.mark.parametrize("value", ["integer", "numeric", "true", "date", "timestamp", "moment"])
def test_a_state_of_before_finds_the_keys_that_jaydebeapi_made(
    value: str, request: pytest.FixtureRequest
) -> None:
    source = next(each for each in SOURCES if each.name == "JDBC to PostgreSQL")
    hook, sql = source.hook(request), source.query.format(source.sql[value])
    with closing(hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(sql)
        before = value_text(cursor.fetchone()[0])
    with RowStream(hook, Query(sql, keys_as_before=["A"])) as stream:
        rows: Any = next(iter(stream))
    assert value_text(rows[0][0]) == before


ORDERS = "SELECT {} AS id, 'ann@shop.io' AS email"
UUID_ = "'00000000-0000-0000-0000-00000000000a'::uuid"


def run(klaviyo: Emulator, folder: Path, hook: Any, sql: str) -> dict[str, Any]:
    environment = Environment(
        run=TaskRun(Task("shop", "sync"), f"run {time.time()}", due=time.time()),
        storage=Storage(folder),
        klaviyo=Access(klaviyo.url, klaviyo.api_key),
        open_source=lambda: RowStream(hook, Query(sql)),
    )
    options = SyncOptions(primary_key=("id",), only_changes=True, poll_interval=0.2, timeout=60)
    sync_type = ProfilesSync({"email": "email"}, ProfileOptions(max_bytes=100_000))
    ended = SyncRun(sync_type, options, environment)
    ended.execute()
    assert ended.summary
    return counts_of(ended.summary)


def age(folder: Path, scratch: Path) -> None:
    """Make a state of before of the only one."""
    (state,) = (path.parent for path in folder.rglob("00000001.entry"))
    scratch.mkdir()
    ledger = open_ledger(store_of(state), scratch, None, writer="a test", now=time.time)
    ledger.become({name: value for name, value in ledger.target.items() if name != target.KEYS})
    ledger.close()


@pytest.mark.parametrize("is_old", [True, False])
def test_rows_of_an_old_state_stay_known_and_new_states_are_alike(
    is_old: bool, klaviyo: Emulator, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """ODBC gives a UUID in capitals; a state that knows rows by these goes on with them."""
    psycopg, odbc = (
        next(each for each in SOURCES if each.name == name) for name in ("psycopg", "ODBC to PostgreSQL")
    )
    id_before = f"upper({UUID_}::text)" if is_old else UUID_
    first = run(klaviyo, tmp_path / "kept", psycopg.hook(request), ORDERS.format(id_before))
    assert first == {"rows_read": 1, "accepted": 1}
    if is_old:
        age(tmp_path / "kept", tmp_path / "scratch")
    again = run(klaviyo, tmp_path / "kept", odbc.hook(request), ORDERS.format(UUID_))
    assert again == {"rows_read": 1, "unchanged": 1}


def test_the_page_about_sources_has_each_of_them() -> None:
    page = (ROOT / Path("docs/sources.md")).read_text()
    named = {part for source in SOURCES for part in source.name.replace(" to ", " ").split()}
    assert [part for part in sorted(named) if part not in page] == []
