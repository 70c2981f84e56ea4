"""A worker killed (SIGKILL) at any step of a mirror: the retry ends with the members of an undisturbed run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.integration.conftest import LIST_SYNC, StartEmulator, TaskInstance, Warehouse, emails
from tests.integration.dying import STRIDE, Worker
from tests.integration.lists.by_hand import change

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

WRITES = ("bulk_import_profiles", "remove_profiles_from_list", "create_list")
YESTERDAY = [f"p{n}@shop.io" for n in range(1, 7)]
TODAY: list[dict[str, object] | str] = [
    {"key": "p3", "email": "moved@shop.io"},
    *(f"p{n}@shop.io" for n in range(4, 7)),
    "new@shop.io",
    "refused@shop.io",
]


def mirror_once(run_id: str, try_number: int, more: dict[str, Any]) -> dict[str, Any]:
    """What a worker does, in batches small enough that there are several."""
    from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
    from airflow_provider_klaviyo.sync.batching import BatchLimits
    from airflow_provider_klaviyo.sync.lists.mirror import MirrorList

    MirrorList.limits = BatchLimits(2, 1_000_000)
    operator = KlaviyoSyncListOperator(task_id="sync_list", mode="mirror", **(LIST_SYNC | more))
    ti = TaskInstance("sync_list", try_number=try_number, run_id=run_id)
    return operator.execute({"ti": ti})  # type: ignore[arg-type, typeddict-item, no-any-return]


class World:
    """A list that mirrored yesterday's query, and a query that has changed since."""

    def __init__(self, warehouse: Warehouse, klaviyo: Emulator, folder: Path, more: dict[str, Any]) -> None:
        self.warehouse, self.klaviyo, self.folder, self.more = warehouse, klaviyo, folder, more
        self.storage = Path(os.environ["AIRFLOW__KLAVIYO__STORAGE_PATH"])
        self.worker = Worker(mirror_once, folder)

    def prepare(self) -> None:
        self.klaviyo.reset()
        yesterday = self.folder / "yesterday"
        by_hand = ["hand@shop.io"]
        known = YESTERDAY if yesterday.exists() else []
        people = [{"email": each} for each in (*by_hand, *known)]
        self.list_id = self.klaviyo.add_list("VIPs", self.klaviyo.add_profiles(people))
        if yesterday.exists():
            shutil.copytree(yesterday, self.storage, dirs_exist_ok=True)
        else:
            self.warehouse.hold(*YESTERDAY)
            assert not self.run("yesterday", 1)
            shutil.copytree(self.storage, yesterday)
        self.warehouse.hold(*TODAY)
        self.klaviyo.inject(Fault("job_fails", match="refused@shop.io"))

    def run(self, run_id: str, try_number: int, step: int = 0) -> bool:
        return self.worker.run(step, run_id=run_id, try_number=try_number, more=self.more)

    def members(self) -> set[str]:
        return emails(self.klaviyo, self.list_id)

    def writes(self) -> int:
        return sum(len(self.klaviyo.requests(name)) for name in WRITES)


@pytest.mark.parametrize("strict", [False, True], ids=["tracked", "strict"])
def test_killed_at_every_step(
    start_emulator: StartEmulator,
    warehouse: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strict: bool,
) -> None:
    klaviyo = start_emulator(job_seconds=0.05, rate_limits="off")

    def world(name: str) -> World:
        monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / name))
        made = World(warehouse, klaviyo, tmp_path, {"strict": strict, "max_removals": None})
        made.prepare()
        return made

    undisturbed = world("undisturbed")
    assert not undisturbed.run("today", 1)
    klaviyo.clear_faults()
    assert not undisturbed.run("today", 2)
    members = undisturbed.members()
    expected = {f"p{n}@shop.io" for n in range(4, 7)} | {"moved@shop.io", "new@shop.io", "refused@shop.io"}
    assert members == expected | (set() if strict else {"hand@shop.io"})

    step = 0
    while True:
        step += STRIDE
        today = world(f"killed-{step}")
        was_killed = today.run("today", 1, step)
        klaviyo.clear_faults()
        assert not today.run("today", 2), "the retry was not to be killed"
        assert "pending" not in today.worker.counts()
        assert today.members() == members, f"killed at step {step}"
        before = today.writes()
        assert not today.run("tomorrow", 1)
        assert today.writes() == before, f"killed at step {step}: the state does not know what was done"
        if not was_killed:
            break
    assert step > 20


def test_killed_at_every_step_and_the_query_goes_back(
    start_emulator: StartEmulator, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run has yesterday's query again: whoever was removed, or half removed, is on the list afterwards."""
    klaviyo = start_emulator(job_seconds=0.05, rate_limits="off")
    step = 0
    while True:
        step += STRIDE
        monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / f"killed-{step}"))
        today = World(warehouse, klaviyo, tmp_path, {"max_removals": None})
        today.prepare()
        was_killed = today.run("today", 1, step)
        klaviyo.clear_faults()
        warehouse.hold(*YESTERDAY)
        assert not today.run("tomorrow", 1)
        assert today.members() == {*YESTERDAY, "hand@shop.io"}, f"killed at step {step}"
        if not was_killed:
            break
    assert step > 20


def test_killed_at_every_step_and_an_address_is_changed_by_hand_afterwards(
    start_emulator: StartEmulator, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step the worker died at: the retry knows the ids of those who were added, whom their addresses hide."""
    klaviyo = start_emulator(job_seconds=0.05, rate_limits="off")
    storage = tmp_path / "storage"
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(storage))
    worker = Worker(mirror_once, tmp_path)

    def run(run_id: str, try_number: int, step: int = 0) -> bool:
        return worker.run(step, run_id=run_id, try_number=try_number, more={"max_removals": None})

    warehouse.hold(*YESTERDAY)
    assert not run("before", 1), "the account is known from then on"
    step = 0
    while True:
        step += STRIDE
        klaviyo.reset()
        list_id = klaviyo.add_list("VIPs")
        shutil.rmtree(storage)
        warehouse.hold(*YESTERDAY)
        was_killed = run("today", 1, step)
        assert not run("today", 2)
        for number, address in enumerate(YESTERDAY):
            change(klaviyo, address, email=f"edited{number}@shop.io")
        warehouse.hold("new@shop.io")
        assert not run("tomorrow", 1)
        assert emails(klaviyo, list_id) == {"new@shop.io"}, f"killed at step {step}"
        if not was_killed:
            break
    assert step > 20
