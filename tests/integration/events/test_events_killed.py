"""A worker that is killed at any step of an events sync: the retry sends what is missing, and no event counts twice."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.rows import Status
from airflow_provider_klaviyo.state.stores import store_of
from tests.integration.conftest import SQL, Shop, StartEmulator, TaskInstance
from tests.integration.dying import STRIDE, Worker

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

EVENTS, BATCH = 5, 3


def send_once(run_id: str, try_number: int) -> dict[str, Any]:
    """What a worker does, in batches small enough that there are several."""
    from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator
    from airflow_provider_klaviyo.sync.batching import BatchLimits
    from airflow_provider_klaviyo.sync.events.sync_type import EventsSync

    EventsSync.limits = BatchLimits(BATCH, 1_000_000)
    operator = KlaviyoSyncEventsOperator(
        task_id="send_visits",
        sql=SQL,
        sql_conn_id="shop",
        metric="Visited",
        mapping={"profile.email": "email", "properties.Nr": "id"},
        primary_key="id",
        only_changes=True,
        timeout=60,
    )
    ti = TaskInstance("send_visits", try_number=try_number, run_id=run_id)
    return operator.execute({"ti": ti})  # type: ignore[arg-type, typeddict-item, no-any-return]


class World:
    """A shop whose visits were never sent, and a place for state that knows whose account it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.worker = Worker(send_once, folder, AIRFLOW__KLAVIYO__STORAGE_PATH=str(folder / "storage"))

    def run(self, run_id: str, try_number: int, step: int = 0) -> bool:
        """Whether the worker was killed."""
        return self.worker.run(step, run_id=run_id, try_number=try_number)

    def state(self) -> dict[Status, int]:
        """How many keys the state holds, by status."""
        (folder,) = (self.folder / "storage" / "sync-state").iterdir()
        with tempfile.TemporaryDirectory() as scratch:
            ledger = open_ledger(
                store_of(folder), Path(scratch), None, writer="test", now=time.time, is_read_only=True
            )
            counts = {status: count for status, count in ledger.counts().items() if count}
            ledger.close()
        return counts


def visits(klaviyo: Emulator) -> Counter[int]:
    return Counter(event["properties"]["Nr"] for event in klaviyo.iter_events())


def test_killed_at_every_step(start_emulator: StartEmulator, shop: Shop, tmp_path: Path) -> None:
    klaviyo = start_emulator(rate_limits="off", refuses_known_events=True, pointers="one")
    yesterday = tmp_path / "yesterday"
    yesterday.mkdir()
    assert not World(yesterday).run("yesterday", 1)
    shop.fill_with_people(EVENTS)
    step = 0
    while True:
        step += STRIDE
        klaviyo.reset()
        folder = tmp_path / f"killed-{step}"
        shutil.copytree(yesterday, folder)
        world = World(folder)
        was_killed = world.run("today", 1, step)

        assert not world.run("today", 2), "the retry was not to be killed"
        counts = world.worker.counts()
        assert counts.get("accepted", 0) + counts.get("unchanged", 0) == EVENTS, (
            f"killed at step {step}: {counts}"
        )
        assert visits(klaviyo) == Counter(range(1, EVENTS + 1)), f"killed at step {step}"
        assert world.state() == {Status.ACKNOWLEDGED: EVENTS}, f"killed at step {step}"
        if not was_killed:
            break
    assert step > 10
