"""What a state costs in an object store does not grow with the runs behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import Shop, Sync

if TYPE_CHECKING:
    from tests.benchmarks.state import CountedS3

pytestmark = pytest.mark.integration

MOST = 30
"""Requests of an unchanged run."""

MOST_BYTES = 13_000
"""Bytes of the state that an unchanged run of a few people moves, on average; a snapshot is written every few runs."""


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[CountedS3]:
    pytest.importorskip("moto.server", reason="moto is not installed")
    from tests.benchmarks.state import CountedS3

    server = CountedS3()
    server.start()
    server.bucket("counted")
    monkeypatch.setenv("AIRFLOW_CONN_COUNTED", server.connection)
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", "s3://counted@counted/klaviyo")
    yield server
    server.stop()


@pytest.mark.usefixtures("klaviyo")
def test_an_unchanged_run_takes_few_requests_however_many_there_were(
    shop: Shop, sync: Sync, s3: CountedS3
) -> None:
    shop.fill_with_people(5)
    counts, sizes = [], []
    for number in range(20):
        s3.clear()
        assert sync(primary_key="id", only_changes=True, run_id=f"run {number}").error is None
        counts.append(sum(s3.requests.values()))
        sizes.append(s3.state_bytes)
    assert max(counts[1:]) <= MOST
    assert sum(sizes[1:]) / len(sizes[1:]) <= MOST_BYTES
    assert max(sizes[10:]) < 2 * max(sizes[:10])
