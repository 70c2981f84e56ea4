"""Tasks that an earlier build has deferred come back to this one, and their triggers wait in its triggerer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.client.jobs import start_job
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS, import_body
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.state.owner import Task
from airflow_provider_klaviyo.storage import storage_path
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.task_run import TaskRun
from tests.integration.conftest import Run, TaskInstance
from tests.integration.jobs.deferred_before_kinds import JOB, PEOPLE, SYNC, make_shop

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).with_name("deferred_before_kinds")
TI = TaskInstance("people", dag_id="shop", run_id="monday")


@pytest.fixture
def job(klaviyo: Emulator) -> str:
    """The job that was started before, refusing one of its people."""
    klaviyo.inject(Fault("job_fails", match="p2@shop.io"))
    bodies = [
        json.dumps({"type": "profile", "attributes": {"email": email}}).encode()
        for _, email in PEOPLE
        if "@" in email
    ]
    with KlaviyoHook().get_client() as client:
        return start_job(client, PROFILE_IMPORTS, import_body(bodies)).id


def left_behind(name: str, job: str) -> str:
    return (FOLDER / name).read_text().replace(JOB, job)


@pytest.fixture
def come_back(job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Run]:
    """Settles what was left behind, as a worker does."""
    make_shop(tmp_path / "shop.sqlite")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(tmp_path)}))
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    files = Storage(storage_path()).files(TaskRun(Task("shop", "people"), "monday", due=0.0).holder)
    files.folder.mkdir(parents=True)
    for name, path in (
        ("note.json", files.deferred()),
        ("rows.json", files.deferred(0)),
        ("rejects.jsonl", files.rejects),
    ):
        path.write_text(left_behind(name, job))

    def run() -> Run:
        operator = KlaviyoSyncProfilesOperator(task_id="people", **SYNC)
        return Run(operator.execute_complete({"ti": TI}, {}), None)  # type: ignore[typeddict-item]

    return run


def test_its_note_and_rows_are_settled(come_back: Callable[[], Run]) -> None:
    run = come_back()
    assert run.counts() == {"rows_read": 4, "accepted": 2, "rejected": 2}
    assert [(line["key"], line["row"]["email"]) for line in run.rejects] == [
        (3, "nobody"),
        (2, "p2@shop.io"),
    ]


def test_its_trigger_is_made_again_and_waits(job: str) -> None:
    path, arguments = json.loads(left_behind("trigger.json", job))
    module, _, name = path.rpartition(".")
    trigger: Any = getattr(import_module(module), name)(**arguments)

    async def first() -> Any:
        return await anext(trigger.run())

    payload = asyncio.run(first()).payload
    assert payload == {"is_settled": True, "open": [], "lost": {}, "total": 3, "failed": 1}
