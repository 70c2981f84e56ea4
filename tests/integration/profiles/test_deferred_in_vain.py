"""A deferred sync that comes back and cannot go on tells of each of its rows all the same."""

from __future__ import annotations

import json
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


@pytest.mark.usefixtures("klaviyo")
@pytest.mark.parametrize("settings", [{}, {"only_changes": True, "primary_key": "id"}])
def test_a_connection_that_has_gone_meanwhile_ends_the_wait(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ti = deferred(**settings)
    monkeypatch.delenv("AIRFLOW_CONN_KLAVIYO_DEFAULT")

    with pytest.raises(Exception, match="klaviyo_default"):
        come_back(ti, **settings)

    run = Run(ti.pushed["return_value"], None)
    assert run.counts() == {"rows_read": PEOPLE, "pending": PEOPLE}
    assert run.report["status"] == "failed"
    assert len(run.rejects) == PEOPLE


@pytest.mark.usefixtures("klaviyo")
def test_what_cannot_be_gone_on_with_ends_the_wait(tmp_path: Path) -> None:
    ti = deferred()
    (note,) = tmp_path.rglob("*.deferred.json")
    note.unlink()

    with pytest.raises(KlaviyoRetryableError, match="left behind when it was deferred") as told:
        come_back(ti)

    (path,) = tmp_path.rglob("*.report.json")
    report = json.loads(path.read_bytes())
    assert (report["status"], report["rows_read"]) == ("failed", PEOPLE)
    assert str(told.value) in report["failure"]


def test_a_run_that_is_over_stays_what_it_was(klaviyo: Emulator, tmp_path: Path) -> None:
    ti = deferred()
    come_back(ti)
    assert klaviyo.count() == PEOPLE

    with pytest.raises(KlaviyoRetryableError, match="left behind when it was deferred"):
        come_back(ti)

    (path,) = tmp_path.rglob("*.report.json")
    assert json.loads(path.read_bytes())["status"] == "succeeded"
