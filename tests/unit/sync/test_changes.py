"""Rows that state cannot know again are not sent, and say why."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.changes import OnlyChanges


class Lob:
    """As a driver gives large objects: the text of one is its place in memory."""


def test_a_key_without_a_text_that_stays_rejects_its_row_and_no_other(tmp_path: Path) -> None:
    ledger = open_ledger(
        store_of(tmp_path / "log"), tmp_path, {"state_key": "test"}, writer="test", now=lambda: 0.0
    )
    rows = [(1, "a@shop.io"), (Lob(), "b@shop.io"), (None, "c@shop.io"), (4, "d@shop.io")]
    changes = OnlyChanges(ledger)
    changes.describe([0], "email")
    keyed = changes.keyed(rows, 1, [Record(n, row, str(row[1]), b"") for n, row in enumerate(rows, 1)])
    ledger.close()
    assert [record.number for record in keyed.records] == [1, 4]
    told = {flaw.number: flaw.problems[0].reason for flaw in keyed.rejected}
    assert "of type Lob," in told[2]
    assert "is NULL" in told[3]
