"""A worker killed (SIGKILL) at any step of a run: the retry ends where an undisturbed run would have ended."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.rows import Status
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.storage import storage_path
from airflow_provider_klaviyo.sync.storage import Storage
from tests.integration.conftest import MAPPING, SQL, Shop, StartEmulator, TaskInstance
from tests.integration.dying import STRIDE, Worker

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

IMPORT = "bulk_import_profiles"
BATCH, NEW = 8, 2
REFUSED = "p3@shop.io"


def sync_once(run_id: str, try_number: int, more: dict[str, Any]) -> dict[str, Any]:
    """What a worker does, in batches small enough that there are several."""
    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
    from airflow_provider_klaviyo.sync.batching import BatchLimits
    from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync

    ProfilesSync.limits = BatchLimits(BATCH, 1_000_000)
    operator = KlaviyoSyncProfilesOperator(
        task_id="sync_customers",
        sql=SQL,
        sql_conn_id="shop",
        mapping=MAPPING,
        primary_key="id",
        only_changes=True,
        poll_interval=0.2,
        timeout=60,
        max_rejected=1.0,
        **more,
    )
    ti = TaskInstance("sync_customers", try_number=try_number, run_id=run_id)
    return operator.execute({"ti": ti})  # type: ignore[arg-type, typeddict-item, no-any-return]


class World:
    """A shop that was synced yesterday and has changed since."""

    def __init__(
        self, shop: Shop, klaviyo: Emulator, folder: Path, size: tuple[int, int], more: dict[str, Any]
    ) -> None:
        self.people_count, self.changed = size
        self.shop, self.klaviyo, self.folder, self.more = shop, klaviyo, folder, more
        self.storage = Path(os.environ["AIRFLOW__KLAVIYO__STORAGE_PATH"])
        self.worker = Worker(sync_once, folder)

    def prepare(self) -> None:
        self.klaviyo.reset()
        self.shop.execute("DELETE FROM customers")
        self.shop.fill_with_people(self.people_count)
        yesterday = self.folder / "yesterday"
        if yesterday.exists():
            self.klaviyo.add_profiles(json.loads((yesterday / "people.json").read_text()))
        else:
            assert not self.run("yesterday", 1)
            people = list(self.people().values())
            shutil.copytree(self.storage, yesterday)
            (yesterday / "people.json").write_text(json.dumps(people))
        shutil.copytree(yesterday, self.storage, dirs_exist_ok=True)
        self.shop.execute(f"UPDATE customers SET tier = 'silver' WHERE id <= {self.changed}")
        self.shop.execute("UPDATE customers SET first_name = NULL WHERE id IN (2, 5)")
        self.shop.fill(
            [
                (n, f"p{n}@shop.io", None, "New", "gold")
                for n in range(self.people_count + 1, self.people_count + NEW + 1)
            ]
        )
        self.before = len(self.klaviyo.requests())
        self.klaviyo.inject(Fault("job_fails", match=REFUSED))

    def run(self, run_id: str, try_number: int, step: int = 0) -> bool:
        return self.worker.run(step, run_id=run_id, try_number=try_number, more=self.more)

    def people(self) -> dict[str, Any]:
        return {
            profile["email"]: {name: value for name, value in profile.items() if name != "id"}
            for profile in self.klaviyo.profiles()
        }

    def sent(self) -> int:
        return sum(
            request.records
            for request in self.klaviyo.requests()[self.before :]
            if request.operation in (IMPORT, "create_or_update_profile")
        )

    def in_doubt(self) -> int:
        """Rows that were neither acknowledged nor are in a job that can be asked for."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Storage(storage_path()).state("shop_to_klaviyo.sync_customers")
            ledger = open_ledger(
                store_of(folder), Path(scratch), None, writer="test", now=time.time, is_read_only=True
            )
            counts = Counter(dict(ledger.counts()))
            in_jobs = sum(len(job.rows) for job in ledger.open_jobs)
            ledger.close()
        return counts[Status.IN_DOUBT] + counts[Status.FAILED] - in_jobs


@pytest.mark.parametrize(
    ("size", "more"),
    [((20, 14), {}), ((7, 5), {"clear_nulls": ["first_name"]})],
    ids=["jobs", "single upserts"],
)
def test_killed_at_every_step(
    start_emulator: StartEmulator,
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    more: dict[str, Any],
) -> None:
    klaviyo = start_emulator(job_seconds=0.05, rate_limits="off")

    def world(name: str) -> World:
        monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / name))
        made = World(shop, klaviyo, tmp_path, size, more)
        made.prepare()
        return made

    undisturbed = world("undisturbed")
    assert not undisturbed.run("today", 1)
    klaviyo.clear_faults()
    assert not undisturbed.run("today", 2)
    people = undisturbed.people()

    step = 0
    while True:
        step += STRIDE
        today = world(f"killed-{step}")
        was_killed = today.run("today", 1, step)
        sent, in_doubt = today.sent(), today.in_doubt()
        klaviyo.clear_faults()
        assert not today.run("today", 2), "the retry was not to be killed"

        assert "pending" not in today.worker.counts()
        assert today.people() == people, f"killed at step {step}"
        resent = today.sent() - (size[1] + NEW)
        assert resent <= in_doubt + 1, (  # whom Klaviyo refused is tried again
            f"killed at step {step}: {resent} rows went twice, {in_doubt} were in doubt"
        )
        assert sent <= size[1] + NEW
        before = today.sent()
        assert not today.run("tomorrow", 1)
        assert today.sent() == before, f"killed at step {step}: the state does not know what was acknowledged"
        if not was_killed:
            break
    assert step > 20
