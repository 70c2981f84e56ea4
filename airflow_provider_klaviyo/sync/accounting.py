"""The account of a run: what is written down when it is over, whatever ended it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import KlaviyoError, KlaviyoStopped
from airflow_provider_klaviyo.masking import words_of
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.age import progress_after
from airflow_provider_klaviyo.sync.contracts import Session
from airflow_provider_klaviyo.sync.delivery.settling import Verdicts
from airflow_provider_klaviyo.sync.environment import Environment
from airflow_provider_klaviyo.sync.outcomes import OpenJob, Outcome
from airflow_provider_klaviyo.sync.progress import Progress
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.report_file import ReportFile
from airflow_provider_klaviyo.sync.rows_left import RowsLeft
from airflow_provider_klaviyo.sync.source.query import QueryError
from airflow_provider_klaviyo.wording import counted

log = logging.getLogger(__name__)

_SHOWN_REASONS = 5


class Account:
    """Counts and writes down what became of a run.

    ``close`` may be called again where a timeout broke into it: it goes on with what is left.

    ``session`` is what the run syncs by, ``rows_left`` what its first part has left, and ``open_jobs`` tells what
    Klaviyo is at work on, as soon as there is one.
    """

    def __init__(
        self, report: SyncReport, file: ReportFile, environment: Environment, blank_extras: Mapping[str, Any]
    ) -> None:
        self.session: Session | None = None
        self.rows_left: RowsLeft | None = None
        self.open_jobs: Callable[[], Iterable[OpenJob]] = tuple
        self.is_closed = False
        self._report = report
        self._file = file
        self._environment = environment
        self._blank_extras = blank_extras
        self._client: KlaviyoClient | None = None
        self._requests_before, self._seconds_before = 0, 0.0
        self._told: Verdicts | None = None
        self._is_remembered = False

    def count_from(self, client: KlaviyoClient) -> None:
        """Count what a client sends on top of what the report has already."""
        self._requests_before, self._seconds_before = self._report.requests, self._report.seconds_waited
        self._client = client

    def begin(self) -> None:
        """Keep the report fresh while the run goes on; after ``count_from``."""
        if self._client:
            ceiling = self._file.ceiling
            progress = Progress(self._report, ceiling["rows_a_second"] if ceiling else None)
            self._file.watch(self._client, lambda: self._go_on(progress))

    def _go_on(self, progress: Progress) -> None:
        self.count()
        self._report.open_jobs = list(self.open_jobs())
        progress.show()

    def count(self) -> None:
        """Write the requests so far into the report."""
        if self._client:
            self._report.requests = self._requests_before + self._client.requests_sent
            self._report.seconds_waited = self._seconds_before + self._client.seconds_waited

    def notice(self, text: str) -> None:
        """Say something about the whole run, in its log and its report."""
        log.warning("%s", text)
        before = self._report.extra.get("notice")
        self._report.extra["notice"] = f"{before} {text}" if before else text

    def stopping(self, error: BaseException) -> None:
        """Say what has become of a run that is killed, before its rows have their lines: it may have five seconds.

        :param error: what ends the run; one that ends it in an orderly way leaves time for everything.
        """
        if isinstance(error, (KlaviyoError, QueryError)) and not isinstance(error, KlaviyoStopped):
            return
        report = self._report
        self._file.end()
        self.count()
        report.error = f"{type(error).__name__}: {words_of(error)}"
        report.duration = report.age
        report.extra = {**self._blank_extras, **report.extra}
        self._tried(self._file.write_stopped, "The report could not be written.")
        log.warning("Stopped. %s", report)
        log.warning("Report: %s", report.report_path)

    def close(self, ledger: Ledger | None, *, is_over: bool) -> None:
        """Write down what became of the run, once; what cannot be written keeps nothing else from being written.

        :param ledger: the state that is to remember it, if there is one.
        :param is_over: whether nobody else is to settle jobs of it.
        :raises Exception: what kept something from being written, where nothing went wrong before.
        """
        if self.is_closed:
            return
        report = self._report
        self._file.end()
        self.count()
        if self.rows_left:
            report.recover()
            self._told = self._told or Verdicts(report)
            self._told.add(self.rows_left.untold(f"the run stopped before ({report.error})"))
        if self.session:
            self.session.close()
        report.duration = report.age
        report.extra |= self.session.report_extras() if self.session else self._blank_extras
        error = self._tried(report.rejects.close, "The end of the rejects file could not be written.")
        error = (
            self._tried(lambda: self._file.close(ledger, is_over=is_over), "The report could not be written.")
            or error
        )
        if ledger and not self._is_remembered:
            self._is_remembered = True
            error = self._tried(lambda: self._remember(ledger), "The run was not noted.") or error
        if is_over:
            self._log()
        self.is_closed = True
        if error:
            raise error

    def _tried(self, write: Callable[[], None], what: str) -> Exception | None:
        """Write something; the error, where it is the first of the run and so the one to be seen."""
        try:
            write()
        except Exception as error:
            if not self._report.error:
                self._report.error = f"{type(error).__name__}: {words_of(error)}"
                return error
            log.warning("%s %s", what, words_of(error))
        return None

    def _remember(self, ledger: Ledger) -> None:
        ledger.record_run(self._as_remembered(ledger.runs))

    def _as_remembered(self, before: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What the state remembers of this run, after those before."""
        report, run, now = self._report, self._environment.run, self._environment.clock.now()
        summary = {
            name: value
            for name, value in report.as_dict().items()
            if name not in ("sync_type", "mode", "preview")
        }
        return {
            "run": run.run_id,
            "try": run.try_number,
            "map_index": run.map_index,
            "ended": now,
            "succeeded": report.error is None and not report.pending,
            "error": report.error,
            "progress": progress_after(run, before, now=now, is_success=report.error is None),
            **summary,
        }

    def _log(self) -> None:
        report = self._report
        log.info("%s", report)
        if missing := report.rows_without_line:
            log.warning("%s no line that says why not sent.", counted(missing, "row has", "rows have"))
        for (outcome, place, reason), rows in report.reasons.most_common(_SHOWN_REASONS):
            where = f"{place}: " if place else ""
            log.log(_level(outcome), "%s: %s%s (in %s)", outcome, where, reason, counted(rows, "row"))
        if report.rejects.written_to:
            level = max((_level(outcome) for outcome, *_ in report.reasons), default=logging.INFO)
            log.log(level, "Not sent as they are, with the reasons: %s", report.rejects.written_to)
        log.info("Report: %s", report.report_path)


def _level(outcome: str) -> int:
    """What was skipped was skipped on purpose; all else is for somebody to look at."""
    return logging.INFO if outcome == Outcome.SKIPPED else logging.WARNING
