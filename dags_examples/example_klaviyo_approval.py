"""Ask a person before many people are taken off a list: with the numbers, in Airflow's UI.

Needs two connections: ``shop`` (any SQL database) and ``klaviyo_default`` (type Klaviyo).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, task

from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator

# [START klaviyo_approval]
with DAG(
    dag_id="klaviyo_approval",
    description="The gold customers of the shop are a list in Klaviyo, which nobody empties by mistake",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["klaviyo", "example"],
):
    unasked = 50
    gold_customers: dict[str, Any] = {
        "mode": "mirror",
        "list_name": "Gold customers",
        "state_key": "gold_customers",
        "sql_conn_id": "shop",
        "sql": "SELECT id, email FROM customers WHERE tier = 'gold'",
        "primary_key": "id",
    }
    preview = KlaviyoSyncListOperator(task_id="preview", preview=True, max_removals=None, **gold_customers)

    @task.branch
    def ask_if_many_leave(summary: dict[str, Any]) -> str:
        """Whether somebody is to be asked."""
        return "approve" if summary["removed"] > unasked else "mirror"

    approve = ApprovalOperator(
        task_id="approve",
        subject="Take {{ ti.xcom_pull(task_ids='preview')['removed'] }} people off the list Gold customers?",
        body="The query has {{ ti.xcom_pull(task_ids='preview')['rows_read'] }} rows. "
        "{{ ti.xcom_pull(task_ids='preview')['accepted'] }} people would join the list.",
    )
    mirror = KlaviyoSyncListOperator(
        task_id="mirror",
        max_removals=f"{{{{ [ti.xcom_pull(task_ids='preview')['removed'], {unasked}] | max }}}}",
        trigger_rule="none_failed_min_one_success",
        retries=2,
        **gold_customers,
    )
    ask_if_many_leave(preview.output) >> [approve, mirror]  # type: ignore[arg-type]
    approve >> mirror
# [END klaviyo_approval]
