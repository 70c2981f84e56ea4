"""The report as others read it: while a run goes on, and when it is over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault, FaultKind
from airflow_provider_klaviyo.sync import report_file
from airflow_provider_klaviyo.sync.refresher import Refresher
from tests.integration.conftest import Shop, Sync
from tests.reports import check_report


@pytest.fixture
def _refreshed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_file, "_POINT_SECONDS", 0.01)
    monkeypatch.setattr(report_file, "_WRITE_SECONDS", 0.0)


def test_it_says_which_run_it_is_of_and_how_it_ended(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(3)
    report = sync(primary_key="id", only_changes=True).report
    assert report["format"] == 1
    assert report["status"] == "succeeded"
    assert report["task"] == {
        "dag_id": "shop_to_klaviyo",
        "task_id": "sync_customers",
        "run_id": "manual__2026-11-24T01:00:00+00:00",
        "map_index": -1,
        "try_number": 1,
    }
    assert report["parameters"]["primary_key"] == ["id"]
    assert report["state"]["rows"] == {"acknowledged": 3}
    assert report["state"]["target"]["account"] == klaviyo.account_id
    assert report["throughput"]["ceiling"] == {"endpoint": "bulk_import_profiles", "rows_a_second": 25_000}
    assert report["throughput"]["points"][-1][1:] == [3, 3, report["requests"]]


def test_it_says_which_column_feeds_which_field(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(1)
    sql = 'SELECT email, tier AS "Tier of ada@shop.io" FROM customers'
    report = sync(sql=sql, mapping=None).report
    assert report["mapping"] == {
        "email": "email",
        "properties.Tier of ***@***": "Tier of ***@***",
    }


def test_reasons_have_the_numbers_of_the_first_rows(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(2)
    shop.fill([(number, "nobody", None, "x", "gold") for number in range(3, 9)])
    run = sync(mapping={"email": "email"}, max_rejected=1)
    (reason,) = run.report["reasons"]
    assert (reason["rows"], reason["examples"]) == (6, [3, 4, 5])
    assert [line["row_number"] for line in run.rejects[:3]] == [3, 4, 5]
    assert run.error
    assert run.report["status"] == "failed"
    assert run.report["failure"].startswith("6 of 8 rows were rejected")
    assert run.report["error"] is None


def test_it_counts_what_was_refused_for_its_pace_and_sent_again(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(1)
    klaviyo.inject(
        Fault(FaultKind.STATUS, operation="bulk_import_profiles", status=429, headers={"Retry-After": "1"})
    )
    traffic = sync().report["traffic"]
    assert (traffic["throttled"], traffic["repeated"]) == (1, 1)
    assert traffic["seconds_to_repeat"] >= 1


CONNECTIONS: dict[str, dict[str, object]] = {
    "no_key": {"conn_type": "klaviyo"},
    "unknown_field": {"conn_type": "klaviyo", "password": "pk_one", "extra": {"acount_id": "AbC123"}},
    "no_database": {"conn_type": "http", "host": "shop.io"},
    "no_redis": {"conn_type": "klaviyo", "password": "pk_one", "extra": {"rate_limit_conn_id": "no_such"}},
}


@pytest.mark.parametrize(
    "parameters",
    [
        {"klaviyo_conn_id": "no_such"},
        {"klaviyo_conn_id": "no_key"},
        {"klaviyo_conn_id": "unknown_field"},
        {"klaviyo_conn_id": "no_redis"},
        {"klaviyo_conn_id": "shop"},
        {"sql_conn_id": "no_such"},
        {"sql_conn_id": "no_database"},
        {"only_changes": True, "primary_key": "id", "klaviyo_conn_id": "no_such"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("klaviyo", "shop")
def test_a_run_that_its_connections_end_has_failed(
    sync: Sync, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, connection in CONNECTIONS.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    run = sync(**parameters)
    assert run.report["status"] == "failed"
    assert run.report["failure"] == run.report["error"] != report_file.UNFINISHED


@pytest.mark.usefixtures("klaviyo", "shop")
def test_a_task_whose_sync_does_not_begin_has_no_report(sync: Sync, tmp_path: Path) -> None:
    run = sync(preview="{{ nobody }}")
    assert "preview" in str(run.error)
    assert not list(tmp_path.rglob("*.report.json"))


@pytest.mark.usefixtures("klaviyo", "shop")
def test_a_state_that_cannot_be_kept_is_told_in_the_report(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.delenv("AIRFLOW__KLAVIYO__STORAGE_PATH", raising=False)
    run = sync(only_changes=True, primary_key="id")
    assert "keeps state" in run.report["failure"]


@pytest.mark.usefixtures("_refreshed_at_once")
def test_it_is_fresh_and_whole_while_the_run_goes_on(
    klaviyo: Emulator, shop: Shop, sync: Sync, tmp_path: Path
) -> None:
    klaviyo.set(job_seconds=0.5)
    shop.fill_with_people(50)
    seen: list[dict[str, Any]] = []

    def read() -> None:
        for path in (tmp_path / "storage").rglob("*.report.json"):
            seen.append(json.loads(path.read_bytes()))  # noqa: PERF401 - one that is torn is to be seen

    reader = Refresher(read, 0.002)
    reader.begin()
    run = sync()
    reader.end()
    assert not run.error
    for report in seen:
        check_report(report)
    running = [report for report in seen if report["status"] == "running"]
    assert any(report["rows_read"] == report["pending"] == 50 for report in running)
    assert all(report["error"] == report_file.UNFINISHED for report in running)
    assert run.report["status"] == "succeeded"
