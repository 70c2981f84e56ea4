"""Whole syncs, with their state, reports and rejects in each store that keeps state."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.cli.program import main
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.state.errors import StateConflict
from airflow_provider_klaviyo.storage import remote_path
from tests.integration.conftest import (
    MAPPING,
    SQL,
    Run,
    Shop,
    StartEmulator,
    Sync,
    TaskInstance,
    Warehouse,
    emails,
)
from tests.integration.dying import Worker
from tests.integration.state.alive import alive
from tests.integration.state.storages import attach_again, attached

pytestmark = pytest.mark.integration

IMPORT = "bulk_import_profiles"
KEY = "shop_to_klaviyo.sync_customers"


@pytest.fixture
def nightly(sync: Sync, a_storage: str) -> Sync:
    def run(**parameters: Any) -> Run:
        return sync(**({"primary_key": "id", "only_changes": True} | parameters))

    return run


def command(*words: str) -> int:
    return main(["state", *words], lambda question: pytest.fail("it was not to ask"))


def test_only_changes_are_sent_and_a_preview_leaves_the_state_alone(
    klaviyo: Emulator, shop: Shop, nightly: Sync, a_storage: str
) -> None:
    shop.fill_with_people(20)
    first = nightly()
    assert first.error is None
    assert first.counts() == {"rows_read": 20, "accepted": 20}
    assert first.summary["report_path"].startswith(a_storage)
    assert nightly().counts() == {"rows_read": 20, "unchanged": 20}
    shop.execute("UPDATE customers SET tier = 'silver' WHERE id = 3")
    preview = nightly(preview=True)
    assert preview.counts() == {"rows_read": 20, "accepted": 1, "unchanged": 19}
    folder = remote_path(preview.summary["report_path"]).parent
    (request,) = (file for file in folder.iterdir() if ".preview-" in file.name)
    assert b"silver" in request.read_bytes()
    assert nightly().counts() == {"rows_read": 20, "accepted": 1, "unchanged": 19}
    assert nightly(full_refresh=True).counts() == {"rows_read": 20, "accepted": 20}


def test_a_second_run_stops_while_the_first_is_alive(
    start_emulator: StartEmulator, shop: Shop, nightly: Sync
) -> None:
    klaviyo = start_emulator(job_seconds=3.0)
    shop.fill_with_people(3)
    with alive(klaviyo, nightly) as runs:
        second = nightly(run_id="tuesday", lock_timeout=0)
    assert "Another run of this sync is under way" in str(second.error)
    assert runs[0].counts() == {"rows_read": 3, "accepted": 3}
    assert nightly(run_id="tuesday").counts() == {"rows_read": 3, "unchanged": 3}


def test_of_two_tries_alive_the_later_one_goes_on_and_the_state_stays_whole(
    start_emulator: StartEmulator, shop: Shop, nightly: Sync
) -> None:
    klaviyo = start_emulator(job_seconds=8.0)
    shop.fill_with_people(3)
    with alive(klaviyo, nightly) as runs:
        later = nightly(run_id="monday", try_number=2)
    assert later.error is None
    assert later.counts() == {"rows_read": 3, "accepted": 3}, "it waited for the job of the first"
    assert len(klaviyo.requests(IMPORT)) == 1
    assert isinstance(runs[0].error, StateConflict)
    assert runs[0].counts() == {"rows_read": 3, "pending": 3}
    assert command("show", KEY) == 0
    assert nightly(run_id="tuesday").counts() == {"rows_read": 3, "unchanged": 3}


def sync_once(try_number: int) -> dict[str, Any]:
    """What a worker does, in a process of its own."""
    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

    attach_again()
    operator = KlaviyoSyncProfilesOperator(
        task_id="sync_customers",
        sql=SQL,
        sql_conn_id="shop",
        mapping=MAPPING,
        primary_key="id",
        only_changes=True,
        poll_interval=0.2,
        timeout=60,
    )
    ti = TaskInstance("sync_customers", try_number=try_number)
    return operator.execute({"ti": ti})  # type: ignore[arg-type, typeddict-item, no-any-return]


@pytest.mark.slow
@pytest.mark.usefixtures("a_storage")
def test_a_killed_worker_is_followed_by_its_retry(klaviyo: Emulator, shop: Shop, tmp_path: Path) -> None:
    shop.fill_with_people(5)
    worker = Worker(sync_once, tmp_path, **attached())
    steps = (5, 9)
    kills = [worker.run(step, try_number=number) for number, step in enumerate(steps, start=1)]
    assert any(kills)
    assert not worker.run(try_number=len(steps) + 1)
    assert len(klaviyo.profiles()) == 5
    assert not worker.run(try_number=len(steps) + 2)
    assert worker.counts() == {"rows_read": 5, "unchanged": 5}


def test_the_commands_reach_it(
    klaviyo: Emulator, shop: Shop, nightly: Sync, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.fill_with_people(3)
    shop.execute("UPDATE customers SET email = 'nobody' WHERE id = 1")
    rejected = nightly(max_rejected=1.0).summary["rejected_path"]
    (line,) = remote_path(rejected).read_bytes().splitlines()
    assert json.loads(line)["row"]["email"] == "nobody"
    assert command("list") == 0
    assert command("show", KEY) == 0
    assert command("forget", "--external-id", "1", "--yes") == 0
    assert command("forget", "--email", "p2@shop.io", "--yes") == 0
    told = capsys.readouterr().out
    for part in (KEY, "3 rows_read", "1 line deleted"):
        assert part in told
    assert remote_path(rejected).read_bytes() == b""
    assert command("reset", KEY, "--yes") == 0
    assert command("list") == 0
    assert "No sync keeps state" in capsys.readouterr().out


def test_a_mirror_takes_off_only_whom_it_added(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, a_storage: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    first = list_sync("mirror", create_list=True)
    assert first.error is None
    warehouse.hold("ada@shop.io")
    second = list_sync("mirror")
    assert second.summary["removed"] == 1
    assert emails(klaviyo, second.summary["list_id"]) == {"ada@shop.io"}
    assert second.summary["report_path"].startswith(a_storage)


def test_what_is_older_than_its_days_is_deleted_and_nothing_else(
    klaviyo: Emulator, shop: Shop, nightly: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.fill_with_people(1)
    folder = remote_path(nightly(run_id="monday").summary["report_path"]).parent

    def kept() -> int:
        return sum(".report." in file.name for file in folder.iterdir())

    nightly(run_id="tuesday")
    assert kept() == 2
    monkeypatch.setenv("AIRFLOW__KLAVIYO__KEEP_DAYS", "-1")
    nightly(run_id="wednesday")
    assert kept() == 1
    assert nightly(run_id="thursday").counts() == {"rows_read": 1, "unchanged": 1}


def test_a_server_that_writes_over_what_is_there_is_refused_before_the_first_row(
    klaviyo: Emulator, shop: Shop, sync: Sync, careless_storage: str
) -> None:
    shop.fill_with_people(2)
    refused = sync(primary_key="id", only_changes=True)
    assert f"No state can be kept in {careless_storage}" in str(refused.error)
    assert "[klaviyo] storage_path" in str(refused.error)
    assert klaviyo.requests(IMPORT) == []
    without_state: Callable[[], Run] = sync
    assert without_state().counts() == {"rows_read": 2, "accepted": 2}


def test_nor_does_a_list_come_into_being_by_way_of_it(
    klaviyo: Emulator,
    warehouse: Warehouse,
    list_sync: Sync,
    careless_storage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two tasks could each create it."""
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", careless_storage)
    warehouse.hold("ada@shop.io")
    refused = list_sync("add", create_list=True)
    assert f"take turns in {careless_storage}" in str(refused.error)
    assert klaviyo.requests("create_list") == []
