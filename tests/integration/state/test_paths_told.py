"""A message that names a file of ``storage_path`` shows where it is, whatever the folders are called."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.lock import LOCK, StateLock
from airflow_provider_klaviyo.state.remote import listed
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.storage import storage_path
from airflow_provider_klaviyo.sync.storage import Storage
from tests.integration.conftest import MAPPING, SQL, Run, Shop, Sync, TaskInstance
from tests.late import LATE

pytestmark = pytest.mark.integration

LOOKS_LIKE_PEOPLE = "jane.doe@shop.io/+1 (415) 555-2671/Zoë's 100%40"
KEY = "shop_to_klaviyo.sync_customers"


@pytest.fixture(params=["disk", "s3_storage", "s3_without_connection"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """On a disk and in an object store, set as ``storage_path``."""
    place = tmp_path if request.param == "disk" else request.getfixturevalue(request.param)
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", f"{place}/{LOOKS_LIKE_PEOPLE}")
    return f"{place}/{LOOKS_LIKE_PEOPLE}"


@pytest.fixture
def nightly(klaviyo: Emulator, shop: Shop, sync: Sync, folder: str, monkeypatch: pytest.MonkeyPatch) -> Sync:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", folder)
    shop.fill_with_people(3)

    def run(**parameters: Any) -> Run:
        return sync(**({"primary_key": "id", "only_changes": True, "lock_timeout": 0} | parameters))

    return run


def state() -> Any:
    return Storage(storage_path()).state(KEY)


def entries() -> list[Any]:
    return sorted(
        (file for file in listed(state()) if file.name.endswith(".entry")), key=lambda file: file.name
    )


def assert_told(run: Run, path: str) -> None:
    """Airflow shows the error, and callbacks have it from the report."""
    assert path in str(run.error)
    if run.summary:
        report = storage_path() / run.summary["report_path"].removeprefix(f"{storage_path()}/")
        assert path in json.loads(report.read_bytes())["failure"]


def test_the_entry_to_restore_is_named(nightly: Sync, folder: str) -> None:
    for _ in range(2):
        nightly()
    damaged = entries()[-2]  # which the last one builds upon
    damaged.write_bytes(damaged.read_bytes()[:-3])
    assert_told(nightly(), f"The state is damaged: {folder}/sync-state/{state().name}/{damaged.name} ")
    damaged.unlink()
    assert_told(
        nightly(), f"The state is damaged: {folder}/sync-state/{state().name}/{damaged.name} is missing"
    )


def test_an_entry_that_does_not_count_is_named_in_the_log(
    nightly: Sync, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    nightly()
    last = entries()[-1]
    last.write_bytes(last.read_bytes()[:-3])
    assert nightly().error is None
    assert f"{folder}/sync-state/{state().name}/{last.name} was not written to its end" in caplog.text


def test_the_lock_to_delete_is_named(nightly: Sync, folder: str) -> None:
    other = Holder("shop_to_klaviyo", "sync_customers", "monday", -1, 1, "elsewhere", 1)
    lock = StateLock(store_of(state()), other, now=time.time)
    lock.acquire()
    try:
        assert_told(nightly(), f"or when you delete {folder}/sync-state/{state().name}/{LOCK}.")
    finally:
        lock.release()
    (state() / LOCK).write_bytes(b"{")
    assert_told(nightly(), f"its lock {folder}/sync-state/{state().name}/{LOCK} is not whole")


def test_the_rejects_are_named_and_nobody_in_them(
    nightly: Sync, folder: str, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.execute("UPDATE customers SET email = 'nobody.at.all', phone = '0151 23456789' WHERE id = 2")
    with caplog.at_level(logging.INFO):
        ended = nightly(max_rejected=0, on_invalid="reject")
    assert ended.summary["rejected_path"].startswith(f"{folder}/shop_to_klaviyo/sync_customers/")
    assert_told(ended, ended.summary["rejected_path"])
    told = f"{caplog.text}{ended.error}".replace(folder, "")
    assert "nobody.at.all" not in told
    assert "23456789" not in told


def test_what_a_deferred_task_has_lost_is_named(nightly: Sync, folder: str) -> None:
    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

    nightly()
    context: Any = {"ti": TaskInstance("sync_customers", run_id="tuesday")}
    operator = KlaviyoSyncProfilesOperator(
        task_id="sync_customers",
        sql=SQL,
        sql_conn_id="shop",
        mapping=MAPPING,
        primary_key="id",
        only_changes=True,
        **LATE,
    )
    with pytest.raises(Exception, match="cannot be read") as lost:
        operator.execute_complete(context, {})
    note = (
        Storage(storage_path())
        .files(Holder("shop_to_klaviyo", "sync_customers", "tuesday", -1, 1, "", 0))
        .deferred()
    )
    assert str(note).startswith(folder)
    assert f"cannot be read from {note} (" in str(lost.value)
