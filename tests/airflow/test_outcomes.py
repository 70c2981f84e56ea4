"""What Airflow is told of a sync that is over: the event of an asset, and metrics."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_klaviyo._compat import airflow_stats
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.summaries import KlaviyoJoinSummariesOperator
from tests.airflow.conftest import FillShop
from tests.conftest import bring_to_airflow

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("storage", "shop")]

PEOPLE: dict[str, Any] = {
    "sql": "SELECT id, email FROM people",
    "sql_conn_id": "shop",
    "mapping": {"external_id": "id", "email": "email"},
    "primary_key": "id",
    "max_rejected": 1.0,
    "poll_interval": 0.2,
    "timeout": 60,
}


@pytest.fixture
def shop(fill_shop: FillShop) -> Path:
    people = [("1", "ada@shop.io"), ("2", "bob@shop.io"), (None, "nobody")]
    return fill_shop("people (id TEXT, email TEXT)", people)


def events_of(dag_run: Any) -> list[tuple[str, dict[str, Any]]]:
    """Assets and their events' extras, as Airflow's database has them of a run."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = (
            select(AssetModel.uri, AssetEvent.extra)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetEvent.source_dag_id == dag_run.dag_id, AssetEvent.source_run_id == dag_run.run_id)
            .order_by(AssetEvent.id)
        )
        return [(uri, extra) for uri, extra in session.execute(query)]


def unpaused(dag: Any) -> None:
    """Have Airflow's database know a Dag, which is not paused."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    bring_to_airflow(dag)
    with create_session() as session:
        session.get(DagModel, dag.dag_id).is_paused = False


def newest_run(dag_id: str, session: Any) -> Any:
    """The last Dag run."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    return session.scalar(select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(1))


def start_by_assets(dag_id: str) -> list[dict[str, Any]]:
    """Do what Airflow's scheduler does with events that wait for a Dag; the extras that its run is shown."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        job = Job()
        session.add(job)
        session.flush()
        SchedulerJobRunner(job=job)._create_dag_runs_asset_triggered(
            dag_models=[session.get(DagModel, dag_id)], session=session
        )
    with create_session() as session:
        return [event.extra for event in newest_run(dag_id, session).consumed_asset_events]


def returned_by(dag: Any, task_id: str) -> Any:
    """What a task of the Dag's newest run returns when it runs, as ``airflow dags test`` runs it."""
    from airflow.sdk.definitions.dag import _run_task
    from airflow.utils.session import create_session

    with create_session() as session:
        ti = newest_run(dag.dag_id, session).get_task_instance(task_id)
        _run_task(ti=ti, task=dag.get_task(task_id))
        return ti.xcom_pull(task_ids=task_id)


@pytest.fixture
def run(run_in_airflow: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run a Dag of one task."""

    def run(make: Callable[[], Any]) -> Any:
        from airflow.sdk import DAG

        name = f"outcomes_{abs(hash(request.node.name))}"
        with DAG(name, start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
            make()
        return run_in_airflow(dag)

    return run


PROFILES = "klaviyo://ABC123/profiles"


def test_a_sync_tells_its_counts_with_the_event_of_its_asset(
    run: Callable[..., Any], klaviyo: Emulator
) -> None:
    from airflow.sdk import Asset

    done = run(lambda: KlaviyoSyncProfilesOperator(task_id="sync", outlets=[Asset(PROFILES)], **PEOPLE))
    ((uri, extra),) = events_of(done)
    assert uri == PROFILES
    assert (extra["rows_read"], extra["accepted"], extra["rejected"]) == (3, 2, 1)
    assert extra["report_path"].endswith(".report.json")


def test_an_outlet_of_somebody_else_stays_as_it_is(run: Callable[..., Any], klaviyo: Emulator) -> None:
    from airflow.sdk import Asset

    outlets = [Asset("s3://bucket/people"), Asset(PROFILES)]
    done = run(lambda: KlaviyoSyncProfilesOperator(task_id="sync", outlets=outlets, preview=True, **PEOPLE))
    assert events_of(done) == [("s3://bucket/people", {})]


@pytest.mark.parametrize("named", ["right", "wrong"])
def test_an_outlet_that_the_sync_has_not_changed_is_said(
    run: Callable[..., Any], klaviyo: Emulator, caplog: pytest.LogCaptureFixture, named: str
) -> None:
    from airflow.sdk import Asset

    vips = klaviyo.add_list("VIPs")
    list_id = {"right": vips, "wrong": "XyZ789"}[named]
    outlets = [Asset(f"klaviyo://{klaviyo.account_id}/lists/{list_id}")]
    arguments = {name: value for name, value in PEOPLE.items() if name != "mapping"}
    arguments["sql"] += " WHERE id IS NOT NULL"
    done = run(
        lambda: KlaviyoSyncListOperator(
            task_id="sync", mode="mirror", list_name="VIPs", outlets=outlets, **arguments
        )
    )
    ((_, extra),) = events_of(done)
    assert extra["accepted"] == 2
    assert ("its sync has changed" in caplog.text) == (named == "wrong")


def test_each_shard_of_a_mapped_task_tells_of_its_own(run: Callable[..., Any], klaviyo: Emulator) -> None:
    from airflow.sdk import Asset

    arguments = {**PEOPLE, "sql": "SELECT id, email FROM people WHERE id = :id"}
    done = run(
        lambda: KlaviyoSyncProfilesOperator.partial(
            task_id="sync", outlets=[Asset(PROFILES)], **arguments
        ).expand(parameters=[{"id": "1"}, {"id": "2"}])
    )
    assert sum(extra["accepted"] for _, extra in events_of(done)) == 2


@pytest.mark.parametrize("preview", [False, True])
def test_the_joined_summary_makes_one_event_of_all_shards(
    run: Callable[..., Any], klaviyo: Emulator, preview: bool
) -> None:
    from airflow.sdk import Asset

    def make() -> None:
        arguments = {**PEOPLE, "sql": "SELECT id, email FROM people WHERE id = :id", "preview": preview}
        syncs = KlaviyoSyncProfilesOperator.partial(task_id="sync", **arguments).expand(
            parameters=[{"id": "1"}, {"id": "2"}]
        )
        KlaviyoJoinSummariesOperator(task_id="join", summaries=syncs.output, outlets=[Asset(PROFILES)])

    told = [(uri, extra["accepted"], extra["shards"]) for uri, extra in events_of(run(make))]
    assert told == ([] if preview else [(PROFILES, 2, 2)])


@pytest.mark.skipif(
    version("apache-airflow").startswith("3.1."), reason="the scheduler of Airflow 3.1 is asked otherwise"
)
def test_no_counts_are_lost_where_several_runs_end_before_a_dag_begins_that_waits_for_them(
    klaviyo: Emulator, shop: Path, run_in_airflow: Callable[..., Any]
) -> None:
    """Of events that come at once Airflow shows some to the run that they start, and the rest to the next one."""
    from airflow.sdk import DAG, Asset

    vips = Asset("klaviyo://BuRsT1/profiles")
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    with DAG("burst_consumer", start_date=begin, schedule=[vips]) as consumer:
        ...
    unpaused(consumer)
    with DAG("burst_producer", start_date=begin, schedule=None) as producer:
        KlaviyoSyncProfilesOperator(task_id="sync", outlets=[vips], **PEOPLE)
    seen = []
    for runs in (3, 1):
        for _ in range(runs):
            run_in_airflow(producer)
        seen.append(start_by_assets("burst_consumer"))
    assert all(seen), "each time there is a run"
    assert [extra["accepted"] for extras in seen for extra in extras] == [2, 2, 2, 2]


@pytest.mark.skipif(
    version("apache-airflow").startswith("3.1."), reason="the scheduler of Airflow 3.1 is asked otherwise"
)
def test_a_task_that_an_asset_starts_is_handed_the_counts(
    klaviyo: Emulator, shop: Path, run_in_airflow: Callable[..., Any]
) -> None:
    from airflow.sdk import DAG, Asset, task

    people = Asset("klaviyo://HaNdEd/profiles")
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    with DAG("handed_consumer", start_date=begin, schedule=[people]) as consumer:

        @task
        def greet(triggering_asset_events: Any = None) -> list[int]:
            return [event.extra["accepted"] for event in triggering_asset_events[people]]

        greet()
    unpaused(consumer)
    with DAG("handed_producer", start_date=begin, schedule=None) as producer:
        KlaviyoSyncProfilesOperator(task_id="sync", outlets=[people], **PEOPLE)
    run_in_airflow(producer)
    assert [extra["accepted"] for extra in start_by_assets("handed_consumer")] == [2]
    assert returned_by(consumer, "greet") == [2]


@pytest.mark.parametrize(
    "differing",
    [{"preview": True}, {"max_rejected": 0}, {"sql": "SELECT nothing FROM nowhere"}],
    ids=["preview", "too many rejects", "no such table"],
)
def test_a_preview_and_a_failure_tell_of_none(
    run: Callable[..., Any], klaviyo: Emulator, differing: dict[str, Any]
) -> None:
    from airflow.sdk import Asset

    arguments = PEOPLE | differing
    done = run(lambda: KlaviyoSyncProfilesOperator(task_id="sync", outlets=[Asset(PROFILES)], **arguments))
    assert events_of(done) == []


def test_a_dag_can_wait_for_a_list(klaviyo: Emulator) -> None:
    from airflow.sdk import Asset

    uri = "klaviyo://ABC123/lists/XyZ789"
    assert Asset(uri).uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "klaviyo://ABC123/list/XyZ789",
        "klaviyo://ABC123/lists",
        "klaviyo://ABC123/profiles/1",
        "klaviyo:///profiles",
    ],
)
def test_an_asset_that_no_sync_tells_of_is_refused_where_it_is_written(uri: str) -> None:
    from airflow.sdk import Asset

    with pytest.raises(ValueError, match="klaviyo"):
        Asset(uri)


# --- metrics -----------------------------------------------------------------------------------------------------


class Recorder:
    """Where Airflow's metrics go in place of a server."""

    def __init__(self) -> None:
        self.metrics: dict[str, Any] = {}
        self.tags: dict[str, str] = {}

    def incr(self, stat: str, count: int = 1, rate: float = 1, *, tags: dict[str, str] | None = None) -> None:
        name = f"{stat}:{(tags or {}).get('field')}" if "by_field" in stat else stat
        self.metrics[name] = self.metrics.get(name, 0) + count
        self._note(stat, tags)

    def gauge(self, stat: str, value: float, *_: Any, tags: dict[str, str] | None = None, **__: Any) -> None:
        self.metrics[stat] = value
        self._note(stat, tags)

    def timing(self, stat: str, dt: Any, *, tags: dict[str, str] | None = None) -> None:
        self.metrics[stat] = dt
        self._note(stat, tags)

    def _note(self, stat: str, tags: dict[str, str] | None) -> None:
        if stat.startswith("klaviyo."):
            self.tags |= tags or {}

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: nullcontext(SimpleNamespace(duration=0.0))


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    stats = airflow_stats()
    if isinstance(stats, type):  # Airflow 3.1 and 3.2
        monkeypatch.setattr(type(stats), "instance", recorder, raising=False)
        monkeypatch.setattr(type(stats), "__getattr__", lambda _, name: getattr(recorder, name))
    else:
        from airflow.sdk._shared.observability.metrics import stats as module

        monkeypatch.setattr(module, "_get_backend", lambda: recorder)
    return recorder


def test_the_counts_are_metrics(run: Callable[..., Any], klaviyo: Emulator, metrics: Recorder) -> None:
    done = run(lambda: KlaviyoSyncProfilesOperator(task_id="sync", **{**PEOPLE, "max_rejected": 0}))
    told = {
        name.removeprefix("klaviyo.sync."): value
        for name, value in metrics.metrics.items()
        if "klaviyo" in name
    }
    assert (told["rows_read"], told["accepted"], told["rejected"]) == (3, 2, 1)
    assert told["requests"] >= 2
    assert told["throttled"] == 0
    assert told["rows_a_second"] > 0
    assert sum(count for name, count in told.items() if name.startswith("rejected_by_field")) >= 1
    assert metrics.tags["dag_id"] == done.dag_id
    assert {name: metrics.tags[name] for name in ("task_id", "sync_type", "mode")} == {
        "task_id": "sync",
        "sync_type": "profiles",
        "mode": "upsert",
    }


def test_a_preview_has_no_metrics(run: Callable[..., Any], klaviyo: Emulator, metrics: Recorder) -> None:
    run(lambda: KlaviyoSyncProfilesOperator(task_id="sync", **PEOPLE, preview=True))
    assert not [name for name in metrics.metrics if "klaviyo" in name]
