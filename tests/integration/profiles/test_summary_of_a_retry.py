"""What the summary of a retried task says: what all tries of the run did."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.exceptions import KlaviyoTimeout
from tests.integration.conftest import Shop, Sync

KEEPS = {"primary_key": "id", "only_changes": True}


def test_rows_that_an_earlier_try_has_sent_are_accepted_by_the_run(
    klaviyo: Emulator, shop: Shop, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    shop.fill_with_people(3)
    sync(run_id="monday", **KEEPS)
    shop.execute("UPDATE customers SET tier = 'platinum' WHERE id < 3")
    klaviyo.set(job_seconds=1.5)
    first = sync(run_id="tuesday", timeout=1, **KEEPS)
    assert isinstance(first.error, KlaviyoTimeout)
    klaviyo.set(job_seconds=0)
    with caplog.at_level(logging.INFO):
        second = sync(run_id="tuesday", try_number=2, **KEEPS)
    assert second.counts() == {"rows_read": 3, "accepted": 2, "unchanged": 1}
    assert second.summary["accepted_earlier"] == second.report["accepted_earlier"] == 2
    assert "read 3 rows: 2 accepted (2 by an earlier try), 1 unchanged" in caplog.text
    again = sync(run_id="tuesday", try_number=3, **KEEPS)
    assert again.counts() == {"rows_read": 3, "unchanged": 3}, "the run had succeeded, and was cleared"
    assert "accepted_earlier" not in again.summary
    assert sync(run_id="wednesday", **KEEPS).counts() == {"rows_read": 3, "unchanged": 3}


def test_what_a_retry_sends_itself_is_not_counted_twice(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(2)
    klaviyo.set(job_seconds=1.5)
    sync(timeout=1, **KEEPS)
    klaviyo.set(job_seconds=0)
    shop.fill([(3, "p3@shop.io", None, "P3", "gold")])
    second = sync(try_number=2, **KEEPS)
    assert second.counts() == {"rows_read": 3, "accepted": 3}
    assert second.summary["accepted_earlier"] == 2
    state = json.loads(Path(second.summary["report_path"]).read_text())["state"]
    assert state["rows"] == {"acknowledged": 3}
