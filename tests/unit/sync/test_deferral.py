"""What one worker leaves for another comes back as it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.sync.deferral import Deferral
from airflow_provider_klaviyo.sync.outcomes import HandedOver
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.report import SyncReport

HOLDER = Holder("shop", "sync", "monday", -1, 1, "here", 1)


@dataclass
class Files:
    folder: Path

    def deferred(self, number: int | None = None) -> Path:
        return self.folder / f"deferred-{number}.json"


def test_records_come_back_with_all_that_it_takes_to_send_them_again(tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = [(1, "half \ud800", None), (2, "ü", 1.5)]
    records = [
        Record(
            n, row, f"email\0p{n}@shop.io", b'{"n":"\xc3\xbc"}', key=-(2**63), person=7, fingerprint=2**63 - 1
        )
        for n, row in enumerate(rows, 1)
    ]
    report = SyncReport("profiles", "upsert", RejectsFile(tmp_path / "rejects"))
    deferral = Deferral(cast("Any", Files(tmp_path)))
    job = HandedOver("j1", 2, 1, 2, 0, 0.0, kind="profile-suppression-bulk-create-job")
    assert deferral.save(report, [(job, records)], 60.0, HOLDER) == [job]
    note = deferral.load()
    assert (note.jobs, note.holder) == ([job], HOLDER)
    assert deferral.records(0) == records
