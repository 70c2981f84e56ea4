"""Subscribe customers who agreed to the newsletter, and take off the list who no longer wants it.

Needs two connections, ``shop`` (any SQL database) and ``klaviyo_default`` (type Klaviyo), and a list "Newsletter" in
Klaviyo.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator

with DAG(
    dag_id="klaviyo_subscriptions",
    description="Consent that was given or withdrawn in the shop",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2},
    tags=["klaviyo", "example"],
):
    # [START klaviyo_subscriptions]
    subscribe = KlaviyoSyncSubscriptionsOperator(
        task_id="subscribe",
        mode="subscribe",
        channels=["email", "sms"],
        list_name="Newsletter",
        custom_source="Checkout",
        sql_conn_id="shop",
        sql="SELECT id, email, phone, country, wants_email, wants_sms FROM customers WHERE wants_email OR wants_sms",
        mapping={
            "email": "email",
            "phone_number": "phone",
            "phone_region": "country",
            "consent.email": "wants_email",
            "consent.sms": "wants_sms",
        },
        primary_key="id",
        only_changes=True,
    )
    unsubscribe = KlaviyoSyncSubscriptionsOperator(
        task_id="unsubscribe",
        mode="unsubscribe",
        list_name="Newsletter",
        sql_conn_id="shop",
        sql="SELECT id, email FROM customers WHERE left_newsletter",
        mapping={"email": "email"},
        primary_key="id",
        only_changes=True,
    )
    # [END klaviyo_subscriptions]

    subscribe >> unsubscribe
