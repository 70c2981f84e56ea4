"""What the log says of a long run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from airflow_provider_klaviyo.sync.outcomes import OpenJob
from airflow_provider_klaviyo.sync.progress import INTERVAL, Progress
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.report import SyncReport
from tests.unit.client.conftest import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def report(clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> SyncReport:
    caplog.set_level(logging.INFO)
    return SyncReport("profiles", "upsert", RejectsFile(tmp_path / "rejects"), clock=clock)


def test_a_line_tells_rows_rate_share_the_time_left_and_jobs(
    report: SyncReport, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(report, 25_000.0)
    report.rows_in_all = 4_000_000
    report.rows_read, report.accepted, report.rejected, report.requests = 610_000, 580_000, 100, 131
    report.open_jobs = [OpenJob("a", 10_000, "1-10000"), OpenJob("b", 9_900, "10001-19900")]
    clock.time += 30.0
    progress.show()
    assert caplog.messages == [
        "After 30 s: 610,000 of 4,000,000 rows read, 599,900 sent, 20,333 a second, 80% of Klaviyo's limit, "
        "about 3 min left, 2 jobs open, 100 rejected, 131 requests."
    ]


def test_it_is_of_the_time_since_the_line_before_and_says_what_is_known(
    report: SyncReport, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(report, None)
    clock.time += 30.0
    progress.show()
    report.rows_read = report.unchanged_in_state = 3_000
    clock.time += 30.0
    progress.show()
    report.rows_read = report.rows_in_all = 3_001
    report.open_jobs = [OpenJob("a", 1, "3001-3001")]
    clock.time += 90.0
    progress.show()
    clock.time += 7_200.0
    progress.show()
    assert caplog.messages == [
        "After 30 s: 0 rows read, 0 sent, 0 requests.",
        "After 60 s: 3,000 rows read, 0 sent, 100 a second, 0 requests.",
        "After 2 min: 3,001 of 3,001 rows read, 1 sent, 1 a minute, 1 job open, 0 requests.",
        "After 122 min: 3,001 of 3,001 rows read, 1 sent, 1 job open, 0 requests.",
    ]


def test_records_that_are_held_back_have_no_time_left_before_they_are_sent(
    report: SyncReport, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(report, 1_000_000.0)
    report.rows_in_all, report.rows_read = 9_000, 3_000
    clock.time += 30.0
    progress.show()
    report.rows_read, report.accepted = 9_000, 3_000
    clock.time += 30.0
    progress.show()
    assert "left" not in caplog.messages[0]
    assert "200 a second, below 1% of Klaviyo's limit, about 60 s left" in caplog.messages[1]


def test_lines_come_no_more_often_than_the_interval(
    report: SyncReport, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(report, None)
    progress.show()
    for _ in range(int(INTERVAL * 3)):
        clock.time += 1.0
        progress.show()
    assert len(caplog.records) == 3
