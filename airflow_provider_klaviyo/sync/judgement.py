"""Whether a run that came to its end came to the end that was asked for."""

from __future__ import annotations

from airflow_provider_klaviyo.exceptions import KlaviyoError, KlaviyoRetryableError, KlaviyoSyncFailed
from airflow_provider_klaviyo.sync.options import SyncOptions
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.wording import counted


def judge(report: SyncReport, options: SyncOptions) -> None:
    """Fail a run that fell short.

    :raises KlaviyoError: what ``shortfall`` says.
    """
    if error := shortfall(report, options):
        raise error


def shortfall(report: SyncReport, options: SyncOptions) -> KlaviyoError | None:
    """What a run fell short of: rows without a verdict, or more rejected rows than ``max_rejected``; None if nothing.

    :returns: a ``KlaviyoRetryableError`` where a retry may help, else a ``KlaviyoSyncFailed``.
    """
    if report.pending and options.waits:
        msg = (
            f"{report.pending:,} of {report.rows_read:,} rows have no verdict from Klaviyo, although the run is over "
            f"({report.rejected:,} were rejected); a retry sends them again. "
            f"They and the reasons are in {report.rejects.written_to}."
        )
        return KlaviyoRetryableError(msg)
    if options.allows(report.rejected, report.rows_read):
        return None
    reasons = [reason for reason in report.reasons.most_common() if reason[0][0] == "rejected"]
    worst = "; ".join(
        f"{field}: {reason} ({counted(rows, 'row')})" for (_, field, reason), rows in reasons[:3]
    )
    others = "would be" if options.is_preview else "were"
    not_done = f" {report.not_done}" if report.not_done else ""
    msg = (
        f"{report.rejected:,} of {report.rows_read:,} rows were rejected, and max_rejected={options.max_rejected} "
        f"allows {options.max_rejected_rows(report.rows_read):,}. All other rows {others} sent.{not_done} "
        f"Most: {worst}. The rejected rows and their reasons are in {report.rejects.written_to}."
    )
    return KlaviyoSyncFailed(msg, report.as_dict())
