"""A sync whose jobs are of a second kind, run as any: waited for, left to the triggerer, left for later."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_klaviyo.client.endpoints import MAX_PROFILE_BYTES
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.operators.base import KlaviyoSyncOperator
from airflow_provider_klaviyo.records.lists.member import ListMemberMapper
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.sync.batching import BatchLimits
from airflow_provider_klaviyo.sync.contracts import Description, Session, SyncContext
from airflow_provider_klaviyo.sync.delivery.jobs import JobDelivery
from airflow_provider_klaviyo.sync.options import SyncOptions
from tests.integration.conftest import Run, Shop, StartEmulator, TaskInstance, run_operator
from tests.integration.dying import STRIDE, Worker
from tests.integration.jobs import suppressions
from tests.integration.jobs.suppressions import SUPPRESSIONS, suppressed

pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True)
class SuppressionSync(Description):
    name: ClassVar = "suppressions"
    mode: ClassVar = "suppress"
    limits: ClassVar = BatchLimits(2, 1_000_000)
    endpoints: ClassVar = SUPPRESSIONS.endpoints

    def open(self, context: SyncContext) -> SuppressionSession:
        return SuppressionSession(self, context)


class SuppressionSession(Session):
    def mapper(self, columns: Sequence[str]) -> ListMemberMapper:
        return ListMemberMapper(columns, {"email": "email"}, ProfileOptions(max_bytes=MAX_PROFILE_BYTES))

    def delivery(self) -> JobDelivery:
        context = self._context
        return JobDelivery(
            context.client,
            SUPPRESSIONS,
            context.spool,
            self.acknowledgements(),
            waits=context.waits,
            poll_interval=context.poll_interval,
            identifier=lambda: "email",
            drops_invalid=False,
        )


class SuppressOperator(KlaviyoSyncOperator):
    def sync_type(self, options: SyncOptions) -> SuppressionSync:
        return SuppressionSync()


@pytest.fixture
def klaviyo(
    start_emulator: StartEmulator, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Emulator]:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    shop.fill_with_people(5)
    with suppressions.known():
        yield start_emulator(job_seconds=1.0, suppression_jobs="tell")


Suppress = Callable[..., SuppressOperator]


@pytest.fixture
def suppress(klaviyo: Emulator) -> Suppress:
    """The operator, anew for each worker."""
    return make_operator


def make_operator(**parameters: Any) -> SuppressOperator:
    settings = {
        "sql": "SELECT id, email FROM customers ORDER BY id",
        "sql_conn_id": "shop",
        "primary_key": "id",
        "poll_interval": 0.2,
        "timeout": 60,
    }
    return SuppressOperator(task_id="suppress", **(settings | parameters))


EVERYBODY = {f"p{number}@shop.io" for number in range(1, 6)}


def test_it_waits_for_its_jobs(klaviyo: Emulator, suppress: Suppress) -> None:
    run = run_operator(suppress())
    assert (run.error, run.counts()) == (None, {"rows_read": 5, "accepted": 5})
    assert suppressed(klaviyo) == EVERYBODY
    assert len(klaviyo.requests("bulk_suppress_profiles")) == 3


@pytest.mark.parametrize("more", [{}, {"only_changes": True}], ids=["stateless", "stateful"])
def test_another_worker_settles_what_was_left_to_the_triggerer(
    klaviyo: Emulator, suppress: Suppress, more: dict[str, Any]
) -> None:
    klaviyo.inject(Fault("job_cancelled", records=0))
    ti = TaskInstance("suppress")
    with pytest.raises(TaskDeferred) as left:
        suppress(deferrable=True, defer_after=0, **more).execute({"ti": ti})  # type: ignore[arg-type, typeddict-item]

    path, arguments = left.value.trigger.serialize()
    assert arguments["kind"] == SUPPRESSIONS.name
    module, _, name = path.rpartition(".")
    trigger: Any = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))

    async def first() -> Any:
        return await anext(trigger.run())

    event = asyncio.run(first()).payload
    assert (event["is_settled"], list(event["lost"].values())) == (True, ["cancelled"])
    back = suppress(deferrable=True, defer_after=0, **more)
    with pytest.raises(Exception, match="2 of 5 rows have no verdict"):
        back.execute_complete({"ti": ti}, event)  # type: ignore[arg-type, typeddict-item]

    run = Run(ti.pushed["return_value"], None)
    assert run.counts() == {"rows_read": 5, "accepted": 3, "pending": 2}
    assert {line["reason"].partition(" job ")[0] for line in run.rejects} == {"suppression"}
    assert suppressed(klaviyo) < EVERYBODY


def test_jobs_that_a_run_did_not_wait_for_are_settled_by_the_next(
    klaviyo: Emulator, suppress: Suppress
) -> None:
    left = run_operator(suppress(only_changes=True, wait_for_completion=False))
    assert left.counts() == {"rows_read": 5, "pending": 5}
    assert run_operator(suppress(only_changes=True)).counts() == {"rows_read": 5, "unchanged": 5}
    assert suppressed(klaviyo) == EVERYBODY
    assert len(klaviyo.requests("bulk_suppress_profiles")) == 3


def suppress_once(try_number: int) -> dict[str, Any]:
    """What a worker does that may be killed."""
    ti = TaskInstance("suppress", try_number=try_number)
    with suppressions.known():
        return make_operator(only_changes=True).execute({"ti": ti})  # type: ignore[arg-type, typeddict-item, return-value]


@pytest.mark.slow
def test_a_worker_killed_anywhere_leaves_jobs_that_the_next_one_settles(
    klaviyo: Emulator, suppress: Suppress, tmp_path: Path
) -> None:
    klaviyo.set(job_seconds=0.2, rate_limits="off")
    worker = Worker(suppress_once, tmp_path)
    assert not worker.run(try_number=1), (
        "from now on the account is known, which may be asked for 15 times a minute"
    )
    settled = 0
    for step in itertools.count(1, STRIDE):
        klaviyo.reset()
        shutil.rmtree(tmp_path / "storage", ignore_errors=True)
        if not worker.run(step, try_number=1):
            break
        before = len(klaviyo.requests("bulk_suppress_profiles"))
        assert not worker.run(try_number=2)
        counts, earlier = worker.counts(), worker.summary().get("accepted_earlier", 0)
        assert counts.get("accepted", 0) + counts.get("unchanged", 0) == 5
        assert suppressed(klaviyo) == EVERYBODY
        again = klaviyo.requests("bulk_suppress_profiles")[before:]
        assert sum(request.records for request in again) == counts.get("accepted", 0) - earlier
        settled += earlier > 0
    assert settled
