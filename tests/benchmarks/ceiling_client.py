"""The syncs of `ceiling`, each as Airflow runs it; a program that also runs with another build of the package.

    PYTHONPATH=<build> python tests/benchmarks/ceiling_client.py RUN ROWS WARM_URL URL

A small run against the first URL comes before, so that imports are not measured. Prints what the run took as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WARM_ROWS = 300
LIST = "VIPs"

SQL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
SELECT i AS id, 'p' || i || '@shop.io' AS email FROM n
"""
SQL_OF_PROFILES = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
SELECT i AS id, 'p' || i || '@shop.io' AS email, 'Name' || (i % 977) AS first_name,
       'Surname' || (i % 1999) AS last_name, 'Boston' AS city, 'US' AS country,
       CASE i % 4 WHEN 0 THEN 'gold' ELSE 'silver' END AS tier, i % 50 AS orders,
       (i % 100000) / 100.0 AS lifetime_value
FROM n
"""
SQL_OF_EVENTS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
SELECT i AS order_id, 'p' || (i % 50000) || '@shop.io' AS email, strftime('%Y-%m-%dT%H:%M:%SZ', 'now') AS ordered_at,
       (i % 100000) / 100.0 AS total, 'USD' AS currency, i % 9 AS items, 'https://shop.io/orders/' || i AS url
FROM n
"""


class TaskInstance:
    """What an operator uses of Airflow's task instance."""

    task_id, dag_id, run_id, map_index, try_number = "benchmark", "benchmark", "benchmark", -1, 1

    def xcom_push(self, key: str, value: object) -> None:
        pass


def _list(mode: str, rows: int, **more: Any) -> Any:
    from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator

    return KlaviyoSyncListOperator(
        task_id="benchmark",
        mode=mode,
        list_name=LIST,
        sql=SQL.format(rows=rows),
        sql_conn_id="shop",
        mapping={"email": "email"},
        primary_key="id",
        **more,
    )


def _subscriptions(mode: str, rows: int, **more: Any) -> Any:
    from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator

    return KlaviyoSyncSubscriptionsOperator(
        task_id="benchmark",
        mode=mode,
        channels=["email"],
        list_name=LIST,
        sql=SQL.format(rows=rows),
        sql_conn_id="shop",
        mapping={"email": "email"},
        primary_key="id",
        **more,
    )


def _profiles(rows: int) -> Any:
    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

    return KlaviyoSyncProfilesOperator(
        task_id="benchmark",
        sql=SQL_OF_PROFILES.format(rows=rows),
        sql_conn_id="shop",
        mapping={
            "external_id": "id",
            "email": "email",
            "first_name": "first_name",
            "last_name": "last_name",
            "location.city": "city",
            "location.country": "country",
            "properties.Tier": "tier",
            "properties.Orders": "orders",
            "properties.Lifetime value": "lifetime_value",
        },
    )


def _events(rows: int) -> Any:
    from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator

    return KlaviyoSyncEventsOperator(
        task_id="benchmark",
        sql=SQL_OF_EVENTS.format(rows=rows),
        sql_conn_id="shop",
        metric="Placed Order",
        primary_key="order_id",
        mapping={
            "profile.email": "email",
            "time": "ordered_at",
            "value": "total",
            "value_currency": "currency",
            "properties.Order": "order_id",
            "properties.Items": "items",
            "properties.URL": "url",
        },
    )


RUNS: dict[str, Callable[[int], Any]] = {
    "mirror": lambda rows: _list("mirror", rows, strict=True, max_removals=None),
    "mirror of imports": lambda rows: _list("mirror", rows, strict=True, max_removals=None),
    "remove": lambda rows: _list("remove", rows),
    "unsubscribe": lambda rows: _subscriptions("unsubscribe", rows, poll_interval=1),
    "subscribe": lambda rows: _subscriptions("subscribe", rows, poll_interval=1),
    "profiles": _profiles,
    "events": _events,
}


def _connect(url: str, home: str) -> None:
    """Give each account windows of its own, as on a host that has sent nothing yet."""
    tempfile.tempdir = tempfile.mkdtemp(dir=home)
    klaviyo = {
        "conn_type": "klaviyo",
        "password": "pk_benchmark",
        "host": url,
        "extra": {"rate_limit_share": 1},
    }
    os.environ["AIRFLOW_CONN_KLAVIYO_DEFAULT"] = json.dumps(klaviyo)
    os.environ["AIRFLOW__KLAVIYO__STORAGE_PATH"] = tempfile.mkdtemp(dir=home)


def main(run: str, rows: int, warm_url: str, url: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "sqlite", "host": f"{home}/shop.sqlite"}),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        context: Any = {"ti": TaskInstance()}
        _connect(warm_url, home)
        RUNS[run](min(rows, WARM_ROWS)).execute(context)
        _connect(url, home)
        began, cpu = time.time(), time.process_time()
        summary = RUNS[run](rows).execute(context)
        figures = {
            "build": str(Path(sys.modules["airflow_provider_klaviyo"].__file__ or "").parents[1]),
            "began": began,
            "ended": time.time(),
            "cpu": time.process_time() - cpu,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "summary": {
                name: summary[name]
                for name in (
                    "rows_read",
                    "accepted",
                    "unchanged",
                    "skipped",
                    "rejected",
                    "pending",
                    "removed",
                )
            },
        }
    print("MEASURED" + json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:5])
