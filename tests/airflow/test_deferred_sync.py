"""A sync that leaves the waiting to the triggerer, and any worker that settles it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.triggers.jobs import KlaviyoImportJobTrigger
from tests.airflow.conftest import FillShop

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.usefixtures("storage")]

PEOPLE = 40
SYNC: dict[str, Any] = {
    "sql": "SELECT id, email, tier FROM customers ORDER BY id",
    "sql_conn_id": "shop",
    "mapping": {"external_id": "id", "email": "email", "properties.Tier": "tier"},
    "primary_key": "id",
    "poll_interval": 0.5,
    "timeout": 120,
    "max_rejected": 1.0,
    "deferrable": True,
    "defer_after": 0,
}


@pytest.fixture
def job_seconds() -> float:
    return 1.5


@pytest.fixture
def shop(fill_shop: FillShop) -> Path:
    people = [(n, f"p{n}@shop.io", "gold") for n in range(1, PEOPLE)]
    people.append((PEOPLE, "not an address", "gold"))
    return fill_shop("customers (id INTEGER, email TEXT, tier TEXT)", people)


@pytest.fixture
def sync(run_in_airflow: Callable[[Any], Any]) -> Callable[..., Any]:
    """Runs a Dag of one sync; its task instance."""

    def run(**parameters: Any) -> Any:
        from airflow.sdk import DAG

        with DAG("deferred", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
            KlaviyoSyncProfilesOperator(task_id="sync", **(SYNC | parameters))
        (ti,) = run_in_airflow(dag).get_task_instances()
        return ti

    return run


@pytest.mark.parametrize("more", [{}, {"only_changes": True}], ids=["stateless", "stateful"])
def test_what_comes_back_accounts_for_every_row(
    klaviyo: Emulator, shop: Path, sync: Callable[..., Any], tmp_path: Path, more: dict[str, Any]
) -> None:
    klaviyo.inject(Fault("job_fails", match="p5@shop.io"))

    ti = sync(**more)

    assert ti.state == "success"
    summary = ti.xcom_pull(task_ids="sync")
    assert {name: summary[name] for name in ("rows_read", "accepted", "rejected", "pending", "warnings")} == {
        "rows_read": PEOPLE,
        "accepted": PEOPLE - 1,
        "rejected": 1,
        "pending": 0,
        "warnings": 1,
    }
    lines = [json.loads(line) for line in Path(summary["rejected_path"]).read_text().splitlines()]
    assert sorted((line["key"], line["outcome"]) for line in lines) == [(5, "rejected"), (PEOPLE, "warning")]
    assert next(line for line in lines if line["key"] == 5)["row"]["email"] == "p5@shop.io"
    report = json.loads(Path(summary["report_path"]).read_text())
    assert report["open_jobs"] == []
    assert not list(tmp_path.rglob("*.deferred*")), "rows were left behind"


@pytest.mark.parametrize("more", [{}, {"only_changes": True}], ids=["stateless", "stateful"])
def test_a_field_that_an_import_error_names_costs_the_field_on_whatever_worker(
    klaviyo: Emulator, shop: Path, sync: Callable[..., Any], more: dict[str, Any]
) -> None:
    klaviyo.inject(Fault("job_fails", match="p5@shop.io", field="properties/Tier"))
    summary = sync(**more).xcom_pull(task_ids="sync")
    assert (summary["accepted"], summary["rejected"], summary["warnings"]) == (PEOPLE, 0, 2)
    person = klaviyo.profile(email="p5@shop.io")
    assert person is not None
    assert (person["external_id"], "properties" in person) == ("5", False)


def test_the_next_run_knows_what_was_settled_after_the_deferral(
    klaviyo: Emulator, shop: Path, sync: Callable[..., Any]
) -> None:
    sync(only_changes=True)
    again = sync(only_changes=True).xcom_pull(task_ids="sync")
    assert (again["unchanged"], again["accepted"]) == (PEOPLE, 0)


def test_a_cancelled_job_fails_the_task_when_it_comes_back(
    klaviyo: Emulator, shop: Path, sync: Callable[..., Any]
) -> None:
    klaviyo.inject(Fault("job_cancelled"))
    ti = sync()
    assert ti.state == "failed"
    assert ti.xcom_pull(task_ids="sync")["pending"] == PEOPLE


def test_jobs_that_are_done_soon_are_waited_for_on_the_worker(
    klaviyo: Emulator, shop: Path, sync: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    ti = sync(defer_after=60)
    assert (ti.state, ti.xcom_pull(task_ids="sync")["pending"]) == ("success", 0)
    assert "left to the triggerer" not in caplog.text


def test_nothing_is_deferred_when_nothing_was_sent(
    klaviyo: Emulator, shop: Path, sync: Callable[..., Any]
) -> None:
    ti = sync(sql="SELECT id, email, tier FROM customers WHERE 1 = 0")
    assert ti.state == "success"
    assert klaviyo.requests("bulk_import_profiles") == []


def test_the_trigger_ends_when_the_syncs_time_is_up(klaviyo: Emulator) -> None:
    """Also beside a server that takes its time, and without keeping others waiting."""
    klaviyo.set(job_seconds=3_600.0)
    klaviyo.inject(Fault("slow", seconds=1.0, count=None))
    trigger = KlaviyoImportJobTrigger(["no-such-job"], "klaviyo_default", 0.1, timeout=0.5)
    path, arguments = trigger.serialize()
    assert path.endswith("KlaviyoImportJobTrigger")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def both() -> list[Any]:
        ticking = asyncio.create_task(tick())
        events = [event async for event in KlaviyoImportJobTrigger(**arguments).run()]
        ticking.cancel()
        return events

    (event,) = asyncio.run(both())
    assert event.payload is not None
    assert ticks > 30


# --- with a real scheduler and triggerer ----------------------------------------------------------------------

DAG_FILE = """
from datetime import UTC, datetime
from airflow.sdk import DAG
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

with DAG("nightly", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None):
    KlaviyoSyncProfilesOperator(task_id="sync", retries=0, max_active_tis_per_dag=1, only_changes=True, **{sync!r})
"""


class Airflow:
    """An Airflow of its own: API server, scheduler and Dag processor; triggerers come and go."""

    def __init__(self, home: Path) -> None:
        self.home = home
        port = 20_000 + os.getpid() % 10_000
        self.environment = os.environ | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of this test and nobody else, long enough",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *command],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{command[0]}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes.append(process)
        if command[0] == "api-server":
            self._wait_for_port(int(self.environment["AIRFLOW__API__PORT"]))
        return process

    def _wait_for_port(self, port: int) -> None:
        """A task that starts before the API server listens has failed."""
        ends = time.monotonic() + 120
        while time.monotonic() < ends:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.5)
        pytest.fail("the API server does not listen")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in reversed(self._processes):
            self.kill(process)

    def state(self) -> str:
        with closing(sqlite3.connect(f"file:{self.home}/airflow.db?mode=ro", uri=True)) as database:
            row = database.execute("SELECT state FROM task_instance WHERE dag_id = 'nightly'").fetchone()
        return row[0] if row and row[0] else "none"

    def wait(self, states: set[str], seconds: float) -> str:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if (state := self.state()) in states:
                return state
            time.sleep(0.5)
        logs = "\n".join(f"== {log.name}\n{log.read_text()[-1_500:]}" for log in self.home.glob("*.log"))
        pytest.fail(f"the task is {self.state()}, not one of {states}\n{logs}")


@pytest.mark.scheduler
@pytest.mark.timeout(600)
def test_a_real_scheduler_and_a_triggerer_that_is_killed(
    klaviyo: Emulator, shop: Path, tmp_path: Path
) -> None:
    klaviyo.set(job_seconds=15.0)
    klaviyo.inject(Fault("job_fails", match="p5@shop.io"))
    home = tmp_path / "airflow"
    (home / "dags").mkdir(parents=True)
    (home / "dags" / "nightly.py").write_text(DAG_FILE.format(sync=SYNC))
    airflow = Airflow(home)
    try:
        airflow.run("db", "migrate")
        airflow.run("dags", "reserialize")
        airflow.run("dags", "unpause", "nightly")
        airflow.run("dags", "trigger", "nightly")
        airflow.start("api-server")
        airflow.start("scheduler")
        first = airflow.start("triggerer", "--skip-serve-logs")
        airflow.wait({"deferred"}, 90)
        airflow.kill(first)
        airflow.start("triggerer", "--skip-serve-logs")
        assert airflow.wait({"success", "failed"}, 120) == "success"
    finally:
        airflow.stop()

    (report,) = (tmp_path / "storage" / "nightly" / "sync").glob("*.report.json")
    told = json.loads(report.read_text())
    assert (told["rows_read"], told["accepted"], told["rejected"], told["pending"]) == (
        PEOPLE,
        PEOPLE - 1,
        1,
        0,
    )
    assert len(klaviyo.requests("bulk_import_profiles")) == 1
    assert len(list((tmp_path / "storage" / "sync-state").iterdir())) == 1
