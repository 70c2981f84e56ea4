"""From what a delivery settled to the report."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from airflow_provider_klaviyo.masking import words_of
from airflow_provider_klaviyo.sync.outcomes import Settled, Verdict
from airflow_provider_klaviyo.sync.report import SyncReport


class _Delivery(Protocol):
    def finish(self) -> Iterable[Settled]: ...
    def abandon(self, reason: str) -> Iterable[Settled]: ...
    def close(self) -> None: ...


class Verdicts:
    """Counts verdicts; an exception that breaks in, as Airflow's timeouts do anywhere, loses none."""

    def __init__(self, report: SyncReport) -> None:
        self._report = report
        self._waiting: deque[Verdict] = deque()

    def add(self, outcomes: Iterable[Settled]) -> None:
        """Count what was settled."""
        for settled in outcomes:
            self._report.accepted += settled.accepted
            self._report.unchanged_in_klaviyo += settled.unchanged
            self._waiting.extend(settled.verdicts)
            self.count()

    def count(self) -> None:
        """Count verdicts that were taken and are not counted yet."""
        while self._waiting:
            self._report.count(self._waiting[0])
            self._waiting.popleft()


def settle(delivery: _Delivery, report: SyncReport) -> None:
    """Fetch the verdicts of a delivery that sends nothing any more.

    :raises Exception: whatever ended it early; rows without a verdict are then reported as pending.
    """
    verdicts = Verdicts(report)
    try:
        verdicts.add(delivery.finish())
    except BaseException as error:
        report.recover()
        verdicts.count()
        verdicts.add(delivery.abandon(stopped(error)))
        raise
    finally:
        delivery.close()


def stopped(error: BaseException) -> str:
    """Why rows in Klaviyo's hands have no verdict."""
    return f"the run stopped before its result was known ({type(error).__name__}: {words_of(error)})"
