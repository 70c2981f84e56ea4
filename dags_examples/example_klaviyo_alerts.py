"""Tell people of a sync that failed, by e-mail and in Slack.

Needs the connections ``shop`` (any SQL database), ``klaviyo_default`` (type Klaviyo), ``smtp_default`` (type SMTP), and
``slack_webhook``, whose host is the URL of an incoming webhook of Slack's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import requests
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG, Connection

from airflow_provider_klaviyo.alerts import failure_text
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator


# [START klaviyo_alerts]
def tell_slack(context: Any) -> None:
    """Say in a channel of Slack's what failed."""
    webhook = Connection.get("slack_webhook").host
    requests.post(str(webhook), json={"text": failure_text(context)}, timeout=30).raise_for_status()


send_mail = SmtpNotifier(
    from_email="airflow@shop.io",
    to="crm@shop.io",
    subject="{{ ti.task_id }} failed",
    html_content="<pre>{{ klaviyo_failure() | e }}</pre>",
)

with DAG(
    dag_id="klaviyo_alerts",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    user_defined_macros={"klaviyo_failure": failure_text},
    default_args={"on_failure_callback": send_mail},
    on_failure_callback=tell_slack,  # also where the kernel killed the task, which no callback of the task is told
    tags=["klaviyo", "example"],
):
    KlaviyoSyncProfilesOperator(
        task_id="sync_customers",
        sql_conn_id="shop",
        sql="SELECT email, first_name FROM customers",
    )
# [END klaviyo_alerts]
