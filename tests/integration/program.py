"""A program that previews a sync of a SQLite database and then runs it twice, without Airflow.

Run as ``python program.py <url of Klaviyo> <key> <database> <storage>``; writes a summary a line.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import MAX_PROFILE_BYTES
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.state.owner import Task
from airflow_provider_klaviyo.sync.environment import Environment
from airflow_provider_klaviyo.sync.options import SyncOptions
from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync
from airflow_provider_klaviyo.sync.run import SyncRun
from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.task_run import TaskRun

QUERY = Query("SELECT id, email FROM customers ORDER BY id")
OPTIONS = SyncOptions(
    mapping={"email": "email"},
    primary_key=("id",),
    only_changes=True,
    max_rejected=1.0,
    poll_interval=0.2,
    timeout=60.0,
)


class Database:
    """As much of a ``DbApiHook`` as a run needs."""

    def __init__(self, path: str) -> None:
        self._path = path

    def get_conn(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path)

    @staticmethod
    def strip_sql_string(sql: str) -> str:
        return sql.strip().rstrip(";")


class Access:
    """As much of a ``KlaviyoHook`` as a run needs."""

    names_account = False

    def __init__(self, url: str, key: str) -> None:
        self._config = KlaviyoConfig(api_key=key, base_url=url)

    def get_client(
        self, *, timeout: float | None = None, stop: Callable[[], bool] | None = None
    ) -> KlaviyoClient:
        limiter = RateLimiter(MemoryWindows(), account=self._config.quota_name)
        deadline = None if timeout is None else SystemClock().monotonic() + timeout
        return KlaviyoClient(self._config, limiter, deadline=deadline, stop=stop)

    def check_account(self, client: KlaviyoClient) -> None:
        """Any account will do."""

    def account_id(self, client: KlaviyoClient) -> str:
        return "the only one"


def main(url: str, key: str, database: str, storage: str) -> None:
    for number, is_preview in enumerate((True, False, False)):
        environment = Environment(
            run=TaskRun(Task("program", "customers"), f"run {number}", due=time.time()),
            storage=Storage(Path(storage)),
            klaviyo=Access(url, key),
            open_source=lambda: RowStream(Database(database), QUERY),
        )
        sync_type: Any = ProfilesSync({"email": "email"}, ProfileOptions(max_bytes=MAX_PROFILE_BYTES))
        run = SyncRun(sync_type, replace(OPTIONS, is_preview=is_preview), environment)
        run.execute()
        sys.stdout.write(json.dumps(run.summary) + "\n")


if __name__ == "__main__":
    main(*sys.argv[-4:])
