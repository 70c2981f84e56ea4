"""Mapped syncs: what names a shard, in a real Airflow, and what its instances must not share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from tests.airflow.conftest import FillShop

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]

PEOPLE = 6
SHARDS = [{"shard": 0}, {"shard": 1}]
SYNC: dict[str, Any] = {
    "sql": "SELECT id, email FROM customers WHERE id % 2 = :shard ORDER BY id",
    "sql_conn_id": "shop",
    "mapping": {"external_id": "id", "email": "email"},
    "match_by": "email",
    "primary_key": "id",
    "poll_interval": 0.2,
    "timeout": 60,
}


@pytest.fixture
def shop(fill_shop: FillShop) -> Path:
    return fill_shop("customers (id INTEGER, email TEXT)", [(n, f"p{n}@shop.io") for n in range(PEOPLE)])


Outcome = tuple[str, int, dict[str, Any] | None]
Run = Callable[[Callable[[], None]], dict[str, list[Outcome]]]


@pytest.fixture
def run(
    run_in_airflow: Callable[[Any], Any],
    klaviyo: Emulator,
    shop: Path,
    storage: Path,
    request: pytest.FixtureRequest,
) -> Run:
    """Runs a Dag of mapped tasks; state, try and summary of their instances, by task."""
    dag_id = request.node.name  # Airflow 3.1 stumbles over several versions of a Dag

    def run(make: Callable[[], None]) -> dict[str, list[Outcome]]:
        from airflow.sdk import DAG

        with DAG(dag_id, start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
            make()
        found: dict[str, list[Outcome]] = {}
        for ti in sorted(run_in_airflow(dag).get_task_instances(), key=lambda ti: ti.map_index):
            summary = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
            found.setdefault(ti.task_id, []).append((ti.state, ti.try_number, summary))
        return found

    return run


def profiles(task_id: str, **parameters: Any) -> Any:
    return KlaviyoSyncProfilesOperator.partial(
        task_id=task_id, **(SYNC | {"only_changes": True} | parameters)
    )


def in_a_group(name: str, state_key: str) -> None:
    from airflow.sdk import task_group

    @task_group(group_id=name)
    def shard(parameters: Any) -> None:
        more = SYNC | {"only_changes": True, "state_key": state_key}
        KlaviyoSyncProfilesOperator(task_id="sync", parameters=parameters, **more)

    shard.expand(parameters=SHARDS)


def test_what_names_a_shard_gives_it_a_state_of_its_own(run: Run, klaviyo: Emulator, storage: Path) -> None:
    lists = [klaviyo.add_list(name) for name in ("Even", "Odd")]

    def make() -> None:
        profiles("parameter", state_key="parameter-{{ task.parameters.shard }}").expand(parameters=SHARDS)
        profiles("index", state_key="index-{{ ti.map_index }}").expand(parameters=SHARDS)
        in_a_group("group", "group-{{ task.parameters.shard }}")
        own = [{"parameters": each, "state_key": f"kwargs-{each['shard']}"} for each in SHARDS]
        profiles("kwargs").expand_kwargs(own)
        profiles("stateless", state_key="anything", only_changes=False).expand(parameters=SHARDS)
        strict = {"mode": "mirror", "strict": True, "state_key": "strict-{{ task.parameters.shard }}"}
        KlaviyoSyncListOperator.partial(task_id="strict", **SYNC, **strict).expand_kwargs(
            [{"parameters": each, "list_id": lists[each["shard"]]} for each in SHARDS]
        )

    first, again = run(make), run(make)

    for task_id, outcomes in first.items():
        assert [(state, summary and summary["accepted"]) for state, _, summary in outcomes] == [
            ("success", PEOPLE // 2)
        ] * 2, task_id
    for task_id, outcomes in again.items():
        expected = "accepted" if task_id == "stateless" else "unchanged"
        assert [summary and summary[expected] for _, _, summary in outcomes] == [PEOPLE // 2] * 2, task_id
    states = sorted(folder.name.rpartition("-")[0] for folder in (storage / "sync-state").iterdir())
    assert states == sorted(
        f"{name}-{shard}" for name in ("group", "index", "kwargs", "parameter", "strict") for shard in (0, 1)
    )
    assert klaviyo.count() == PEOPLE


def test_what_does_not_is_refused_before_the_first_row_and_not_tried_again(
    run: Run, klaviyo: Emulator, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    vips = klaviyo.add_list("VIPs")

    def make() -> None:
        unknown = {"name": "{{ shard }}", "field": "{{ parameters.shard }}", "number": "{{ map_index }}"}
        for task_id, key in unknown.items():
            profiles(task_id, state_key=f"{task_id}-{key}", retries=3).expand(parameters=SHARDS)
        in_a_group("group", "customers")
        strict = {"mode": "mirror", "strict": True, "state_key": "strict-{{ task.parameters.shard }}"}
        more = SYNC | strict | {"list_id": vips}
        KlaviyoSyncListOperator.partial(task_id="strict", **more).expand(parameters=SHARDS)

    outcomes = run(make)

    assert len(outcomes) == 5
    for task_id, instances in outcomes.items():
        assert [(state, number) for state, number, _ in instances] == [("failed", 1)] * 2, task_id
    said = capfd.readouterr().out + caplog.text
    assert said.count("write {{ task.parameters.shard }}") >= 6
    assert "is the same for all instances of the mapped task group.sync" in said
    assert "each of them would take off the list whom the others put there" in said
    assert klaviyo.requests() == []
