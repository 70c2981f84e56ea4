"""How far a long run is, for the log."""

from __future__ import annotations

import logging
from typing import NamedTuple

from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.wording import counted

log = logging.getLogger(__name__)

INTERVAL = 30.0
"""Seconds between two lines."""

_MINUTES_FROM = 120.0
"""Seconds from which a time is told in minutes."""


class _Mark(NamedTuple):
    """How many rows were read, are with Klaviyo or were taken by it, and are out of our hands, at a moment."""

    moment: float
    read: int
    sent: int
    handled: int


class Progress:
    """Logs a line every ``INTERVAL`` seconds by the clock of the report, however often it is asked.

    :param ceiling: rows that Klaviyo takes in a second, at most; None where no one endpoint says.
    """

    def __init__(self, report: SyncReport, ceiling: float | None) -> None:
        self._report = report
        self._ceiling = ceiling
        self._last = self._mark(0)

    def show(self) -> None:
        """Log a line if the last one is long enough ago; always from the same thread."""
        now = self._mark(self._last.sent)
        if now.moment - self._last.moment >= INTERVAL:
            log.info("%s", self._line(self._last, now))
            self._last = now

    def _mark(self, sent_before: int) -> _Mark:
        report = self._report
        sent = report.accepted + sum(job.profiles for job in list(report.open_jobs))
        sent = max(sent, sent_before)  # between the end of a job and its verdicts, its rows are in neither
        handled = sent + report.unchanged + report.skipped + report.rejected
        return _Mark(report.clock.monotonic(), max(report.rows_read, handled), sent, handled)

    def _line(self, before: _Mark, now: _Mark) -> str:
        report, seconds = self._report, now.moment - before.moment
        read, sent, handled = ((new - old) / seconds for new, old in zip(now[1:], before[1:], strict=True))
        of_total = f" of {report.rows_in_all:,}" if report.rows_in_all else ""
        noun = "row" if now.read == 1 and not of_total else "rows"
        parts = [f"{now.read:,}{of_total} {noun} read, {now.sent:,} sent"]
        if (rate := max(read, handled)) > 0:
            parts.append(f"{rate:,.0f} a second" if rate >= 1 else f"{rate * 60:,.0f} a minute")
        if sent > 0 and self._ceiling:
            share = sent / self._ceiling
            parts.append(
                f"{share:.0%} of Klaviyo's limit" if share >= 0.01 else "below 1% of Klaviyo's limit"
            )
        if report.rows_in_all and handled > 0 and now.handled < report.rows_in_all:
            parts.append(f"about {_in_words((report.rows_in_all - now.handled) / handled)} left")
        if report.open_jobs:
            parts.append(f"{counted(len(report.open_jobs), 'job')} open")
        if report.rejected:
            parts.append(f"{report.rejected:,} rejected")
        parts.append(counted(report.requests, "request"))
        return f"After {_in_words(report.age)}: {', '.join(parts)}."


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _MINUTES_FROM else f"{seconds / 60:,.0f} min"
