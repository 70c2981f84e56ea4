"""Start one Dag when another has synced a list: Airflow's assets.

Needs the connections ``shop`` (any SQL database) and ``klaviyo_default`` (type Klaviyo), and in the asset's name the
ids of your own account and list.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Asset, task

from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator

log = logging.getLogger(__name__)

# [START klaviyo_assets]
vip_list = Asset("klaviyo://ABC123/lists/XyZ789")

with DAG(
    dag_id="klaviyo_vips",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["klaviyo", "example"],
):
    KlaviyoSyncListOperator(
        task_id="mirror_vips",
        sql_conn_id="shop",
        sql="SELECT customer_id, email FROM vips",
        primary_key="customer_id",
        mode="mirror",
        list_id="XyZ789",
        outlets=[vip_list],
    )

with DAG(
    dag_id="klaviyo_after_vips",
    schedule=[vip_list],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    tags=["klaviyo", "example"],
):

    @task
    def greet_them(triggering_asset_events: Any = None) -> None:
        """Begin the campaign, if anybody has joined."""
        for event in triggering_asset_events[vip_list]:
            log.info("%s joined, %s left", event.extra["accepted"], event.extra["removed"])

    greet_them()
# [END klaviyo_assets]
