"""How far a long run is, for the log."""

from __future__ import annotations

import logging

from airflow_provider_klaviyo.sync.report import SyncReport

log = logging.getLogger(__name__)

INTERVAL = 15.0
"""Seconds between two lines."""


class Progress:
    """Logs rows, rate, rejects and, when the total is known, the time left.

    :param total: rows of the result; None when the database does not tell before the end.
    """

    def __init__(self, report: SyncReport, total: int | None) -> None:
        self._report = report
        self._total = total
        self._started = self._shown = report.clock.monotonic()

    def show(self) -> None:
        """Log a line if the last one is long enough ago."""
        now = self._report.clock.monotonic()
        if now - self._shown >= INTERVAL:
            self._shown = now
            log.info("%s", self._line(now - self._started))

    def _line(self, seconds: float) -> str:
        report = self._report
        rate = report.rows_read / seconds if seconds else 0.0
        of_total = f" of {self._total:,}" if self._total else ""
        line = (
            f"{report.rows_read:,}{of_total} rows read ({rate:,.0f} a second): {report.accepted:,} accepted, "
            f"{report.skipped:,} skipped, {report.rejected:,} rejected"
        )
        if self._total and rate:
            line += f"; about {max(self._total - report.rows_read, 0) / rate:,.0f} s left"
        return line
