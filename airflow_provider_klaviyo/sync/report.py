"""The account of a run: every row, by outcome."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_klaviyo.client.clock import Clock, SystemClock
from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.masking import mask
from airflow_provider_klaviyo.sync.outcomes import OpenJob, Outcome, Verdict, reason_told
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.summary import SyncSummary, told_counts
from airflow_provider_klaviyo.wording import counted

log = logging.getLogger(__name__)

_JOB = re.compile(r"\bjob \S+(?= (?:is|does|had|cannot)\b)")  # one reason for all jobs of a kind
_ROW = re.compile(r"row \d+ of this run")
_MAX_REASONS = 200
_MAX_EXAMPLES = 3
_COUNTS = (
    "rows_read",
    "accepted",
    "unchanged_in_state",
    "unchanged_in_klaviyo",
    "taken_earlier",
    "skipped",
    "rejected",
    "warnings",
    "removed",
    "requests",
    "seconds_waited",
    "list_id",
)
_TOLD = "pending_told"
_OTHER = "other reasons (see the rejects file)"


@dataclass(slots=True)
class SyncReport:
    """Counts rows by outcome and writes down every row that was neither accepted nor unchanged.

    The law: ``rows_read == accepted + unchanged + skipped + rejected + pending``.
    """

    sync_type: str
    mode: str
    rejects: RejectsFile
    preview: bool = False
    waits: bool = True
    clock: Clock = field(default_factory=SystemClock)
    rows_in_all: int | None = None
    """Rows of the query, as soon as somebody knows."""
    rows_read: int = 0
    accepted: int = 0
    unchanged_in_state: int = 0
    unchanged_in_klaviyo: int = 0
    taken_earlier: int = 0
    """Of the rows that are unchanged by the state, those that an earlier try of this run has sent."""
    skipped: int = 0
    rejected: int = 0
    warnings: int = 0
    removed: int = 0
    requests: int = 0
    seconds_waited: float = 0.0
    list_id: str | None = None
    report_path: str | None = None
    open_jobs: list[OpenJob] = field(default_factory=list)
    reasons: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    """The numbers of the first rows that have a reason."""
    not_done: str = ""
    """What a run left undone because too many rows were rejected, as a sentence."""
    error: str | None = None
    extra: dict[str, object] = field(default_factory=dict)
    """What a sync type tells besides, for the report file."""
    _told_pending: int = 0
    _is_ending: bool = False
    _last: Verdict | None = None
    _open: tuple[Verdict, int, int] | None = None
    started: float = field(init=False)
    """By the clock that never jumps."""
    duration: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.clock.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the run began."""
        return self.clock.monotonic() - self.started

    @property
    def unchanged(self) -> int:
        """Rows that are as Klaviyo has acknowledged them, by the state or by what Klaviyo itself says."""
        return self.unchanged_in_state + self.unchanged_in_klaviyo

    @property
    def pending(self) -> int:
        """Rows that were read and have no verdict."""
        return self.rows_read - self.accepted - self.unchanged - self.skipped - self.rejected

    @property
    def rows_without_line(self) -> int:
        """Rows that are neither accepted nor unchanged, and whose reason nobody wrote down."""
        to_tell = self.skipped + self.rejected + self.pending
        if not self.error:
            to_tell -= sum(job.profiles for job in self.open_jobs)
        told = self.rejects.lines_kept
        return max(0, to_tell - (self.skipped + self.rejected + self._told_pending if told is None else told))

    def count(self, verdict: Verdict) -> None:
        """Write one row down with its reasons, and count it; the same verdict counts once."""
        if verdict is self._last:
            return
        self._open = (verdict, self.rejects.size, self._counted(verdict.outcome))
        self._write(verdict)
        self._add(verdict)
        self._last, self._open = verdict, None

    def recover(self) -> Verdict | None:
        """Finish a count that an exception broke off, as Airflow's timeouts do anywhere; returns the last verdict.

        The run is ending then: from now on what cannot be written down is only counted.
        """
        self._is_ending = True
        if self._open:
            verdict, size, counted = self._open
            if self.rejects.size == size:
                self._write(verdict)
            if self._counted(verdict.outcome) == counted:
                self._add(verdict)
            self._last, self._open = verdict, None
        return self._last

    def _write(self, verdict: Verdict) -> None:
        try:
            self.rejects.write(verdict)
        except KlaviyoError as error:
            if not self._is_ending:
                raise
            log.warning("%s", error)

    def _counted(self, outcome: Outcome) -> int:
        return {
            Outcome.SKIPPED: self.skipped,
            Outcome.REJECTED: self.rejected,
            Outcome.WARNING: self.warnings,
            Outcome.PENDING: self._told_pending,
        }[outcome]

    def _add(self, verdict: Verdict) -> None:
        for problem in verdict.problems:
            told = reason_told(problem, verdict.row, self.rejects.columns)
            reason = _ROW.sub("another row of this run", _JOB.sub("job", told))
            self._count_reason((verdict.outcome.value, mask(problem.field), reason), verdict.number)
        match verdict.outcome:
            case Outcome.SKIPPED:
                self.skipped += 1
            case Outcome.REJECTED:
                self.rejected += 1
            case Outcome.WARNING:
                self.warnings += 1
            case _:  # pending is what has no other outcome
                self._told_pending += 1

    def counts(self) -> dict[str, Any]:
        """What a deferred run has counted so far; ``restore`` takes it on."""
        return {name: getattr(self, name) for name in _COUNTS} | {_TOLD: self._told_pending}

    def restore(self, counts: Mapping[str, Any], reasons: Iterable[tuple[tuple[str, str, str], int]]) -> None:
        """Go on with what the first part of this run has counted."""
        for name in _COUNTS:
            setattr(self, name, counts.get(name, 0))
        self._told_pending = counts.get(_TOLD, 0)
        self.reasons = Counter(dict(reasons))

    def as_dict(self) -> SyncSummary:
        """The summary: the task's return value and the top of the report file. Small, plain JSON, no rows."""
        summary: SyncSummary = {
            "sync_type": self.sync_type,
            "mode": self.mode,
            "rows_read": self.rows_read,
            "accepted": self.accepted + self.taken_earlier,
            "unchanged": self.unchanged - self.taken_earlier,
            "skipped": self.skipped,
            "rejected": self.rejected,
            "pending": self.pending,
            "removed": self.removed,
            "warnings": self.warnings,
            "requests": self.requests,
            "duration": round(self.duration, 3),
            "list_id": self.list_id,
            "rejected_path": self.rejects.written_to,
            "report_path": self.report_path,
            "preview": self.preview,
        }
        if not self.waits:
            summary["job_ids"] = [job.id for job in self.open_jobs]
        if self.taken_earlier:
            summary["accepted_earlier"] = self.taken_earlier
        if self.rows_without_line:
            summary["rows_without_line"] = self.rows_without_line
        return summary

    def details(self) -> dict[str, object]:
        """The report file: the summary, the reasons by how often they occur, and what else helps at night."""
        return {
            **self.as_dict(),
            "seconds_waited_for_rate_limits": round(self.seconds_waited, 3),
            "reasons": [
                {"outcome": outcome, "field": name, "reason": reason, "rows": rows, "examples": examples}
                for (outcome, name, reason), rows in self.reasons.most_common()
                for examples in [self.examples.get((outcome, name, reason), [])]
            ],
            **self.extra,
            "error": self.error,
            "open_jobs": [job._asdict() for job in self.open_jobs],
        }

    def __str__(self) -> str:
        """One line for the log."""
        told: Mapping[str, Any] = self.as_dict()
        counts = ", ".join(told_counts(told))
        if self.taken_earlier:
            counts = counts.replace("accepted", f"accepted ({self.taken_earlier:,} by an earlier try)", 1)
        what = "Preview of the" if self.preview else "The"
        would = " (nothing was written)" if self.preview else ""
        return (
            f"{what} {self.sync_type} sync read {counted(self.rows_read, 'row')}: {counts}{would}, "
            f"in {self.duration:.1f} s with {counted(self.requests, 'request')}."
        )

    def _count_reason(self, reason: tuple[str, str, str], number: int) -> None:
        # Klaviyo's own words may differ for every row.
        if reason not in self.reasons and len(self.reasons) >= _MAX_REASONS:
            reason = (reason[0], reason[1] if len(self.reasons) < 2 * _MAX_REASONS else "", _OTHER)
        self.reasons[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _MAX_EXAMPLES:
            examples.append(number)
