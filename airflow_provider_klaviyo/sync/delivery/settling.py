"""From what a delivery settled to the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from airflow_provider_klaviyo.masking import words_of
from airflow_provider_klaviyo.sync.outcomes import Settled
from airflow_provider_klaviyo.sync.report import SyncReport

_LONGEST = 150
"""Characters of an error that are repeated for every row."""


class _Delivery(Protocol):
    def finish(self) -> Iterable[Settled]: ...
    def abandon(self, reason: str) -> Iterable[Settled]: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Taken:
    """What was settled, the report's counts with it, and how many of its verdicts are counted."""

    settled: Settled
    accepted: int
    unchanged: int
    counted: int = 0


class Verdicts:
    """Counts verdicts; an exception that breaks in, as Airflow's timeouts do anywhere, loses none and doubles none."""

    def __init__(self, report: SyncReport) -> None:
        self._report = report
        self._taken = _Taken(Settled(), report.accepted, report.unchanged_in_klaviyo)

    def add(self, outcomes: Iterable[Settled]) -> None:
        """Count what was settled; what comes again, as the first that follows an exception may, counts once."""
        for settled in outcomes:
            if settled is not self._taken.settled:
                self._taken = self._with(settled)
            self.count()

    def count(self) -> None:
        """Count what was taken and is not counted yet; doing it again changes nothing."""
        report, taken = self._report, self._taken
        report.accepted, report.unchanged_in_klaviyo = taken.accepted, taken.unchanged
        while taken.counted < len(taken.settled.verdicts):
            report.count(taken.settled.verdicts[taken.counted])
            taken.counted += 1

    def _with(self, settled: Settled) -> _Taken:
        report = self._report
        return _Taken(
            settled, report.accepted + settled.accepted, report.unchanged_in_klaviyo + settled.unchanged
        )


def settle(
    delivery: _Delivery, report: SyncReport, on_stop: Callable[[BaseException], None] = lambda _: None
) -> None:
    """Fetch the verdicts of a delivery that sends nothing any more.

    :param on_stop: told what ends it early, before the rows have their lines.
    :raises Exception: whatever ended it early; rows without a verdict are then reported as pending.
    """
    verdicts = Verdicts(report)
    try:
        verdicts.add(delivery.finish())
    except BaseException as error:
        report.recover()
        verdicts.count()
        on_stop(error)
        verdicts.add(delivery.abandon(stopped(error)))
        raise
    finally:
        delivery.close()


def stopped(error: BaseException) -> str:
    """Why rows in Klaviyo's hands have no verdict."""
    return f"the run stopped before its result was known ({in_short(error)})"


def in_short(error: BaseException) -> str:
    """An error as the reason of a row, of which there may be hundreds of thousands: the report has it whole."""
    told = f"{type(error).__name__}: {words_of(error)}"
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST].rpartition(' ')[0]} …"
