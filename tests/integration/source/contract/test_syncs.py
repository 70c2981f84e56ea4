"""Every source in one suite: a whole sync, from Airflow's hook to the people in Klaviyo."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
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
from tests.integration.conftest import counts_of
from tests.integration.program import Access
from tests.integration.source.contract.sources import SOURCES, Source

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("source", [pytest.param(source, id=source.name) for source in SOURCES])
def test_people_come_from_any_source_and_are_known_again(
    source: Source, request: pytest.FixtureRequest, klaviyo: Emulator, tmp_path: Path
) -> None:
    """Of two rows the second is NULL, which identifies nobody."""

    def run() -> dict[str, int]:
        hook: Any = source.hook(request)
        sql = source.query.format(source.sql["integer"])
        environment = Environment(
            run=TaskRun(Task("shop", "sync"), f"run {time.time()}", due=time.time()),
            storage=Storage(tmp_path / "storage"),
            klaviyo=Access(klaviyo.url, klaviyo.api_key),
            open_source=lambda: RowStream(hook, Query(sql)),
        )
        options = SyncOptions(
            primary_key=("a",),
            only_changes=True,
            max_rejected=1,
            poll_interval=0.2,
            timeout=60,
        )
        fields = {"external_id": "a", "properties.Number": "a"}
        ended = SyncRun(ProfilesSync(fields, ProfileOptions(max_bytes=100_000)), options, environment)
        ended.execute()
        assert ended.summary
        return counts_of(ended.summary)

    assert run() == {"rows_read": 2, "accepted": 1, "rejected": 1}
    assert run() == {"rows_read": 2, "unchanged": 1, "rejected": 1}
    (person,) = klaviyo.profiles()
    assert person["external_id"] == "9223372036854775807"
    assert person["properties"] == {"Number": 9223372036854775807}
