"""A sync whose state another run has: it waits for its turn, and holds no worker meanwhile."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo._compat import AirflowRescheduleException
from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.waiting import Wait
from airflow_provider_klaviyo.state.errors import StateLocked
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.lock import StateLock
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.storage import Storage
from tests.airflow.conftest import FillShop

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.usefixtures("klaviyo")]


@pytest.fixture
def lock(storage: Path) -> StateLock:
    """The lock of the sync's state, for a run on another host."""
    holder = Holder("nightly", "sync", "by hand", -1, 1, "elsewhere", os.getpid())
    folder = Storage(storage).state("customers")
    return StateLock(store_of(folder), holder, now=SystemClock().now)


@pytest.fixture
def sync(run_in_airflow: Callable[[Any], Any], fill_shop: FillShop) -> Callable[..., Any]:
    """Runs a Dag of one sync that keeps state; its task instance."""
    fill_shop("customers (id INTEGER, email TEXT)", [(1, "p1@shop.io")])

    def run(**parameters: Any) -> Any:
        from airflow.sdk import DAG

        with DAG("turns", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
            KlaviyoSyncProfilesOperator(
                task_id="sync",
                sql="SELECT id, email FROM customers",
                sql_conn_id="shop",
                primary_key="id",
                only_changes=True,
                state_key="customers",
                poll_interval=0.2,
                **{"defer_after": 0, **parameters},
            )
        (ti,) = run_in_airflow(dag).get_task_instances()
        return ti

    return run


def test_a_run_waits_until_the_state_is_free(
    klaviyo: Emulator,
    lock: StateLock,
    storage: Path,
    sync: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    lock.acquire()
    ended = threading.Event()
    told: list[dict[str, Any]] = []

    def release_when_it_waits() -> None:
        while not ended.is_set() and not [each for each in told if each["status"] == "waiting"]:
            ended.wait(0.05)
            told.extend(json.loads(path.read_bytes()) for path in storage.rglob("*.report.json"))
        lock.release()

    releasing = threading.Thread(target=release_when_it_waits)
    releasing.start()
    try:
        ti = sync()
    finally:
        ended.set()
        releasing.join()
    assert (ti.state, ti.try_number) == ("success", 1)
    assert "run by hand" in told[-1]["notice"]
    assert (told[-1]["error"], told[-1]["failure"]) == (None, None)
    assert "run by hand" in caplog.text
    assert caplog.text.count("The profiles sync read") == 1
    (report,) = storage.rglob("*.report.json")
    assert "notice" not in json.loads(report.read_bytes())
    assert "waits for its turn, without a worker" in caplog.text
    assert klaviyo.profile(email="p1@shop.io")


def test_its_patience_ends(
    lock: StateLock, sync: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    lock.acquire()
    try:
        assert sync(lock_timeout=2).state == "failed"
    finally:
        lock.release()
    assert "gives up in" in caplog.text
    with pytest.raises(StateLocked, match=r"This run has waited \d+ s for it \(lock_timeout\)"):
        waited_too_long().go_on(StateLocked("Another run has it."))


def waited_too_long() -> Wait:
    class Task:
        def get_first_reschedule_date(self, context: Any) -> datetime:
            return datetime.now(UTC) - timedelta(seconds=30)

    context: Any = {"ti": Task(), "task_reschedule_count": 3}
    return Wait(context, SystemClock(), lock_timeout=20, pause=60, soonest=15)


@pytest.mark.parametrize("limits", [{"lock_timeout": 3600, "pause": 1}, {"lock_timeout": 0.5, "pause": 60}])
def test_no_task_starts_anew_so_soon_that_airflow_fails_it(limits: dict[str, float]) -> None:
    context: Any = {"ti": None}
    with pytest.raises(AirflowRescheduleException) as again:
        Wait(context, SystemClock(), soonest=15, **limits).go_on(StateLocked("Another run has it."))
    assert again.value.reschedule_date.timestamp() > SystemClock().now() + 10


def test_no_patience_fails_at_once(
    lock: StateLock, sync: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    lock.acquire()
    try:
        assert sync(lock_timeout=0).state == "failed"
    finally:
        lock.release()
    assert "waits for its turn" not in caplog.text
