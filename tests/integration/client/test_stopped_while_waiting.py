"""A run that is told to stop while an answer trickles in: it ends within seconds, and accounts for every row."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_klaviyo.client.bounded import call_bounded
from airflow_provider_klaviyo.exceptions import KlaviyoStopped
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.state.owner import Task
from airflow_provider_klaviyo.sync.environment import Environment
from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync
from airflow_provider_klaviyo.sync.run import SyncRun
from airflow_provider_klaviyo.sync.source.rows import RowStream
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.task_run import TaskRun
from tests.hostile import SLOW, Conversation, HostileServer
from tests.integration.conftest import counts_of
from tests.integration.program import OPTIONS, QUERY, Access, Database

pytestmark = pytest.mark.integration

PEOPLE = 3


@pytest.mark.parametrize("name", ["silence", "headers one by one", "a slow body", "slow chunks"])
def test_a_run_ends_soon_after_it_is_told_to_stop(name: str, tmp_path: Path) -> None:
    database = Database(str(tmp_path / "shop.sqlite"))
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER, email TEXT)")
        connection.executemany(
            "INSERT INTO customers VALUES (?, ?)", [(n, f"p{n}@shop.io") for n in range(PEOPLE)]
        )
        connection.commit()
    is_told = threading.Event()

    def manner(conversation: Conversation) -> None:
        is_told.set()
        SLOW[name](conversation)

    with HostileServer(manner) as server:
        environment = Environment(
            run=TaskRun(Task("shop", "sync"), "run", due=time.time()),
            storage=Storage(tmp_path / "storage"),
            klaviyo=Access(server.url, "pk_x"),
            open_source=lambda: RowStream(database, QUERY),
            stop=is_told.is_set,
        )
        run = SyncRun(
            ProfilesSync({"email": "email"}, ProfileOptions(max_bytes=100_000)), OPTIONS, environment
        )
        with pytest.raises(KlaviyoStopped):
            call_bounded(run.execute, seconds=30)  # the connection's timeout is 60
        assert run.summary is not None
        assert counts_of(run.summary) == {"rows_read": PEOPLE, "pending": PEOPLE}
    living = [thread.name for thread in threading.enumerate() if "klaviyo" in thread.name]
    assert not [each for each in living if "exchange" in each], living
