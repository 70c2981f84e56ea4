"""One run of a sync operator, put together: settings, storage, client, query and engine."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import BaseHook

from airflow_provider_klaviyo._compat import AirflowException
from airflow_provider_klaviyo.client.endpoints import scopes_of
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConfigurationError,
    KlaviyoPermissionError,
    KlaviyoRetryableError,
    KlaviyoSyncFailed,
    mask,
)
from airflow_provider_klaviyo.operators.options import SyncOptions
from airflow_provider_klaviyo.operators.storage import RunFiles
from airflow_provider_klaviyo.records.mapping import Columns, find_all
from airflow_provider_klaviyo.sync.batching import Batcher, BatchLimits
from airflow_provider_klaviyo.sync.engine import Delivery, Mapper, Sync
from airflow_provider_klaviyo.sync.people import SeenPeople
from airflow_provider_klaviyo.sync.preview import PathOf, PreviewDelivery
from airflow_provider_klaviyo.sync.query import Query, UnsuitableQuery
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.rows import RowStream
from airflow_provider_klaviyo.sync.spool import Spool

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_klaviyo.operators.base import KlaviyoSyncOperator

log = logging.getLogger(__name__)

_SHOWN_REASONS = 5


class SyncType(Protocol):
    """What a sync type brings to the run."""

    @property
    def name(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def limits(self) -> BatchLimits: ...
    def mapper(self, columns: Sequence[str]) -> Mapper: ...
    def delivery(
        self, client: KlaviyoClient, spool: Spool, *, waits: bool, poll_interval: float
    ) -> Delivery: ...
    def preview(self, path_of: PathOf) -> PreviewDelivery: ...


class SyncRun:
    """Runs an operator's sync; ``summary`` is set as soon as there is something to account for."""

    def __init__(self, operator: KlaviyoSyncOperator, context: Context, stop: Callable[[], bool]) -> None:
        self.summary: dict[str, Any] = {}
        self._operator = operator
        self._context = context
        self._stop = stop

    def execute(self) -> None:
        """Run the sync and write its report, whatever happens.

        :raises Exception: when the run did not do all that it should have done.
        """
        options = SyncOptions.of(self._operator)
        sync_type = self._operator.sync_type(options)
        files = RunFiles.of(self._context)
        files.prune()
        query = Query(options.sql, options.parameters)
        source = self._sql_hook(options.sql_hook_params)
        report = SyncReport(
            sync_type.name,
            sync_type.mode,
            RejectsFile(files.rejects),
            preview=options.is_preview,
            waits=options.waits,
        )
        report.error = "the run has not come to its end"
        report.report_path = files.write_report(report.details())
        report.error = None
        with self._operator.hook.get_client(
            deadline=time.time() + options.timeout, stop=self._stop
        ) as client:
            try:
                self._operator.hook.check_account(client)
                self._run(options, sync_type, files, report, client, lambda: RowStream(source, query))
            except KlaviyoPermissionError as error:
                report.error = mask(_with_scopes(error, sync_type.name))
                raise type(error)(report.error, status=error.status, errors=error.errors) from error
            except UnsuitableQuery as error:
                report.error = mask(str(error))
                raise KlaviyoConfigurationError(report.error) from error
            except BaseException as error:
                report.error = f"{type(error).__name__}: {mask(str(error))}"
                raise
            finally:
                self._conclude(report, files, client)
        _judge(report, options)

    def _run(
        self,
        options: SyncOptions,
        sync_type: SyncType,
        files: RunFiles,
        report: SyncReport,
        client: KlaviyoClient,
        rows: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="klaviyo-") as folder:
            scratch = Path(folder)
            delivery: Delivery
            if options.is_preview:
                delivery = sync_type.preview(files.preview)
            else:
                delivery = sync_type.delivery(
                    client, Spool(scratch), waits=options.waits, poll_interval=options.poll_interval
                )
            people = SeenPeople(scratch)
            try:
                Sync(
                    rows=rows,
                    compile_mapper=lambda columns: _compiled(sync_type, columns, options, report),
                    batcher=Batcher(sync_type.limits),
                    delivery=delivery,
                    people=people,
                    report=report,
                    check_stop=client.check_stop,
                ).run()
            finally:
                people.close()

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

    def _conclude(self, report: SyncReport, files: RunFiles, client: KlaviyoClient) -> None:
        report.duration = time.monotonic() - report.started
        report.requests = client.requests_sent
        report.seconds_waited = client.seconds_waited
        report.rejects.close()
        self.summary = report.as_dict()
        try:
            files.write_report(report.details())
        except Exception:
            if not report.error:  # else that error is the one to be seen
                raise
            log.exception("The report could not be written.")
        log.info("%s Report: %s", report, report.report_path)
        for (outcome, field, reason), rows in report.reasons.most_common(_SHOWN_REASONS):
            log.info("%s %s: %s%s", f"{rows:,}", outcome, f"{field}: " if field else "", reason)
        if report.rejects.written_to:
            log.info("Rows that were not sent as they are, with their reasons: %s", report.rejects.written_to)


def _compiled(
    sync_type: SyncType, columns: Sequence[str], options: SyncOptions, report: SyncReport
) -> Mapper:
    key = find_all(Columns(columns), options.primary_key, "primary_key")
    mapper = sync_type.mapper(columns)
    report.rejects.describe(columns, key or mapper.key_columns)
    return mapper


def _judge(report: SyncReport, options: SyncOptions) -> None:
    """Fail a run that came to its end, but not to the end that was asked for."""
    if report.pending and options.waits:
        msg = (
            f"{report.pending:,} of {report.rows_read:,} rows have no verdict from Klaviyo, although the run is over "
            f"({report.rejected:,} were rejected); a retry sends them again. "
            f"They and the reasons are in {report.rejects.written_to}."
        )
        raise KlaviyoRetryableError(msg)
    if not options.allows(report.rejected, report.rows_read):
        reasons = [reason for reason in report.reasons.most_common() if reason[0][0] == "rejected"]
        worst = "; ".join(f"{field}: {reason} ({rows:,} rows)" for (_, field, reason), rows in reasons[:3])
        msg = (
            f"{report.rejected:,} of {report.rows_read:,} rows were rejected, and max_rejected={options.max_rejected} "
            f"allows {options.most_rejected(report.rows_read):,}. All other rows were sent. Most: {worst}. "
            f"The rejected rows and their reasons are in {report.rejects.written_to}."
        )
        raise KlaviyoSyncFailed(msg, report.as_dict())


def _with_scopes(error: KlaviyoPermissionError, sync_type: str) -> str:
    return f"{error} The {sync_type} sync needs a key with all of: {', '.join(scopes_of(sync_type))}."
