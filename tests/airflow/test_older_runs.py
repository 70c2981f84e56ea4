"""A mirror run by Airflow for days that are over."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Settings
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

SYNC: dict[str, Any] = {
    "mode": "mirror",
    "list_name": "VIPs",
    "sql": "SELECT id, email FROM vips WHERE '{{ data_interval_end | ds }}' BETWEEN since AND until",
    "sql_conn_id": "shop",
    "primary_key": "id",
    "allow_older_run": "{{ dag_run.conf.get('older', False) }}",
    "poll_interval": 0.2,
    "timeout": 60,
}


def day(days_ago: int) -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)


@pytest.mark.parametrize("schedule", ["intervals", "moments"])
def test_days_of_three_weeks_ago_turn_nobody_back_unless_the_run_says_so(
    schedule: str,
    run_in_airflow: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.sdk import DAG
    from airflow.timetables.interval import CronDataIntervalTimetable

    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE vips (id INTEGER, email TEXT, since TEXT, until TEXT)")
        stays = [(1, "was@shop.io", 90, 10), (2, "is@shop.io", 10, -10), (3, "always@shop.io", 90, -10)]
        rows = [(key, email, f"{day(since):%F}", f"{day(until):%F}") for key, email, since, until in stays]
        database.executemany("INSERT INTO vips VALUES (?, ?, ?, ?)", rows)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    daily = "0 0 * * *"
    with DAG(
        f"older_runs_{schedule}",
        start_date=day(100),
        schedule=daily if schedule == "moments" else CronDataIntervalTimetable(daily, timezone="UTC"),
    ) as dag:
        KlaviyoSyncListOperator(task_id="sync", **SYNC)
    with Emulator(Settings(job_seconds=0.0)) as klaviyo:
        vips = klaviyo.add_list("VIPs")
        connection = {"conn_type": "klaviyo", "password": klaviyo.api_key, "host": klaviyo.url}
        monkeypatch.setenv("AIRFLOW_CONN_KLAVIYO_DEFAULT", json.dumps(connection))

        def members_after(days_ago: int, **conf: object) -> tuple[str, set[str]]:
            run = run_in_airflow(dag, logical_date=day(days_ago), run_conf=conf)
            return run.state, {each["email"].partition("@")[0] for each in klaviyo.members(vips)}

        assert members_after(1) == ("success", {"is", "always"})
        assert members_after(21) == ("failed", {"is", "always"})
        assert members_after(1) == ("success", {"is", "always"})
        assert members_after(21, older=True) == ("success", {"was", "always"})
        assert members_after(20) == ("success", {"was", "always"})
        assert members_after(1) == ("success", {"is", "always"})


def test_a_state_is_missed_only_where_an_earlier_run_could_have_made_it(
    run_in_airflow: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from airflow.sdk import DAG

    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE people (id INTEGER, email TEXT)")
        database.execute("INSERT INTO people VALUES (1, 'p1@shop.io')")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    with DAG("missed_state", start_date=day(100), schedule="0 0 * * *") as dag:
        KlaviyoSyncProfilesOperator(
            task_id="sync",
            sql="SELECT id, email FROM people",
            sql_conn_id="shop",
            primary_key="id",
            only_changes=True,
        )
    with Emulator(Settings(job_seconds=0.0)) as klaviyo:
        connection = {"conn_type": "klaviyo", "password": klaviyo.api_key, "host": klaviyo.url}
        monkeypatch.setenv("AIRFLOW_CONN_KLAVIYO_DEFAULT", json.dumps(connection))
        warnings = []
        for days_ago in (3, 2, 1):
            caplog.clear()
            if days_ago == 1:
                shutil.rmtree(tmp_path / "storage" / "sync-state")
            assert run_in_airflow(dag, logical_date=day(days_ago)).state == "success"
            warnings.append("There is no state" in caplog.text)
    assert warnings == [False, False, True]
