"""A deferred task that never comes back holds its sync up no longer than Airflow says that it may."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.whereabouts import older_run_to_come, whereabouts
from airflow_provider_klaviyo.state.holder import Holder, Whereabouts
from tests.airflow.conftest import FillShop

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAG_ID = "nightly"
SYNC: dict[str, Any] = {
    "task_id": "sync",
    "sql": "SELECT id, email FROM customers ORDER BY id",
    "sql_conn_id": "shop",
    "mapping": {"external_id": "id", "email": "email"},
    "primary_key": "id",
    "poll_interval": 0.2,
    "timeout": 30,
    "deferrable": True,
    "defer_after": 0,
}


class LostTask:
    """As much of a task instance as an operator needs to be deferred."""

    dag_id = DAG_ID
    task_id = "sync"
    map_index = -1
    try_number = 1

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def xcom_push(self, key: str, value: Any) -> None:
        """Nobody looks at it."""


@pytest.fixture
def shop(fill_shop: FillShop) -> Path:
    return fill_shop("customers (id INTEGER, email TEXT)", [(1, "ada@shop.io")])


@pytest.fixture
def run(
    run_in_airflow: Callable[..., Any], klaviyo: Emulator, shop: Path, storage: Path
) -> Callable[..., Any]:
    """A run of the Dag."""

    def run(dag_id: str = DAG_ID, **parameters: Any) -> Any:
        from airflow.sdk import DAG

        with DAG(dag_id, start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
            KlaviyoSyncProfilesOperator(**(SYNC | parameters))
        return run_in_airflow(dag)

    return run


def be_lost(run_id: str, state: str | None, **parameters: Any) -> None:
    """Have the task of a run be deferred, and Airflow say another thing of it."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with pytest.raises(BaseException) as deferred:
        KlaviyoSyncProfilesOperator(**(SYNC | parameters)).execute({"ti": LostTask(run_id)})
    assert type(deferred.value).__name__ == "TaskDeferred"
    with create_session() as session:
        one = (TaskInstance.dag_id == DAG_ID, TaskInstance.run_id == run_id)
        session.execute(update(TaskInstance).where(*one).values(state=state))


def delete_run(run_id: str) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.dag_id == DAG_ID, DagRun.run_id == run_id))


def state_of(dag_run: Any) -> str:
    (ti,) = dag_run.get_task_instances()
    return str(ti.state)


@pytest.mark.parametrize(
    ("state", "keeps"),
    [
        ("failed", True),
        ("failed", False),
        ("success", True),
        ("removed", False),
        ("up_for_retry", True),
        (None, True),
    ],
    ids=str,
)
def test_one_that_has_ended_holds_nothing_up_and_leaves_nobody_behind(
    run: Callable[..., Any], storage: Path, state: str | None, keeps: bool
) -> None:
    first = run(only_changes=keeps, sql=SYNC["sql"] + " LIMIT 0")
    be_lost(first.run_id, state, only_changes=keeps)
    assert "ada@shop.io" in "".join(file.read_text() for file in storage.rglob("*.deferred-0.json"))

    assert state_of(run(only_changes=keeps)) == "success"

    assert not list(storage.rglob("*.deferred*"))


@pytest.mark.parametrize("state", [None, "failed"], ids=["cleared", "failed"])
def test_its_jobs_are_waited_for_without_a_worker(
    run: Callable[..., Any], klaviyo: Emulator, state: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(only_changes=True, sql=SYNC["sql"] + " LIMIT 0")
    klaviyo.set(job_seconds=15.0)
    be_lost(first.run_id, state, only_changes=True)
    again = run(only_changes=True)
    assert state_of(again) == "success"
    assert "Klaviyo has no result yet of 1 import job that an earlier try has left" in caplog.text
    assert "waits for its turn, without a worker" in caplog.text
    assert len(klaviyo.requests("bulk_import_profiles")) == 1
    (ti,) = again.get_task_instances()
    assert ti.xcom_pull(task_ids="sync")["unchanged"] == 1


def test_one_whose_run_was_deleted_holds_nothing_up_and_leaves_nobody_behind(
    run: Callable[..., Any], storage: Path
) -> None:
    first = run(only_changes=True, sql=SYNC["sql"] + " LIMIT 0")
    be_lost(first.run_id, "deferred", only_changes=True)
    delete_run(first.run_id)
    assert state_of(run(only_changes=True)) == "success"
    assert not list(storage.rglob("*.deferred*"))


@pytest.mark.parametrize("state", ["deferred", "running", "queued", "scheduled"])
def test_one_that_may_come_back_keeps_what_it_has(run: Callable[..., Any], storage: Path, state: str) -> None:
    first = run(only_changes=True, sql=SYNC["sql"] + " LIMIT 0")
    be_lost(first.run_id, state, only_changes=True)
    assert state_of(run(only_changes=True, lock_timeout=0)) == "failed"
    assert len(list(storage.rglob("*.deferred*"))) == 2


def test_what_another_task_left_is_deleted_by_who_goes_on_with_its_state(
    run: Callable[..., Any], storage: Path
) -> None:
    first = run(only_changes=True, state_key="shared", sql=SYNC["sql"] + " LIMIT 0")
    be_lost(first.run_id, "failed", only_changes=True, state_key="shared")
    assert state_of(run("renamed", only_changes=True, state_key="shared")) == "success"
    assert not list(storage.rglob("*.deferred*"))


def test_one_that_comes_back_after_all_is_sent_again_by_its_retry(
    run: Callable[..., Any], storage: Path, klaviyo: Emulator
) -> None:
    """It was marked as failed, its rows are gone, and then somebody lets it go on."""
    from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError

    first = run(only_changes=True, sql=SYNC["sql"] + " LIMIT 0")
    be_lost(first.run_id, "failed", only_changes=True)
    run(only_changes=True)
    lost = KlaviyoSyncProfilesOperator(**SYNC, only_changes=True)
    with pytest.raises(KlaviyoRetryableError, match="left behind when it was deferred"):
        lost.execute_complete({"ti": LostTask(first.run_id)})


@pytest.mark.parametrize("came_between", ["a run", "a reset"])
def test_one_that_comes_back_when_its_time_was_up_settles_nothing_twice(
    run: Callable[..., Any], storage: Path, klaviyo: Emulator, came_between: str
) -> None:
    """A second verdict would be written into the state, and nobody could read it any more."""
    from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError

    first = run(only_changes=True, sql=SYNC["sql"] + " LIMIT 0")
    be_lost(first.run_id, "deferred", only_changes=True)
    state = storage / "sync-state"
    (lock,) = state.rglob("lock.json")
    if came_between == "a run":
        lock.unlink()
        assert state_of(run(only_changes=True)) == "success"
    else:
        shutil.rmtree(state)

    lost = KlaviyoSyncProfilesOperator(**SYNC, only_changes=True)
    with pytest.raises(KlaviyoRetryableError, match="Another run has gone on with the state"):
        lost.execute_complete({"ti": LostTask(first.run_id)})

    assert not list(storage.rglob("*.deferred*"))
    assert state_of(run(only_changes=True)) == "success"


# --- what Airflow is asked ---------------------------------------------------------------------------------------


class Answers:
    """A task instance to which Airflow answers one thing."""

    def __init__(self, states: object) -> None:
        self.states = states

    def get_task_states(self, **asked: object) -> Any:
        self.asked = asked
        if isinstance(self.states, Exception):
            raise self.states
        return self.states


def holder(map_index: int = -1) -> Holder:
    return Holder("shop", "sync", "monday", map_index, 1, "there", 1)


@pytest.mark.parametrize(
    ("states", "known"),
    [
        ({"monday": {"sync": "failed"}}, Whereabouts.ENDED),
        ({"monday": {"sync": None}}, Whereabouts.ENDED),
        ({"monday": {"sync": "deferred"}}, Whereabouts.AT_WORK),
        ({"monday": {"sync": "a word of the future"}}, Whereabouts.AT_WORK),
        ({"monday": {}}, Whereabouts.NO_SUCH_RUN),
        ({}, Whereabouts.NO_SUCH_RUN),
        (None, Whereabouts.UNKNOWN),
        (RuntimeError("API server"), Whereabouts.UNKNOWN),
    ],
    ids=["failed", "cleared", "deferred", "new word", "no such task", "no such run", "nonsense", "refused"],
)
def test_what_airflow_answers(states: object, known: Whereabouts) -> None:
    assert whereabouts(Answers(states), holder()) is known


def test_an_instance_of_a_mapped_task_is_asked_for_alone() -> None:
    answers = Answers({"monday": {"sync_3": "failed", "sync_4": "deferred"}})
    assert whereabouts(answers, holder(3)) is Whereabouts.ENDED
    assert whereabouts(answers, holder(4)) is Whereabouts.AT_WORK


class Asking:
    """A task instance before which there is one run of each of some kinds."""

    dag_id, task_id, map_index = "shop", "sync", -1

    def __init__(self, states: dict[str, object], kind: str) -> None:
        self.states = states
        self.kind = kind

    def get_previous_dagrun(self, state: str) -> Any:
        return SimpleNamespace(run_id=state, run_type=self.kind) if state in self.states else None

    def get_task_states(self, *, run_ids: list[str], **_: object) -> Any:
        return {run_id: {self.task_id: self.states[run_id]} for run_id in run_ids}


@pytest.mark.parametrize(
    ("states", "older"),
    [
        ({}, ""),
        ({"queued": None}, "queued"),
        ({"running": "success", "queued": "failed"}, ""),
        ({"running": "success", "queued": None}, "queued"),
        ({"running": "up_for_reschedule"}, "running"),
    ],
    ids=str,
)
def test_an_older_run_that_is_still_to_come(states: dict[str, object], older: str) -> None:
    nightly = SimpleNamespace(run_type="scheduled")
    assert older_run_to_come(Asking(states, "backfill"), nightly) == older
    assert older_run_to_come(object(), nightly) == ""


@pytest.mark.parametrize(
    ("kind", "older"), [("scheduled", "scheduled"), ("backfill", "backfill"), ("scheduled", "backfill")]
)
def test_no_run_waits_for_one_that_may_be_queued_because_of_it(kind: str, older: str) -> None:
    found = older_run_to_come(Asking({"queued": None}, older), SimpleNamespace(run_type=kind))
    assert found == ("queued" if (kind, older) == ("scheduled", "backfill") else "")


def test_outside_of_airflow_nothing_is_known() -> None:
    assert whereabouts(object(), holder()) is Whereabouts.UNKNOWN
