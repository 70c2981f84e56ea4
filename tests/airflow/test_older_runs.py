"""A mirror run by Airflow for days that are over."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from tests.airflow.conftest import FillShop

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
    fill_shop: FillShop,
    storage: Path,
    klaviyo: Emulator,
) -> None:
    from airflow.sdk import DAG
    from airflow.timetables.interval import CronDataIntervalTimetable

    stays = [(1, "was@shop.io", 90, 10), (2, "is@shop.io", 10, -10), (3, "always@shop.io", 90, -10)]
    rows = [(key, email, f"{day(since):%F}", f"{day(until):%F}") for key, email, since, until in stays]
    fill_shop("vips (id INTEGER, email TEXT, since TEXT, until TEXT)", rows)
    daily = "0 0 * * *"
    with DAG(
        f"older_runs_{schedule}",
        start_date=day(100),
        schedule=daily if schedule == "moments" else CronDataIntervalTimetable(daily, timezone="UTC"),
    ) as dag:
        KlaviyoSyncListOperator(task_id="sync", **SYNC)
    vips = klaviyo.add_list("VIPs")

    def members_after(days_ago: int, **conf: object) -> tuple[str, set[str]]:
        run = run_in_airflow(dag, logical_date=day(days_ago), run_conf=conf)
        return run.state, {each["email"].partition("@")[0] for each in klaviyo.members(vips)}

    assert members_after(1) == ("success", {"is", "always"})
    assert members_after(21) == ("failed", {"is", "always"})
    assert members_after(1) == ("success", {"is", "always"})
    assert members_after(21, older=True) == ("success", {"was", "always"})
    assert members_after(20) == ("success", {"was", "always"})
    assert members_after(1) == ("success", {"is", "always"})


def test_an_older_run_that_is_still_to_come_goes_first_as_long_as_there_is_patience(
    run_in_airflow: Callable[..., Any],
    fill_shop: FillShop,
    storage: Path,
    klaviyo: Emulator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The nightly run starts while a backfill of an earlier day is queued."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import DAG
    from airflow.utils.session import create_session
    from sqlalchemy import update

    fill_shop("people (id INTEGER, email TEXT, joined TEXT)", [(1, "p1@shop.io", "2026-01-01")])
    with DAG("older_first", start_date=day(100), schedule="0 0 * * *") as dag:
        KlaviyoSyncProfilesOperator(
            task_id="sync",
            sql="SELECT id, email FROM people WHERE joined < '{{ data_interval_end }}'",
            sql_conn_id="shop",
            primary_key="id",
            only_changes=True,
            poll_interval=0.2,
            lock_timeout=3,
            defer_after=0,
        )
    older = run_in_airflow(dag, logical_date=day(3))
    with create_session() as session:
        one = (DagRun.dag_id == dag.dag_id, DagRun.run_id == older.run_id)
        session.execute(update(DagRun).where(*one).values(state="queued", run_type="backfill"))
        ti = update(TaskInstance).where(
            TaskInstance.run_id == older.run_id, TaskInstance.dag_id == dag.dag_id
        )
        session.execute(ti.values(state=None))
    assert run_in_airflow(dag, logical_date=day(1)).state == "success"
    assert f"its sync is still to come: {older.run_id}" in caplog.text
    assert "waits for its turn, without a worker" in caplog.text


def test_a_state_is_missed_only_where_an_earlier_run_could_have_made_it(
    run_in_airflow: Callable[..., Any],
    fill_shop: FillShop,
    storage: Path,
    klaviyo: Emulator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from airflow.sdk import DAG

    fill_shop("people (id INTEGER, email TEXT)", [(1, "p1@shop.io")])
    with DAG("missed_state", start_date=day(100), schedule="0 0 * * *") as dag:
        KlaviyoSyncProfilesOperator(
            task_id="sync",
            sql="SELECT id, email FROM people",
            sql_conn_id="shop",
            primary_key="id",
            only_changes=True,
        )
    warnings = []
    for days_ago in (3, 2, 1):
        caplog.clear()
        if days_ago == 1:
            shutil.rmtree(storage / "sync-state")
        assert run_in_airflow(dag, logical_date=day(days_ago)).state == "success"
        warnings.append("Every row counts as new, and nobody as gone" in caplog.text)
    assert warnings == [False, False, True]
