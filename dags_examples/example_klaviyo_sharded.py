"""A sync that is too long for one task: four shards of a query on as many workers, and one report of all.

Needs two connections: ``shop`` (PostgreSQL) and ``klaviyo_default`` (type Klaviyo). Where workers run on several hosts,
``klaviyo_default`` needs ``rate_limit_conn_id``, the id of a connection to a Redis through which they share Klaviyo's
quota, and ``[klaviyo] storage_path`` must be a place that all of them reach.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.summaries import KlaviyoJoinSummariesOperator

with DAG(
    dag_id="klaviyo_sharded",
    description="All customers of a large shop to Klaviyo profiles, on many workers",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["klaviyo", "example"],
):
    # [START klaviyo_sharded]
    SHARDS = 4

    syncs = KlaviyoSyncProfilesOperator.partial(
        task_id="sync_customers",
        sql_conn_id="shop",
        sql="""
            SELECT id, email, first_name, tier
            FROM customers
            WHERE mod(hashtext(lower(trim(coalesce(email, ''))))::bigint + 2147483648, %(shards)s) = %(shard)s
        """,
        primary_key="id",
        mapping={"email": "email", "first_name": "first_name", "properties.Tier": "tier"},
        match_by="email",
        only_changes=True,
        state_key="customers-{{ task.parameters.shard }}-of-{{ task.parameters.shards }}",
        map_index_template="{{ task.parameters.shard }} of {{ task.parameters.shards }}",
        max_rejected=0.05,
        max_active_tis_per_dag=SHARDS,
        deferrable=True,
        retries=2,
        retry_delay=timedelta(minutes=1),
    ).expand(parameters=[{"shard": shard, "shards": SHARDS} for shard in range(SHARDS)])

    KlaviyoJoinSummariesOperator(task_id="join", summaries=syncs.output)
    # [END klaviyo_sharded]
