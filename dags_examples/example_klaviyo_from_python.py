"""Bring the members of a loyalty programme into Klaviyo, whose service is no database: a function yields the rows.

Needs two connections: ``loyalty`` (type HTTP, or any with the service's address as host) and ``klaviyo_default``
(type Klaviyo).
"""

from __future__ import annotations

# [START klaviyo_from_python]
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import requests
from airflow.sdk import DAG, BaseHook, task

with DAG(
    dag_id="klaviyo_from_python",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2},
    tags=["klaviyo", "example"],
):

    @task.klaviyo_sync_profiles(
        primary_key="member",
        only_changes=True,
        mapping={"external_id": "member", "email": "email", "properties.Points": "points"},
    )
    def sync_members(page_size: int) -> Iterator[dict[str, Any]]:
        """The members of the loyalty programme, page by page."""
        page = f"{BaseHook.get_connection('loyalty').host}/members?size={page_size}"
        while page:
            answer = requests.get(page, timeout=60)
            answer.raise_for_status()
            found = answer.json()
            yield from found["members"]
            page = found["next"]

    sync_members(page_size=500)
# [END klaviyo_from_python]
