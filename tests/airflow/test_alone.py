"""Syncs that keep state run one after the other, whoever starts them: the limit that Airflow goes by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator

pytestmark = pytest.mark.airflow

QUERY = {"sql": "SELECT id, email FROM people", "sql_conn_id": "shop"}

KEEP_STATE: list[tuple[Any, dict[str, Any]]] = [
    (KlaviyoSyncProfilesOperator, {"only_changes": True, "primary_key": "id"}),
    (KlaviyoSyncEventsOperator, {"only_changes": True, "primary_key": "id", "metric": "Visited"}),
    (KlaviyoSyncListOperator, {"mode": "mirror", "primary_key": "id"}),
    (KlaviyoSyncListOperator, {"mode": "{{ params.mode }}", "primary_key": "id"}),
    (KlaviyoSyncListOperator, {"mode": "add", "only_changes": True, "primary_key": "id"}),
    (KlaviyoSyncSubscriptionsOperator, {"mode": "subscribe", "list_name": "VIPs"}),
    (KlaviyoSyncSubscriptionsOperator, {"mode": "unsubscribe", "list_name": "VIPs"}),
]
KEEP_NONE: list[tuple[Any, dict[str, Any]]] = [
    (KlaviyoSyncProfilesOperator, {}),
    (KlaviyoSyncEventsOperator, {"metric": "Visited", "primary_key": "id"}),
    (KlaviyoSyncListOperator, {"mode": "add"}),
    (KlaviyoSyncListOperator, {"mode": "remove"}),
    (KlaviyoSyncSubscriptionsOperator, {"mode": "unsubscribe", "globally": True}),
]


def limits(operator: Any, arguments: dict[str, Any], **of_dag: Any) -> list[int | None]:
    """The limit of a task and of a mapped one, as the scheduler knows them."""
    from airflow.sdk import DAG

    try:  # Airflow 3.2 and newer
        from airflow.serialization.serialized_objects import DagSerialization as Serialized
    except ImportError:  # Airflow 3.1
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized

    with DAG("alone", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None, **of_dag) as dag:
        operator(task_id="plain", **QUERY, **arguments)
        operator.partial(
            task_id="mapped", state_key="{{ task.parameters.shard }}", **QUERY, **arguments
        ).expand(parameters=[{"shard": 1}, {"shard": 2}])
    known = Serialized.from_dict(Serialized.to_dict(dag))
    return [known.get_task(name).max_active_tis_per_dag for name in ("plain", "mapped")]


@pytest.mark.parametrize(("operator", "arguments"), KEEP_STATE)
def test_a_sync_that_keeps_state_runs_alone(operator: Any, arguments: dict[str, Any]) -> None:
    assert limits(operator, arguments) == [1, 1]


@pytest.mark.parametrize(("operator", "arguments"), KEEP_NONE)
def test_others_run_side_by_side(operator: Any, arguments: dict[str, Any]) -> None:
    assert limits(operator, arguments) == [None, None]


@pytest.mark.parametrize(("operator", "arguments"), [KEEP_STATE[0], KEEP_NONE[0]])
def test_what_the_dag_says_counts(operator: Any, arguments: dict[str, Any]) -> None:
    assert limits(operator, {"max_active_tis_per_dag": 4, **arguments}) == [4, 4]
    assert limits(operator, arguments, default_args={"max_active_tis_per_dag": 3}) == [3, 3]
    assert limits(operator, {"max_active_tis_per_dag": None, **arguments}) == [None, None]
