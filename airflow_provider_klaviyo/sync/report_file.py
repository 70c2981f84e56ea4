"""The report as a file, in a format that others may read: ``docs/report.md`` says what is in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_klaviyo import __version__
from airflow_provider_klaviyo.client.clock import time_of_day
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.traffic import Traffic, together
from airflow_provider_klaviyo.masking import mask, words_of
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.contracts import SyncType
from airflow_provider_klaviyo.sync.judgement import shortfall
from airflow_provider_klaviyo.sync.options import SyncOptions
from airflow_provider_klaviyo.sync.refresher import Refresher
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.run_files import RunFiles
from airflow_provider_klaviyo.sync.summary import OUTCOMES
from airflow_provider_klaviyo.sync.task_run import TaskRun
from airflow_provider_klaviyo.sync.throughput import Point, Throughput

log = logging.getLogger(__name__)

FORMAT = 1
"""A release that adds something keeps the number; one that changes what something means takes the next."""

RUNNING, WAITING, SUCCEEDED, FAILED = "running", "waiting", "succeeded", "failed"

UNFINISHED = "the run has not come to its end"

_POINT_SECONDS = 1.0
_WRITE_SECONDS = 5.0

_VERDICTS = tuple(name for name in OUTCOMES if name != "pending")


class ReportFile:
    """Writes the report of a run: when it begins, every few seconds, and when it is over.

    :param files: where it goes.
    """

    def __init__(
        self, report: SyncReport, files: RunFiles, run: TaskRun, sync_type: SyncType, options: SyncOptions
    ) -> None:
        self.final: Mapping[str, Any] | None = None
        """What was written of a run that is over."""
        self._report = report
        self._files = files
        self._run = run
        self._sync_type = sync_type
        self._options = options
        self._traffic = Traffic()
        self._earlier = self._traffic.told()
        self._throughput = Throughput()
        self._count: Callable[[], None] = lambda: None
        self._refresher = Refresher(self._refresh, _POINT_SECONDS)
        self._written = report.clock.monotonic()

    def begin(self) -> None:
        """Write the report of a run that has only begun: all that is left of one that is killed soon.

        :raises KlaviyoError: when it cannot be written.
        """
        self._report.report_path = self._files.write_report(self._told_so_far())

    def resume(self) -> None:
        """Go on with what the first part of the run has written, as far as that can be read."""
        try:
            told = json.loads(self._files.report.read_bytes())
            self._earlier = together(told["traffic"], Traffic().told())
            self._report.extra |= {name: told[name] for name in ("mapping",) if name in told}
            self._throughput.points = [Point(*point) for point in told["throughput"]["points"]]
            if notice := told.get("notice"):
                self._report.extra["notice"] = notice
            self._report.examples = {
                (each["outcome"], each["field"], each["reason"]): each["examples"] for each in told["reasons"]
            }
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.debug("What the report said before is not taken on: %s", error)

    def end_wait(self, error: str) -> None:
        """Say why nobody comes back to a run that waits: what it has left for that cannot be read.

        :param error: why, without people.
        """
        try:
            told = json.loads(self._files.report.read_bytes())
            if told["status"] == WAITING:
                ended = {"status": FAILED, "written_at": _written(self._report.clock.now())}
                self._files.write_report(told | ended | {"error": error, "failure": error})
        except Exception as failure:  # whatever a storage may raise: what ended the run is to be seen
            log.warning("The report could not be written. %s", words_of(failure))

    def watch(self, client: KlaviyoClient, count: Callable[[], None]) -> None:
        """Write every few seconds what there is to say.

        :param client: what the run sends by.
        :param count: brings the report up to date; called every second.
        """
        self._traffic, self._count = client.traffic, count
        if not self._throughput.points:
            self._note_point()
        self._refresher.begin()

    def end(self) -> None:
        """Write nothing any more until ``close``."""
        self._refresher.end()

    def write_stopped(self) -> None:
        """Write the report of a run that ends before its rows have their lines; after ``end``.

        :raises KlaviyoError: when it cannot be written.
        """
        failure = mask(str(self._report.error))
        self._files.write_report(self._told(FAILED) | {"failure": failure})

    def close(self, ledger: Ledger | None, *, is_over: bool) -> None:
        """Write the report of a run that is over, or is left to the triggerer; after ``end``.

        :param ledger: the state that the run wrote, if there is one.
        :raises KlaviyoError: when it cannot be written.
        """
        report = self._report
        self._note_point()
        failure = report.error or shortfall(report, self._options) if is_over else report.error
        status = WAITING if not is_over else FAILED if failure else SUCCEEDED
        told = self._told(status) | {"failure": mask(str(failure)) if failure else None}
        if ledger:
            told["state"] = _state(ledger)
        self.final = told if is_over else None
        report.report_path = self._files.write_report(told | {"report_path": str(self._files.report)})

    def _refresh(self) -> None:
        self._count()
        self._note_point()
        now = self._report.clock.monotonic()
        if now - self._written >= _WRITE_SECONDS:
            self._files.write_report(self._told_so_far())
            self._written = now

    def _note_point(self) -> None:
        report = self._report
        settled = sum(getattr(report, name) for name in _VERDICTS)
        read = max(report.rows_read, settled)
        self._throughput.note(Point(round(report.age, 1), read, settled, report.requests))

    def _told_so_far(self) -> dict[str, Any]:
        """What there is to say of a run that goes on: in another thread, so that counts are made to add up."""
        told = self._told(RUNNING)
        settled = sum(told[name] for name in _VERDICTS)
        told["rows_read"] = max(told["rows_read"], settled)
        told["pending"] = told["rows_read"] - settled
        told["duration"] = round(self._report.age, 3)
        told["error"] = told["error"] or UNFINISHED
        return told

    def _told(self, status: str) -> dict[str, Any]:
        report, clock = self._report, self._report.clock
        return {
            "format": FORMAT,
            "package_version": __version__,
            "status": status,
            "started_at": _written(time_of_day(clock, report.started)),
            "written_at": _written(clock.now()),
            "task": self._run.told,
            "parameters": self._parameters(),
            **report.details(),
            "failure": None,
            "traffic": together(self._earlier, self._traffic.told()),
            "throughput": {"ceiling": self.ceiling, "points": self._throughput.points},
            "state": None,
        }

    def _parameters(self) -> dict[str, Any]:
        """What decides how the counts are to be read; never the query or its parameters, which may name people."""
        options = self._options
        return {
            "match_by": options.match_by,
            "primary_key": list(options.primary_key),
            "only_changes": options.only_changes,
            "full_refresh": options.full_refresh,
            "allow_older_run": options.allow_older_run,
            "drops_invalid": options.drops_invalid,
            "max_rejected": options.max_rejected,
            "wait_for_completion": options.waits,
            "deferrable": options.is_deferrable,
            "backfill_run": options.is_backfill_run,
            **self._sync_type.told_parameters,
        }

    @property
    def ceiling(self) -> dict[str, Any] | None:
        """What Klaviyo takes of these batches; None where no one request says."""
        most = self._sync_type.limits.max_records
        for endpoint in self._sync_type.endpoints:
            if endpoint.records and endpoint.max_records == most:
                steady = endpoint.rates[1]
                return {"endpoint": endpoint.name, "rows_a_second": most * steady.limit / steady.seconds}
        return None


def _written(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")


def _state(ledger: Ledger) -> dict[str, Any]:
    """What the state holds, without people."""
    rows = {status.name.lower(): count for status, count in ledger.counts().items()}
    return {"target": dict(ledger.target), "rows": rows}
