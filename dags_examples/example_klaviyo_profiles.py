"""Upsert the customers of a shop into Klaviyo, once a day.

Needs two connections: ``shop`` (any SQL database) and ``klaviyo_default`` (type Klaviyo). Set the environment
variable ``KLAVIYO_PREVIEW=true`` to see what would be sent without sending it.
"""

from __future__ import annotations

# [START klaviyo_profiles]
import os
from datetime import UTC, datetime

from airflow.sdk import DAG

from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

with DAG(
    dag_id="klaviyo_profiles",
    description="Customers of the shop to Klaviyo profiles",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2},
    tags=["klaviyo", "example"],
):
    KlaviyoSyncProfilesOperator(
        task_id="sync_customers",
        sql_conn_id="shop",
        sql="""
            SELECT id, email, phone, first_name, last_name, city, country, tier, lifetime_value, last_order_at
            FROM customers
            ORDER BY updated_at DESC
        """,
        primary_key="id",
        mapping={
            "external_id": "id",
            "email": "email",
            "phone_number": "phone",
            "phone_region": "country",
            "first_name": "first_name",
            "last_name": "last_name",
            "location.city": "city",
            "location.country": "country",
            "properties.Tier": "tier",
            "properties.Lifetime value": "lifetime_value",
            "properties.Last order": "last_order_at",
        },
        match_by="email",
        max_rejected=0.05,
        preview=os.environ.get("KLAVIYO_PREVIEW", "false"),
    )
# [END klaviyo_profiles]
