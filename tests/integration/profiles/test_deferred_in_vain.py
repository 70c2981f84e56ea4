"""A deferred sync that comes back and cannot go on tells of each of its rows all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from tests.integration.conftest import MAPPING, SQL, Run, Shop, TaskInstance

pytestmark = pytest.mark.integration

PEOPLE = 5
SYNC: dict[str, Any] = {
    "task_id": "sync",
    "sql": SQL,
    "sql_conn_id": "shop",
    "mapping": MAPPING,
    "deferrable": True,
    "defer_after": 0,
}


@pytest.fixture(autouse=True)
def five_people(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", f"{tmp_path}/storage")
    shop.fill_with_people(PEOPLE)


def deferred(**settings: Any) -> TaskInstance:
    """The task instance of a sync that has left its jobs to the triggerer."""
    ti = TaskInstance("sync")
    with pytest.raises(TaskDeferred):
        KlaviyoSyncProfilesOperator(**SYNC, **settings).execute({"ti": ti})  # type: ignore[typeddict-item]
    return ti


def come_back(ti: TaskInstance, **settings: Any) -> None:
    KlaviyoSyncProfilesOperator(**SYNC, **settings).execute_complete({"ti": ti}, {})  # type: ignore[typeddict-item]


def test_a_sync_that_comes_back_as_another_has_a_line_for_every_row(klaviyo: Emulator) -> None:
    ti = deferred(only_changes=True, primary_key="id")

    with pytest.raises(AirflowFailException, match="key columns") as told:
        come_back(ti, only_changes=True, primary_key="email")
    assert "Nothing was sent" not in str(told.value)
    assert "What was sent before the task was deferred has no verdict yet." in str(told.value)

    assert klaviyo.count() == PEOPLE
    run = Run(ti.pushed["return_value"], None)
    assert run.counts() == {"rows_read": PEOPLE, "pending": PEOPLE}
    assert sorted(line["row_number"] for line in run.rejects) == list(range(1, PEOPLE + 1))
    assert all("had no result yet" in line["reason"] for line in run.rejects)


@pytest.mark.usefixtures("klaviyo")
def test_rows_that_cannot_be_read_any_more_are_told_of_in_the_report(tmp_path: Path) -> None:
    ti = deferred()
    (rows,) = tmp_path.rglob("*.deferred-0.json")
    rows.write_text("[[")

    with pytest.raises(KlaviyoRetryableError, match="left behind when it was deferred"):
        come_back(ti)

    run = Run(ti.pushed["return_value"], None)
    assert run.counts() == {"rows_read": PEOPLE, "pending": PEOPLE}
    assert "left behind when it was deferred" in run.report["error"]
