"""What became of people who were to be taken off a mirrored list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from airflow_provider_klaviyo.exceptions import KlaviyoSyncFailed
from airflow_provider_klaviyo.records.record import Problem
from airflow_provider_klaviyo.sync.lists.members import CHANGED, STILL_NAMED
from airflow_provider_klaviyo.sync.lists.removals import NOT_ON_LIST
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, reason_told
from airflow_provider_klaviyo.sync.report import SyncReport


class Tally:
    """What became of those who were to be removed."""

    def __init__(self, report: SyncReport) -> None:
        self._report = report
        self._reasons: list[str] = []
        self._refused = 0
        self._skipped: Counter[Problem] = Counter()

    def add(self, outcomes: Iterable[Settled]) -> None:
        """Count outcomes."""
        for settled in outcomes:
            for verdict in settled.verdicts:
                if verdict.outcome is Outcome.SKIPPED:
                    self._skipped[verdict.problems[0]] += 1
                elif verdict.outcome is Outcome.REJECTED:
                    self._refused += 1
                    problem, columns = verdict.problems[0], self._report.rejects.columns
                    self._reasons.append(reason_told(problem, verdict.row, columns))

    def report_extras(self) -> Mapping[str, int]:
        """How many were not removed because they were not there, are named by another row, or have changed."""
        spared = {"still_named": self._skipped[STILL_NAMED], "changed_meanwhile": self._skipped[CHANGED]}
        report_extras = {name: people for name, people in spared.items() if people}
        return {"were_not_on_list": self._skipped[NOT_ON_LIST], **report_extras}

    def judge(self) -> None:
        """Fail when somebody could not be removed.

        :raises KlaviyoSyncFailed: naming how many and why.
        """
        if self._refused:
            msg = (
                f"{self._refused:,} people could not be taken off the list ({self._reasons[0]}); "
                f"{self._report.removed:,} were removed. The next run tries again."
            )
            raise KlaviyoSyncFailed(msg, self._report.as_dict())
