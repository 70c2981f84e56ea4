"""A backfill of all kinds of syncs, beside the nightly run, by an Airflow parts of which die."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.emulator import Emulator, Settings
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.lock import StateLock
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.storage import Storage
from tests.airflow.gate import GATE, open_gate, waiting_at_gate
from tests.airflow.processes import Processes, connection_to, settings
from tests.databases import new_database

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(900)]

DAYS, AT_ONCE = 14, 4
JOB_SECONDS = 600.0
"""How long Klaviyo takes for an import, as long as nobody sets its clock."""

ELSEWHERE = Holder("shop", "vips", "by hand", -1, 1, "elsewhere", 1)
DAG_FILE = '''
from datetime import UTC, datetime
from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator

with DAG(
    "shop",
    start_date=datetime.fromisoformat({start!r}),
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    catchup=False,
    default_args={{"retries": 0, "sql_conn_id": "shop", "primary_key": "id", "poll_interval": 0.5}},
):
    KlaviyoSyncEventsOperator(
        task_id="visits",
        sql="""
            SELECT id, email, at FROM visits, wait_at_gate()
            WHERE at >= '{{{{ data_interval_start }}}}' AND at < '{{{{ data_interval_end }}}}'
        """,
        metric="Visited",
        mapping={{"profile.email": "email", "time": "at", "properties.Nr": "id"}},
    )
    KlaviyoSyncProfilesOperator(
        task_id="customers",
        sql="SELECT id, email FROM customers WHERE joined_at < '{{{{ data_interval_end }}}}'",
        mapping={{"email": "email", "properties.Nr": "id"}},
        only_changes=True,
        deferrable=True,
    )
    KlaviyoSyncListOperator(
        task_id="vips",
        sql="SELECT id, email FROM customers",
        mode="mirror",
    )
    KlaviyoSyncSubscriptionsOperator(
        task_id="newsletter",
        sql="SELECT id, email FROM customers WHERE joined_at < '{{{{ data_interval_end }}}}'",
        mode="subscribe",
        list_name="Newsletter",
    )
'''

TRIGGERER = ("triggerer", "--skip-serve-logs")


class Ahead(SystemClock):
    """Klaviyo's clock, by which its jobs end."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


@pytest.fixture
def klaviyo(clock: Ahead) -> Iterator[Emulator]:
    with Emulator(Settings(job_seconds=JOB_SECONDS), clock=clock) as emulator:
        emulator.add_list("Newsletter")
        yield emulator


def midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def shop(postgres_server: str) -> Iterator[str]:
    """Somebody joins each day, and two people visit."""
    with new_database(postgres_server) as database:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("CREATE TABLE customers (id int, email text, joined_at timestamptz)")
            connection.execute("CREATE TABLE visits (id int, email text, at timestamptz)")
            for statement in GATE:
                connection.execute(statement)
            for day in range(DAYS + 1):
                at = midnight() - timedelta(days=day + 1) + timedelta(hours=9)
                email = f"p{day}@shop.io"
                connection.execute("INSERT INTO customers VALUES (%s, %s, %s)", (day, email, at))
                for number in (2 * day, 2 * day + 1):
                    connection.execute("INSERT INTO visits VALUES (%s, %s, %s)", (number, email, at))
        yield database


@pytest.fixture
def airflow(shop: str, postgres_server: str, klaviyo: Emulator, tmp_path: Path) -> Iterator[Processes]:
    """An Airflow whose Dag is loaded; nothing of it runs yet."""
    home = tmp_path / "airflow"
    (home / "dags").mkdir(parents=True)
    start = midnight() - timedelta(days=DAYS + 10)
    (home / "dags" / "shop.py").write_text(DAG_FILE.format(start=start.isoformat()))
    with new_database(postgres_server) as metadata:
        connections: dict[str, dict[str, Any]] = {
            "shop": connection_to(shop),
            "klaviyo_default": {"conn_type": "klaviyo", "host": klaviyo.url, "password": klaviyo.api_key},
        }
        environment = settings(home, tmp_path / "storage", metadata, connections) | {
            "AIRFLOW__CORE__PARALLELISM": "7",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        }
        running = Processes(home, metadata, environment)
        try:
            running.run(["db", "migrate"], ["dags", "reserialize"])
            yield running
        finally:
            running.stop()


def in_state(airflow: Processes, task_id: str, state: str) -> int:
    """How many instances of a task are in a state."""
    query = "SELECT count(*) FROM task_instance WHERE task_id = %s AND state = %s"
    ((number,),) = airflow.rows(query, task_id, state)
    return int(number)


def dag_runs(airflow: Processes) -> Counter[tuple[str, str]]:
    """How many Dag runs there are of each kind and state."""
    return Counter(airflow.rows("SELECT run_type, state FROM dag_run"))


def reports(storage: Path, task_id: str) -> dict[str, dict[str, Any]]:
    """The last report of each run of a task, by the run's id."""
    paths = sorted((storage / "shop" / task_id).glob("*.report.json"))
    told = [json.loads(path.read_bytes()) for path in paths]
    return {
        each["task"]["run_id"]: each for each in sorted(told, key=lambda each: each["task"]["try_number"])
    }


def log_of(airflow: Processes, task_id: str) -> str:
    """What all runs of a task have logged."""
    return "".join(path.read_text() for path in (airflow.home / "logs").glob(f"*/*/task_id={task_id}/*.log"))


@contextmanager
def another_run_has(state: Any) -> Iterator[None]:
    """Within, a run on another machine has the state."""
    lock = StateLock(store_of(state), ELSEWHERE, now=SystemClock().now)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def test_all_runs_end_well_however_they_meet_and_whoever_dies(
    airflow: Processes, klaviyo: Emulator, clock: Ahead, shop: str, tmp_path: Path
) -> None:
    """Scheduler and triggerer die when syncs run, are deferred, wait for another run, and for older ones."""
    vips, newsletter = (
        Storage(tmp_path / "storage").state(f"shop.{name}") for name in ("vips", "newsletter")
    )
    first, last = midnight() - timedelta(days=DAYS + 1), midnight() - timedelta(days=2)
    span = ("--from-date", f"{first:%F}", "--to-date", f"{last:%F}")
    airflow.run(["backfill", "create", "--dag-id", "shop", *span, "--max-active-runs", str(AT_ONCE)])
    with another_run_has(vips):
        airflow.start_api_server()
        mortal = [airflow.start("scheduler", "scheduler"), airflow.start("triggerer", *TRIGGERER)]
        airflow.wait_for(
            lambda: (
                waiting_at_gate(shop) > AT_ONCE
                and in_state(airflow, "customers", "deferred")
                and len(list(vips.glob("waiting-*"))) > 1
                and in_state(airflow, "newsletter", "success") == AT_ONCE
                and list(newsletter.glob("waiting-*"))
            ),
            300,
        )
        for process in mortal:  # the tasks live on, as orphans
            os.killpg(process.pid, signal.SIGKILL)
    klaviyo.set(job_seconds=0.2)
    clock.ahead = JOB_SECONDS
    airflow.forget_heartbeats()
    open_gate(shop)
    airflow.start("scheduler", "scheduler")
    airflow.start("triggerer", *TRIGGERER)
    ended = {"success", "failed"}
    airflow.wait_for(lambda: {state for _, state in dag_runs(airflow)} <= ended, 500)

    assert dag_runs(airflow) == {("backfill", "success"): DAYS, ("scheduled", "success"): 1}

    # Each event is there once, whoever has sent it.
    events = list(klaviyo.iter_events())
    assert sorted(each["properties"]["Nr"] for each in events) == list(range(2 * (DAYS + 1)))
    assert {each["properties"]["Nr"] for each in events if not each["backfill"]} == {0, 1}

    # What keeps state goes from the oldest run to the nightly one, which sends but its own day's.
    for task_id in ("customers", "newsletter"):
        told = reports(tmp_path / "storage", task_id)
        in_order = [told[run] for run in sorted(told, key=lambda run: run.partition("__")[2])]
        assert [each["rows_read"] for each in in_order] == list(range(1, DAYS + 2))
        # Who was subscribed a second ago does not show it yet, and is subscribed once more.
        new = [each["accepted"] for each in in_order]
        assert new == [1] * (DAYS + 1) if task_id == "customers" else min(new) >= 1
        assert {each["status"] for each in told.values()} == {"succeeded"}
        assert all(each["pending"] == each["rejected"] == 0 for each in told.values())
    assert len(klaviyo.requests("bulk_import_profiles")) == DAYS + 2, "one more puts people on the list"
    assert "its sync is still to come" in log_of(airflow, "newsletter")

    # Those that met waited, and say whom for; that one run would do is said once in each.
    told = reports(tmp_path / "storage", "vips")
    assert "run by hand" in log_of(airflow, "vips")
    assert all("one run would do" in each["notice"] for run, each in told.items() if "backfill" in run)
    (list_id,) = {each["list_id"] for each in told.values()}
    everybody = {f"p{day}@shop.io" for day in range(DAYS + 1)}
    assert {each["email"] for each in klaviyo.members(list_id)} == everybody
    assert not list((tmp_path / "storage").rglob("*.deferred*"))
    assert not [
        path for path in (tmp_path / "storage").rglob("*") if path.name.startswith(("lock", "waiting-"))
    ]
