"""What the log of a task says, read as a person does."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.exceptions import KlaviyoStopped
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.sync import progress, report_file
from tests.integration.conftest import MAPPING, SQL, Shop, Sync, run_operator

TOLD = "airflow_provider_klaviyo"


def test_a_line_now_and_then_says_how_far_it_is_and_none_is_for_each_job(
    klaviyo: Emulator,
    shop: Shop,
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.1)
    monkeypatch.setattr(report_file, "_POINT_SECONDS", 0.01)
    klaviyo.set(job_seconds=0.6)
    shop.fill_with_people(50)
    with caplog.at_level(logging.DEBUG, TOLD):
        sync()
    told = [record for record in caplog.records if record.levelno >= logging.INFO]
    lines = [record.getMessage() for record in told if record.name == progress.__name__]
    assert len(lines) > 1
    told_of_job = (
        r"After \d+ s: 50 of 50 rows read, 50 sent, (\d+ a second, .* limit, )?1 job open, \d+ requests?\."
    )
    assert any(re.fullmatch(told_of_job, line) for line in lines)
    sent = [int(line.partition(" sent")[0].rpartition(" ")[2]) for line in lines]
    assert sent == sorted(sent), "what was sent is not unsent while its outcome is read"
    assert any(record.getMessage().startswith("Import job") for record in caplog.records)
    assert not any(record.getMessage().startswith("Import job") for record in told)


def test_the_end_names_rows_reasons_and_files_on_lines_of_their_own_at_levels_that_a_filter_can_use(
    klaviyo: Emulator, shop: Shop, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    shop.fill_with_people(1)
    shop.fill([(2, "ben", "12", "Ben", "x"), (3, "p1@shop.io", None, "Cyd", "x")])
    with caplog.at_level(logging.INFO, TOLD):
        summary = sync(mapping={"email": "email", "phone_number": "phone"}, max_rejected=1).summary
    another = "another row of this run names the same person, and the first one counts"
    no_country = "its country code is missing: write + and the country code in front, or set phone_region"
    ends = [record for record in caplog.records if record.name.endswith("accounting")]
    assert re.fullmatch(
        r"The profiles sync read 3 rows: 1 accepted, 1 skipped, 1 rejected, in [\d.]+ s with \d+ requests\.",
        ends[0].getMessage(),
    )
    assert {(record.levelname, record.getMessage()) for record in ends[1:]} == {
        ("INFO", f"skipped: {another} (in 1 row)"),
        ("WARNING", "rejected: email: not an e-mail address: it has no @ (in 1 row)"),
        ("WARNING", f"rejected: phone_number: {no_country} (in 1 row)"),
        ("WARNING", f"Not sent as they are, with the reasons: {summary['rejected_path']}"),
        ("INFO", f"Report: {summary['report_path']}"),
    }


def test_one_row_is_no_rows(
    klaviyo: Emulator, shop: Shop, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    shop.fill_with_people(1)
    with caplog.at_level(logging.INFO, TOLD):
        sync()
    assert "read 1 row: 1 accepted" in caplog.text
    assert not re.search(r"\b1 (rows|requests|jobs|profiles|people)\b", caplog.text)


@contextmanager
def hearing(hear: Callable[[str], None]) -> Iterator[None]:
    """Do something as soon as something is logged."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            hear(record.getMessage())

    ear, logger = Ear(), logging.getLogger(TOLD)
    logger.addHandler(ear)
    yield
    logger.removeHandler(ear)


def test_a_task_that_is_killed_tells_its_counts_before_it_writes_down_its_rows(
    klaviyo: Emulator,
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    klaviyo.set(job_seconds=60)
    shop.fill_with_people(20)
    task = KlaviyoSyncProfilesOperator(
        task_id="sync_customers", sql=SQL, sql_conn_id="shop", mapping=MAPPING, timeout=60
    )
    then: list[dict[str, Any]] = []

    def hear(message: str) -> None:
        if message.startswith("Import job"):
            task.on_kill()
        if message.startswith("Stopped."):
            (report,) = (tmp_path / "storage").rglob("*.report.json")
            assert not list((tmp_path / "storage").rglob("*.rejects.jsonl"))
            then.append(json.loads(report.read_bytes()))

    with caplog.at_level(logging.DEBUG, TOLD), hearing(hear):
        run = run_operator(task)
    assert isinstance(run.error, KlaviyoStopped)
    (report,) = then
    assert (report["status"], report["rows_read"], report["pending"]) == ("failed", 20, 20)
    assert report["failure"] == "KlaviyoStopped: The run was told to stop."
    assert "Stopped. The profiles sync read 20 rows: 0 accepted, 20 pending" in caplog.text
    assert len(run.rejects) == 20, "the rows come after"


def test_what_ended_a_run_is_told_shortly_of_each_row_and_wholly_of_the_run(
    klaviyo: Emulator, shop: Shop, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    klaviyo.set(job_seconds=60)
    shop.fill_with_people(2)
    run = sync(timeout=1)
    assert "The next run sends these rows again" in str(run.error)
    assert len(run.report["error"]) > 300
    assert all(len(line["reason"]) < 300 for line in run.rejects)
    assert run.rejects[0]["reason"].endswith("…)")
