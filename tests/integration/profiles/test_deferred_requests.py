"""Summary and report of a deferred sync tell of both its parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_klaviyo.emulator import Emulator, Fault, FaultKind
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from tests.integration.conftest import MAPPING, SQL, Shop, TaskInstance

pytestmark = pytest.mark.integration


def test_every_request_counts(
    klaviyo: Emulator, shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", f"{tmp_path}/storage")
    shop.fill_with_people(5)
    operator = KlaviyoSyncProfilesOperator(
        task_id="sync", sql=SQL, sql_conn_id="shop", mapping=MAPPING, deferrable=True, defer_after=0
    )
    ti = TaskInstance("sync")
    with pytest.raises(TaskDeferred):
        operator.execute({"ti": ti})  # type: ignore[typeddict-item]
    before = len(klaviyo.requests())
    assert before

    summary = operator.execute_complete({"ti": ti}, {})  # type: ignore[typeddict-item]

    assert summary["requests"] == len(klaviyo.requests()) > before


def test_the_report_waits_and_goes_on_with_what_it_said(
    klaviyo: Emulator, shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", f"{tmp_path}/storage")
    shop.fill_with_people(5)
    shop.fill([(6, "nobody", None, "x", "gold")])
    mapping = {"email": "email"}
    operator = KlaviyoSyncProfilesOperator(
        task_id="sync",
        sql=SQL,
        sql_conn_id="shop",
        mapping=mapping,
        deferrable=True,
        defer_after=0,
        max_rejected=1,
    )
    klaviyo.inject(
        Fault(FaultKind.STATUS, operation="bulk_import_profiles", status=429, headers={"Retry-After": "1"})
    )
    ti = TaskInstance("sync")
    with pytest.raises(TaskDeferred):
        operator.execute({"ti": ti})  # type: ignore[typeddict-item]
    (path,) = (tmp_path / "storage").rglob("*.report.json")
    waiting = json.loads(path.read_text())
    assert (waiting["status"], waiting["failure"]) == ("waiting", None)
    assert len(waiting["open_jobs"]) == 1

    operator.execute_complete({"ti": ti}, {})  # type: ignore[typeddict-item]

    report = json.loads(path.read_text())
    assert (report["status"], report["accepted"]) == ("succeeded", 5)
    assert report["traffic"]["throttled"] == waiting["traffic"]["throttled"] == 1
    assert report["reasons"] == waiting["reasons"]
    assert report["reasons"][0]["examples"] == [6]
    points, before = report["throughput"]["points"], waiting["throughput"]["points"]
    assert points[: len(before) - 1] == before[:-1]
    assert points[-1][1:3] == [6, 6]
