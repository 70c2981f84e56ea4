"""What a Dag file says of a decorated sync is checked when the file is read, as with the operators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError

GOOD: dict[str, dict[str, Any]] = {
    "klaviyo_sync_profiles": {},
    "klaviyo_sync_events": {"metric": "Placed Order", "primary_key": "id"},
    "klaviyo_sync_list": {"mode": "add"},
    "klaviyo_sync_subscriptions": {"mode": "subscribe", "list_name": "News"},
}

WRONG = [
    *((name, wrong) for name in GOOD for wrong in (
        {"mapping": {"e-mail": "email"}},
        {"match_by": "name"},
        {"preview": "perhaps"},
        {"max_rejected": -1},
        {"columns": 7},
    )),
    ("klaviyo_sync_profiles", {"only_changes": True, "primary_key": None}),
    ("klaviyo_sync_events", {"flow_window": -1}),
    ("klaviyo_sync_list", {"mode": "ad"}),
    ("klaviyo_sync_list", {"mode": "mirror", "primary_key": None}),
    ("klaviyo_sync_subscriptions", {"channels": []}),
]  # fmt: skip


def rows(shard: int = 0) -> Iterator[dict[str, object]]:
    yield {"id": 1, "email": "ada@shop.io"}


def decorated(name: str, function: Callable[..., object] = rows, **arguments: Any) -> Any:
    decorator = getattr(task, name)
    return decorator(**arguments)(function)


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_a_wrong_literal_is_told_by_name_whether_or_not_the_function_is_mapped(
    name: str, wrong: dict[str, Any]
) -> None:
    with pytest.raises(KlaviyoConfigurationError, match=next(iter(wrong))):
        decorated(name, **GOOD[name] | wrong)
    with pytest.raises(KlaviyoConfigurationError, match=next(iter(wrong))):
        decorated(name, **GOOD[name]).override(**wrong)()


@pytest.mark.parametrize("name", GOOD)
def test_a_function_reads_no_query(name: str) -> None:
    for of_query in ({"sql": "SELECT 1"}, {"sql_conn_id": "shop"}, {"read_only": False}):
        with pytest.raises(KlaviyoConfigurationError, match=f"@task.{name} takes no {next(iter(of_query))}"):
            decorated(name, **GOOD[name], **of_query)
    with DAG("d", default_args={"sql_conn_id": "shop", "sql_hook_params": {}}):
        decorated(name, **GOOD[name])()
        decorated(name, **GOOD[name]).override(task_id="mapped").expand(shard=[1, 2])


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize(
    "refused",
    [
        {"sql": "SELECT 1"},
        {"sql_conn_id": "shop"},
        {"parameters": {}},
        {"read_only": False},
        {"multiple_outputs": True},
    ],
)
def test_nor_does_one_that_is_decorated_already(name: str, refused: dict[str, Any]) -> None:
    words = f"@task.{name} takes no {next(iter(refused))}: "
    with pytest.raises(KlaviyoConfigurationError, match=words):
        decorated(name, **GOOD[name], **refused)
    with pytest.raises(KlaviyoConfigurationError, match=words):
        decorated(name, **GOOD[name]).override(**refused)
    with pytest.raises(KlaviyoConfigurationError, match=words):
        decorated(name, **GOOD[name]).override(retries=1).partial(shard=1).override(**refused)


@pytest.mark.parametrize("name", GOOD)
def test_an_async_function_is_refused(name: str) -> None:
    async def later() -> AsyncIterator[dict[str, object]]:
        yield {}

    with pytest.raises(KlaviyoConfigurationError, match="'later' is async"):
        decorated(name, later, **GOOD[name])()


def test_a_decorator_without_arguments_is_one() -> None:
    with DAG("d") as dag:
        task.klaviyo_sync_profiles(rows)(1)
    (found,) = dag.tasks
    assert (found.task_id, found.task_type) == ("rows", "DecoratedSyncProfiles")
    assert found.operator_name == "@task.klaviyo_sync_profiles"


def test_a_function_that_keeps_state_runs_alone_mapped_or_not_unless_it_is_told_otherwise() -> None:
    stateful = {"only_changes": True, "primary_key": "id"}
    with DAG("d") as dag:
        decorated("klaviyo_sync_profiles", **stateful, task_id="one")()
        decorated("klaviyo_sync_profiles", **stateful, task_id="mapped").expand(shard=[1, 2])
        decorated("klaviyo_sync_list", **stateful, mode="mirror", task_id="mirror").expand(shard=[1])
        decorated("klaviyo_sync_profiles", **stateful, task_id="told", max_active_tis_per_dag=4).expand(
            shard=[1]
        )
        decorated("klaviyo_sync_profiles", task_id="stateless").expand(shard=[1])
    limits = {each.task_id: each.max_active_tis_per_dag for each in dag.tasks}
    assert limits == {"one": 1, "mapped": 1, "mirror": 1, "told": 4, "stateless": None}


def test_no_query_is_among_the_fields_that_airflow_renders() -> None:
    with DAG("d") as dag:
        decorated("klaviyo_sync_list", mode="add")()
    (found,) = dag.tasks
    assert {"op_args", "op_kwargs", "columns", "mapping", "list_name"} <= set(found.template_fields)
    assert not {"sql", "sql_conn_id", "parameters", "read_only"} & set(found.template_fields)
    assert list(found.template_ext) == []
