"""Send only customers that changed; hand others over without waiting for Klaviyo; ask Klaviyo something by the hook.

Needs two connections: ``shop`` (any SQL database) and ``klaviyo_default`` (type Klaviyo). To send every row once more,
trigger the Dag with the parameter ``full_refresh`` set.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, task

from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.sensors.jobs import KlaviyoImportJobSensor

with DAG(
    dag_id="klaviyo_only_changes",
    description="Changed customers of the shop to Klaviyo profiles",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2},
    params={"full_refresh": False},
    tags=["klaviyo", "example"],
):
    # [START klaviyo_only_changes]
    sync = KlaviyoSyncProfilesOperator(
        task_id="sync_customers",
        sql_conn_id="shop",
        sql="SELECT id, email, first_name, tier FROM customers",
        primary_key="id",
        mapping={"email": "email", "first_name": "first_name", "properties.Tier": "tier"},
        only_changes=True,
        full_refresh="{{ params.full_refresh }}",
    )
    # [END klaviyo_only_changes]

    # [START klaviyo_import_jobs]
    hand_over = KlaviyoSyncProfilesOperator(
        task_id="hand_over",
        sql_conn_id="shop",
        sql="SELECT id, email, lifetime_value FROM customers",
        primary_key="id",
        mapping={"email": "email", "properties.Lifetime value": "lifetime_value"},
        wait_for_completion=False,
    )
    wait = KlaviyoImportJobSensor(
        task_id="wait_for_klaviyo",
        job_ids="{{ ti.xcom_pull(task_ids='hand_over')['job_ids'] }}",
        deferrable=True,
    )
    # [END klaviyo_import_jobs]

    # [START klaviyo_hook]
    @task
    def look_up(address: str) -> str | None:
        """Klaviyo's id of somebody."""
        profiles = KlaviyoHook().get_profiles([address])
        return str(profiles[0]["id"]) if profiles else None

    # [END klaviyo_hook]

    sync >> hand_over >> wait >> look_up("p7@shop.io")  # type: ignore[operator]
