"""One run of a sync operator, put together: settings, storage, client, query and engine."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_provider_klaviyo._compat import AirflowException
from airflow_provider_klaviyo.client.endpoints import GET_ACCOUNTS, scopes_of
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConfigurationError,
    KlaviyoError,
    KlaviyoPermissionError,
    KlaviyoRetryableError,
    KlaviyoSyncFailed,
    mask,
)
from airflow_provider_klaviyo.links.klaviyo import push_list_link
from airflow_provider_klaviyo.operators.deferral import Deferral
from airflow_provider_klaviyo.operators.intervals import empty_interval_notice
from airflow_provider_klaviyo.operators.options import SyncOptions
from airflow_provider_klaviyo.operators.progress import check_age, progress_after
from airflow_provider_klaviyo.operators.state import OpenState, claim_of, open_state
from airflow_provider_klaviyo.operators.storage import IN_FLIGHT, RunFiles, map_index_of, storage_path
from airflow_provider_klaviyo.records.mapping import Columns, find_all
from airflow_provider_klaviyo.state.errors import OlderRun
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.owner import BELONGS_TO, Claim
from airflow_provider_klaviyo.sync.batching import Batcher
from airflow_provider_klaviyo.sync.changes import Changes
from airflow_provider_klaviyo.sync.contracts import Means
from airflow_provider_klaviyo.sync.delivery.import_jobs import ImportJobDelivery
from airflow_provider_klaviyo.sync.delivery.resume import settle_open_imports
from airflow_provider_klaviyo.sync.delivery.settling import settle
from airflow_provider_klaviyo.sync.engine import Delivery, Mapper, Sync
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.seen import SeenPeople
from airflow_provider_klaviyo.sync.source.query import Query, UnsuitableQuery
from airflow_provider_klaviyo.sync.source.rows import RowStream

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_klaviyo.operators.base import KlaviyoSyncOperator

log = logging.getLogger(__name__)

_SHOWN_REASONS = 5
_SETTLE_SECONDS = 300.0
"""What a task that comes back from the triggerer may take to read the verdicts, even when the sync's time is up."""


class SyncRun:
    """Runs an operator's sync; ``summary`` is set as soon as there is something to account for.

    ``open_jobs`` are the ids of the jobs that the triggerer is to wait for.
    """

    def __init__(self, operator: KlaviyoSyncOperator, context: Context, stop: Callable[[], bool]) -> None:
        self.summary: dict[str, Any] = {}
        self.open_jobs: Sequence[str] = ()
        self._operator = operator
        self._context = context
        self._stop = stop
        self._options = SyncOptions.of(operator, context)
        self._sync_type = operator.sync_type(self._options)
        self._files = RunFiles.of(context)
        self._report = SyncReport(
            self._sync_type.name,
            self._sync_type.mode,
            RejectsFile(self._files.rejects),
            preview=self._options.is_preview,
            waits=self._options.waits,
        )
        self._deadline = time.time() + self._options.timeout

    def execute(self) -> None:
        """Run the sync and write its report, whatever happens.

        :raises Exception: when the run did not do all that it should have done.
        """
        options, report = self._options, self._report
        claim = self._claim()
        self._files.prune()
        query = Query(options.sql, options.parameters, options.reads_only)
        source = self._sql_hook(options.sql_hook_params)
        rendered = (options.sql, options.parameters)
        if notice := empty_interval_notice(self._operator.templates, rendered, self._context):
            self._notice(notice)
        report.error = "the run has not come to its end"
        report.report_path = self._files.write_report(report.details())
        report.error = None
        with (
            closing(RowStream(source, query)) as rows,
            self._told(claim, self._prepare) as (client, scratch, state),
        ):
            if state:
                self._check_age(state.ledger)
            if state and not options.is_preview:
                settle_open_imports(client, state.ledger, options.poll_interval)
                state.ledger.compact_if_grown()
            if state and options.full_refresh:
                state.ledger.refresh(self._context["ti"].run_id)
            self._run(client, scratch, state, lambda: rows)
            if not options.is_preview and (self.open_jobs or not _shortfall(report, options)):
                rows.commit()
        if not self.open_jobs:
            _judge(report, options)

    def resume(self) -> None:
        """Settle what was left to the triggerer, and write the report.

        :raises Exception: when the run did not do all that it should have done.
        """
        options, report = self._options, self._report
        claim = self._claim()
        deferral = Deferral(self._files)
        note = deferral.load()
        report.restore(note.counts, note.reasons)
        report.started = time.monotonic() - (time.time() - note.started)
        report.report_path = str(self._files.report)
        report.rejects.describe(note.columns, note.key)
        report.rejects.resume()
        self._deadline = max(note.deadline, time.time() + _SETTLE_SECONDS)
        sent_to = note.counts["list_id"]
        with self._told(claim, lambda _: self._sync_type.use_list(sent_to)) as (client, scratch, state):
            means = self._means(client, scratch, state, waits=True)
            self._sync_type.recall(note.remembered)
            delivery = self._sync_type.delivery(means)
            if not isinstance(delivery, ImportJobDelivery):
                msg = f"A {self._sync_type.name} sync has no jobs that could be waited for."
                raise TypeError(msg)
            for number, job in enumerate(note.jobs):
                delivery.take_over(job, deferral.records(number))
            try:
                settle(delivery, report)
            finally:
                report.open_jobs = delivery.open_jobs
            try:
                self._sync_type.conclude(means)
            finally:
                deferral.delete(note.jobs)
        _judge(report, options)

    def _check_age(self, ledger: Ledger) -> None:
        """Stop a run that would turn people back; a preview only says so. What is recorded once is never turned back.

        :raises OlderRun: when the state has come further.
        """
        if self._sync_type.is_recorded_once or self._options.allow_older_run:
            return
        try:
            check_age(self._context, ledger.runs)
        except OlderRun as error:
            if not self._options.is_preview:
                raise
            self._notice(f"A run would stop now. {error}")

    def _notice(self, text: str) -> None:
        """Say something about the whole run, in its log and its report."""
        log.warning("%s", text)
        before = self._report.extra.get("notice")
        self._report.extra["notice"] = f"{before} {text}" if before else text

    def _prepare(self, client: KlaviyoClient) -> None:
        self._sync_type.prepare(client, is_preview=self._options.is_preview)

    @contextmanager
    def _told(
        self, claim: Claim | None, prepare: Callable[[KlaviyoClient], None]
    ) -> Iterator[tuple[KlaviyoClient, Path, OpenState | None]]:
        """Everything that a run needs; what happens with it is written into the report, and into the state."""
        report, hook = self._report, self._operator.hook
        requests, seconds = report.requests, report.seconds_waited
        with (
            tempfile.TemporaryDirectory(prefix="klaviyo-") as folder,
            hook.get_client(deadline=self._deadline, stop=self._stop) as client,
            ExitStack() as stack,
        ):
            state: OpenState | None = None
            try:
                hook.check_account(client)
                prepare(client)
                self._show_list()
                if claim:
                    target = self._target(claim, hook.account_id(client), client)
                    opened = open_state(
                        claim,
                        Path(folder),
                        target,
                        self._options,
                        self._context,
                        self._sync_type.may_change,
                    )
                    state = stack.enter_context(opened)
                yield client, Path(folder), state
            except KlaviyoPermissionError as error:
                more = GET_ACCOUNTS.scopes if claim or hook.names_account else ()
                report.error = mask(_with_scopes(error, self._sync_type.name, more))
                raise type(error)(report.error, status=error.status, errors=error.errors) from error
            except UnsuitableQuery as error:
                report.error = mask(str(error))
                raise KlaviyoConfigurationError(report.error) from error
            except BaseException as error:
                report.error = f"{type(error).__name__}: {mask(str(error))}"
                raise
            finally:
                report.requests = requests + client.requests_sent
                report.seconds_waited = seconds + client.seconds_waited
                self._sync_type.close()
                self._conclude(state)

    def _show_list(self) -> None:
        report = self._report
        report.list_id = self._sync_type.list_id
        if report.list_id or self._operator.operator_extra_links:
            push_list_link(self._context["ti"], report.list_id)

    def _target(self, claim: Claim, account_id: str, client: KlaviyoClient) -> dict[str, str]:
        """What the state is a state of; if any of it differs, it is not the state of this sync."""
        return {
            "state_key": claim.state_key,
            BELONGS_TO: claim.owner,
            "base URL": client.config.base_url,
            "account": account_id,
            "sync type": self._sync_type.name,
            "mode": self._sync_type.mode,
            "key columns": ", ".join(name.lower() for name in self._options.primary_key),
            **self._sync_type.target,
        }

    def _run(
        self,
        client: KlaviyoClient,
        scratch: Path,
        state: OpenState | None,
        rows: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        options, report, sync_type = self._options, self._report, self._sync_type
        ledger = state.ledger if state else None
        defers = options.waits and options.is_deferrable and not options.is_preview
        means = self._means(client, scratch, state, waits=options.waits and not defers)
        sync_type.begin(means)
        changes = sync_type.changes(ledger, is_preview=options.is_preview)
        people = SeenPeople(scratch)
        sync = Sync(
            rows=rows,
            compile_mapper=lambda columns: self._compiled(columns, changes),
            batcher=Batcher(sync_type.limits),
            open_delivery=lambda: self._delivery(means),
            people=people,
            changes=changes,
            report=report,
            duplicate=sync_type.duplicate,
            check_stop=client.check_stop,
            open_hold=lambda: sync_type.hold(means),
        )
        try:
            sync.run()
        finally:
            people.close()
        if defers and isinstance(sync.delivery, ImportJobDelivery) and sync.delivery.open_jobs:
            self.open_jobs = Deferral(self._files).save(
                report, sync.delivery.handed_over(), self._deadline, sync_type.remember(means)
            )
            if state and state.lock:
                state.lock.hold_until(self._deadline + _SETTLE_SECONDS)
            return
        sync_type.conclude(means)
        if not options.is_preview and options.allows(report.rejected, report.rows_read):
            self._open(means)  # who waits for the list's id gets it, also when there was nobody to send

    def _delivery(self, means: Means) -> Delivery:
        if self._options.is_preview:
            return self._sync_type.preview(self._files.preview)
        self._open(means)
        return self._sync_type.delivery(means)

    def _open(self, means: Means) -> None:
        """Have what is sent to made, where it is not there yet; the state is that of it from then on."""
        self._sync_type.open(means.client)
        if self._report.list_id != self._sync_type.list_id:
            self._show_list()
        if means.ledger:
            means.ledger.become({**means.ledger.target, **self._sync_type.target})

    def _means(self, client: KlaviyoClient, scratch: Path, state: OpenState | None, *, waits: bool) -> Means:
        return Means(
            client=client,
            ledger=state.ledger if state else None,
            scratch=scratch,
            report=self._report,
            waits=waits,
            poll_interval=self._options.poll_interval,
            in_flight=storage_path() / IN_FLIGHT,
            task=f"{self._context['ti'].dag_id}.{self._context['ti'].task_id}",
        )

    def _claim(self) -> Claim | None:
        """What gives this run its state; None where the sync keeps none."""
        keeps_state = self._options.only_changes or self._sync_type.keeps_state
        is_alone = (
            self._sync_type.keeps_identity
        )  # whom another's rows do not name would be taken off the list
        return claim_of(self._context, self._options, is_alone=is_alone) if keeps_state else None

    def _compiled(self, columns: Sequence[str], changes: Changes) -> Mapper:
        key = find_all(Columns(columns), self._options.primary_key, "primary_key")
        mapper = self._sync_type.mapper(columns)
        self._report.rejects.describe(columns, key or mapper.key_columns)
        changes.describe(key, mapper.identifier)
        if changes.compares:
            mapper.tell_meanings()
        return mapper

    def _sql_hook(self, parameters: Mapping[str, Any]) -> Any:
        from airflow.providers.common.sql.hooks.sql import DbApiHook

        operator = self._operator
        connection = BaseHook.get_connection(operator.sql_conn_id)
        try:
            hook = connection.get_hook(hook_params=dict(parameters))  # type: ignore[no-untyped-call]
        except (AirflowException, ImportError, TypeError) as error:
            msg = f"sql_conn_id={operator.sql_conn_id!r}: its hook cannot be made: {mask(str(error))}"
            raise KlaviyoConfigurationError(msg) from error
        if not isinstance(hook, DbApiHook):
            msg = (
                f"sql_conn_id={operator.sql_conn_id!r} is a connection of type {connection.conn_type!r}, "
                "which is no SQL database: its hook is not a DbApiHook."
            )
            raise KlaviyoConfigurationError(msg)
        return hook

    def _conclude(self, state: OpenState | None) -> None:
        report = self._report
        report.duration = time.monotonic() - report.started
        report.extra |= self._sync_type.tell()
        report.rejects.close()
        self.summary = report.as_dict()
        try:
            self._files.write_report(report.details())
            if state and state.lock:
                state.ledger.record_run(_run_of(report, self._context, state.ledger.runs))
        except Exception:
            if not report.error:  # else that error is the one to be seen
                raise
            log.exception("The report could not be written.")
        if self.open_jobs:
            return
        log.info("%s Report: %s", report, report.report_path)
        if notice := report.extra.get("notice"):
            log.warning("%s", notice)
        for (outcome, field, reason), rows in report.reasons.most_common(_SHOWN_REASONS):
            log.info("%s %s: %s%s", f"{rows:,}", outcome, f"{field}: " if field else "", reason)
        if report.rejects.written_to:
            log.info("Rows that were not sent as they are, with their reasons: %s", report.rejects.written_to)


def _run_of(report: SyncReport, context: Context, before: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the state remembers of a run.

    :param before: the runs before it.
    """
    ti = context["ti"]
    return {
        "run": ti.run_id,
        "try": ti.try_number,
        "map_index": map_index_of(ti),
        "ended": time.time(),
        "succeeded": report.error is None and not report.pending,
        "error": report.error,
        "progress": progress_after(context, before, is_success=report.error is None),
        **{
            name: value
            for name, value in report.as_dict().items()
            if name not in ("sync_type", "mode", "preview")
        },
    }


def _judge(report: SyncReport, options: SyncOptions) -> None:
    """Fail a run that came to its end, but not to the end that was asked for."""
    if error := _shortfall(report, options):
        raise error


def _shortfall(report: SyncReport, options: SyncOptions) -> KlaviyoError | None:
    if report.pending and options.waits:
        msg = (
            f"{report.pending:,} of {report.rows_read:,} rows have no verdict from Klaviyo, although the run is over "
            f"({report.rejected:,} were rejected); a retry sends them again. "
            f"They and the reasons are in {report.rejects.written_to}."
        )
        return KlaviyoRetryableError(msg)
    if not options.allows(report.rejected, report.rows_read):
        reasons = [reason for reason in report.reasons.most_common() if reason[0][0] == "rejected"]
        worst = "; ".join(f"{field}: {reason} ({rows:,} rows)" for (_, field, reason), rows in reasons[:3])
        others = "would be" if options.is_preview else "were"
        msg = (
            f"{report.rejected:,} of {report.rows_read:,} rows were rejected, and max_rejected={options.max_rejected} "
            f"allows {options.most_rejected(report.rows_read):,}. All other rows {others} sent. Most: {worst}. "
            f"The rejected rows and their reasons are in {report.rejects.written_to}."
        )
        return KlaviyoSyncFailed(msg, report.as_dict())
    return None


def _with_scopes(error: KlaviyoPermissionError, sync_type: str, more: Sequence[str]) -> str:
    scopes = sorted({*scopes_of(sync_type), *more})
    return f"{error} The {sync_type} sync needs a key with all of: {', '.join(scopes)}."
