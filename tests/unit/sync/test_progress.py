"""What the log says of a long run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from airflow_provider_klaviyo.sync.progress import INTERVAL, Progress
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.report import SyncReport
from tests.unit.client.conftest import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.mark.parametrize(
    ("total", "told"),
    [
        (4_000, ["1,000 of 4,000 rows read (50 a second)", "900 accepted", "7 rejected", "about 60 s left"]),
        (None, ["1,000 rows read (50 a second)", "900 accepted", "7 rejected"]),
    ],
    ids=["total known", "total unknown"],
)
def test_a_line_tells_rows_rate_rejects_and_the_time_left_if_it_can_be_known(
    total: int | None, told: list[str], clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    report = SyncReport("profiles", "upsert", RejectsFile(tmp_path / "rejects"), clock=clock)
    progress = Progress(report, total)
    report.rows_read, report.accepted, report.rejected = 1_000, 900, 7
    clock.time += 20.0
    progress.show()
    for words in told:
        assert words in caplog.text
    assert ("left" in caplog.text) == (total is not None)


def test_lines_come_no_more_often_than_the_interval(
    clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    progress = Progress(SyncReport("profiles", "upsert", RejectsFile(tmp_path / "r"), clock=clock), None)
    progress.show()
    for _ in range(int(INTERVAL * 3)):
        clock.time += 1.0
        progress.show()
    assert len(caplog.records) == 3
