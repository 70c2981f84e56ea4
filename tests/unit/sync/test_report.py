"""What a run counts, and how it groups the reasons."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_klaviyo.records.record import Problem
from airflow_provider_klaviyo.sync.outcomes import Outcome, Verdict
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.report import SyncReport


@pytest.mark.parametrize("noun", ["import job", "suppression job"])
@pytest.mark.parametrize(
    "what",
    ["is cancelled, not complete", "does not add up: 1 went in", "had no result yet; x", "cannot be read: x"],
)
def test_one_reason_stands_for_all_jobs_of_a_kind(noun: str, what: str, tmp_path: Path) -> None:
    report = SyncReport("profiles", "upsert", RejectsFile(tmp_path / "rejects.jsonl"))
    report.rejects.describe(["email"], [0])
    for number, job in enumerate(("RW11THRy", "01GDDK", "abc"), 1):
        problem = Problem("", f"{noun} {job} {what}")
        report.count(Verdict(number, ("p@shop.io",), Outcome.PENDING, (problem,)))
    report.rejects.close()
    assert dict(report.reasons) == {("pending", "", f"{noun} {what}"): 3}
