"""Events by the Dag run: empty intervals are said, and a backfill's events start no flows."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator
from tests.airflow.conftest import FillShop
from tests.airflow.test_deferred_sync import Airflow

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.usefixtures("storage")]

BETWEEN = "WHERE at >= '{{ data_interval_start }}' AND at < '{{ data_interval_end }}'"
SYNC: dict[str, Any] = {
    "sql": f"SELECT id, email, at FROM visits {BETWEEN} ORDER BY id",
    "sql_conn_id": "shop",
    "metric": "Visited",
    "mapping": {"profile.email": "email", "time": "at", "properties.Nr": "id"},
    "primary_key": "id",
    "timeout": 120,
}


@pytest.fixture
def shop(fill_shop: FillShop) -> Path:
    """Ten days of visits, one every six hours, up to now."""
    now = datetime.now(UTC)
    visits = [
        (n, f"p{n % 3}@shop.io", str((now - timedelta(hours=6 * n)).replace(microsecond=0)))
        for n in range(40)
    ]
    return fill_shop("visits (id INTEGER, email TEXT, at TEXT)", visits)


def today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


# --- empty intervals ------------------------------------------------------------------------------------------------


@pytest.fixture
def report_of(
    klaviyo: Emulator,
    shop: Path,
    run_in_airflow: Callable[..., Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Callable[..., dict[str, Any]]:
    """Runs a Dag of the test's own, of one sync, for yesterday; the report of its run."""

    def run(schedule: Any, *, mapped: bool = False, **parameters: Any) -> dict[str, Any]:
        from airflow.sdk import DAG

        with DAG(
            re.sub(r"\W", "_", request.node.name),
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            schedule=schedule,
            template_searchpath=[str(tmp_path)],
        ) as dag:
            settings = SYNC | parameters
            if mapped:
                columns = settings.pop("mapping")
                KlaviyoSyncEventsOperator.partial(task_id="send", **settings).expand(mapping=[columns])
            else:
                KlaviyoSyncEventsOperator(task_id="send", **settings)
        made = run_in_airflow(dag, logical_date=today() - timedelta(days=1))
        assert made.state == "success"
        (told,) = (tmp_path / "storage").glob("**/*.report.json")
        return dict(json.loads(told.read_text()))

    return run


def test_a_cron_string_gives_an_empty_interval_and_the_run_says_so(
    report_of: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    told = report_of("0 0 * * *")
    assert told["rows_read"] == 0
    assert "The query selects nothing: the data interval of this run" in told["notice"]
    assert "CronDataIntervalTimetable" in told["notice"]
    assert "The query selects nothing: the data interval of this run" in caplog.text


def test_a_timetable_with_real_intervals_selects_the_events_of_its_day(
    klaviyo: Emulator, report_of: Callable[..., dict[str, Any]]
) -> None:
    from airflow.timetables.interval import CronDataIntervalTimetable

    told = report_of(CronDataIntervalTimetable("0 0 * * *", timezone="UTC"))
    assert "notice" not in told
    assert told["rows_read"] == told["accepted"] == klaviyo.count_events() == 4


def test_a_query_that_does_not_use_the_interval_needs_none(report_of: Callable[..., dict[str, Any]]) -> None:
    told = report_of(
        "0 0 * * *", sql="SELECT id, email, at FROM visits WHERE at >= '{{ data_interval_start }}'"
    )
    assert "notice" not in told


@pytest.mark.parametrize(
    "parameters",
    [
        {
            "sql": "SELECT id, email, at FROM visits WHERE at >= :start AND at < :end",
            "parameters": {
                "start": "{{ data_interval_start }}",
                "end": "{{ data_interval_end.isoformat() }}",
            },
        },
        {"sql": "visits.sql"},
        {"mapped": True},
    ],
    ids=["by parameters", "in a file", "mapped"],
)
def test_the_interval_is_noticed_wherever_the_query_has_it(
    report_of: Callable[..., dict[str, Any]], tmp_path: Path, parameters: dict[str, Any]
) -> None:
    (tmp_path / "visits.sql").write_text(SYNC["sql"])
    assert "is empty" in report_of("0 0 * * *", **parameters)["notice"]


# --- with a real scheduler ------------------------------------------------------------------------------------------

DAG_FILE = """
from datetime import datetime, timedelta, UTC
from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator

with DAG(
    "visits",
    start_date=datetime.fromisoformat({start!r}),
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    catchup=False,
):
    KlaviyoSyncEventsOperator(task_id="send", retries=0, flow_window={window!r}, **{sync!r})
"""


def runs(home: Path) -> Counter[tuple[str, str]]:
    """How many Dag runs there are of each kind and state."""
    with closing(sqlite3.connect(f"file:{home}/airflow.db?mode=ro", uri=True)) as database:
        return Counter(
            map(tuple, database.execute("SELECT run_type, state FROM dag_run WHERE dag_id = 'visits'"))
        )


@pytest.mark.scheduler
@pytest.mark.timeout(600)
def test_a_backfill_starts_no_flows_and_the_scheduled_run_beside_it_does(
    klaviyo: Emulator, shop: Path, tmp_path: Path
) -> None:
    """All of these events are within the flow window, so that only the kind of the run can tell."""
    home = tmp_path / "airflow"
    (home / "dags").mkdir(parents=True)
    (home / "dags" / "visits.py").write_text(
        DAG_FILE.format(start=(today() - timedelta(days=9)).isoformat(), sync=SYNC, window=30 * 86_400)
    )
    first, last = today() - timedelta(days=6), today() - timedelta(days=4)
    airflow = Airflow(home)
    airflow.environment["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] = "False"
    expected = Counter({("scheduled", "success"): 1, ("backfill", "success"): 3})
    try:
        airflow.run("db", "migrate")
        airflow.run("dags", "reserialize")
        span = ["--from-date", f"{first:%Y-%m-%d}", "--to-date", f"{last:%Y-%m-%d}"]
        airflow.run("backfill", "create", "--dag-id", "visits", *span, "--max-active-runs", "2")
        airflow.start("api-server")
        airflow.start("scheduler")
        ends = time.monotonic() + 200
        while runs(home) != expected and time.monotonic() < ends:
            time.sleep(0.5)
        logs = "\n".join(f"== {log.name}\n{log.read_text()[-1_500:]}" for log in home.glob("*.log"))
        assert runs(home) == expected, logs
    finally:
        airflow.stop()

    history = {event["properties"]["Nr"] for event in klaviyo.iter_events() if event["backfill"]}
    live = {event["properties"]["Nr"] for event in klaviyo.iter_events() if not event["backfill"]}
    with closing(sqlite3.connect(shop)) as database:
        ids = "SELECT id FROM visits WHERE at >= ? AND at < ?"
        days = [(first, last + timedelta(days=1)), (today() - timedelta(days=1), today())]
        in_backfill, yesterday = (
            {n for (n,) in database.execute(ids, (str(start), str(end)))} for start, end in days
        )
    assert len(in_backfill) == 12
    assert history == in_backfill
    assert live == yesterday
    assert klaviyo.count_flow_starts() == len(yesterday) == 4
    reports = [json.loads(path.read_bytes()) for path in (tmp_path / "storage").rglob("*.report.json")]
    because = {
        each["task"]["run_id"].partition("__")[0]: each["parameters"]["backfill_because"] for each in reports
    }
    assert because == {"backfill": "backfill run", "scheduled": "age"}
