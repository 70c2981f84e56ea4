"""Send the orders of each day to Klaviyo as events, once each, however often the day is run.

Needs two connections: ``shop`` (any SQL database) and ``klaviyo_default`` (type Klaviyo). Fill in the past with
``airflow backfill create --dag-id klaviyo_events --from-date … --to-date …``: its events start no flows.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator

with DAG(
    dag_id="klaviyo_events",
    description="Orders of the shop to Klaviyo events",
    # A cron string would give each run an empty interval in Airflow 3, and the query would select nothing for ever.
    schedule=CronDataIntervalTimetable("0 3 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2},
    tags=["klaviyo", "example"],
):
    # [START klaviyo_events]
    KlaviyoSyncEventsOperator(
        task_id="send_orders",
        sql_conn_id="shop",
        sql="""
            SELECT order_id, email, ordered_at, total, currency, item_count, coupon
            FROM orders
            WHERE ordered_at >= '{{ data_interval_start }}' AND ordered_at < '{{ data_interval_end }}'
        """,
        metric="Placed Order",
        primary_key="order_id",
        mapping={
            "profile.email": "email",
            "time": "ordered_at",
            "value": "total",
            "value_currency": "currency",
            "properties.Order": "order_id",
            "properties.Items": "item_count",
            "properties.Coupon": "coupon",
        },
    )
    # [END klaviyo_events]
