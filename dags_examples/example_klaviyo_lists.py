"""Keep a list in Klaviyo in agreement with a query, and go on when everybody is on it.

Needs two connections: ``shop`` (any SQL database) and ``klaviyo_default`` (type Klaviyo).
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, task

from airflow_provider_klaviyo.operators.lists import KlaviyoCreateListOperator, KlaviyoSyncListOperator
from airflow_provider_klaviyo.sensors.lists import KlaviyoListSensor

with DAG(
    dag_id="klaviyo_lists",
    description="The gold customers of the shop are a list in Klaviyo",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2},
    tags=["klaviyo", "example"],
):
    # [START klaviyo_lists]
    create = KlaviyoCreateListOperator(
        task_id="create_list", list_name="Gold customers", opt_in_process="single_opt_in"
    )
    mirror = KlaviyoSyncListOperator(
        task_id="mirror_gold_customers",
        mode="mirror",
        list_id=create.output,
        sql_conn_id="shop",
        sql="SELECT id, email FROM customers WHERE tier = 'gold'",
        primary_key="id",
        max_removals=0.1,
        max_rejected=0.05,
    )
    wait = KlaviyoListSensor(
        task_id="wait_for_members",
        list_id=create.output,
        min_profiles=100,
        poke_interval=60,
        timeout=1_800,
        mode="reschedule",
    )
    # [END klaviyo_lists]

    @task
    def start_the_campaign(list_id: str) -> str:
        """Stands for whatever comes next."""
        return f"The campaign goes to the list {list_id}."

    mirror >> wait >> start_the_campaign(create.output)  # type: ignore[arg-type]
