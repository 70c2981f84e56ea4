"""Files in a store that takes only a part of them and says that all is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
from airflow_provider_klaviyo.records.record import Problem
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.remote import RemotePath
from airflow_provider_klaviyo.sync.deferral import Deferral
from airflow_provider_klaviyo.sync.outcomes import Outcome, Verdict
from airflow_provider_klaviyo.sync.rejects import RejectsFile, write_private
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.run_files import RunFiles
from tests.unit.state.test_remote import StoresHalf

HOLDER = Holder("shop", "sync", "monday", -1, 1, "here", 1)


def report(files: RunFiles) -> None:
    files.write_report({"rows_read": 1})


def rejects(files: RunFiles) -> None:
    file = RejectsFile(files.rejects)
    file.describe(["id"], [0])
    file.write(Verdict(1, (1,), Outcome.REJECTED, (Problem("email", "no address"),)))
    file.close()


def deferral(files: RunFiles) -> None:
    Deferral(files).save(SyncReport("profiles", "upsert", RejectsFile(files.rejects)), [], 60.0, HOLDER)


def preview(files: RunFiles) -> None:
    write_private(files.preview(1), b'{"data": {}}')


@pytest.mark.parametrize("write", [report, rejects, deferral, preview])
def test_half_a_file_is_an_error(write: Callable[[RunFiles], Any], tmp_path: Path) -> None:
    folder = RemotePath(StoresHalf(), str(tmp_path), "s3://bucket")
    with pytest.raises((KlaviyoRetryableError, OSError), match="bytes were stored"):
        write(RunFiles(folder, "monday.try1"))
