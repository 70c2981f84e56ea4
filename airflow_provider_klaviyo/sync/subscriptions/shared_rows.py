"""Rows whose channels were divided among several requests: they have a verdict when all of those have."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import NamedTuple

from airflow_provider_klaviyo.records.record import Problem, Row
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.sync.outcomes import Outcome

_ORDER = (Outcome.PENDING, Outcome.ACCEPTED, Outcome.REJECTED, Outcome.SKIPPED)
"""What becomes of a row is the first of what became of its parts."""


class RowVerdict(NamedTuple):
    """What became of a row."""

    number: int
    row: Row
    outcome: Outcome
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class _Parts:
    row: Row
    outcomes: list[Outcome] = field(default_factory=list)
    problems: tuple[Problem, ...] = ()


class SharedRows:
    """Collects what becomes of the parts of rows; safe to share among threads."""

    def __init__(self) -> None:
        self._open: dict[int, _Parts] = {}
        self._lock = threading.Lock()

    def add(
        self, part: SubscriptionRecord, outcome: Outcome, problems: tuple[Problem, ...]
    ) -> RowVerdict | None:
        """Take what became of a row, or of a part of it; None while other parts are open."""
        if part.shares == 1:
            return RowVerdict(part.number, part.row, outcome, problems)
        with self._lock:
            parts = self._open.setdefault(part.number, _Parts(part.row))
            parts.outcomes.append(outcome)
            parts.problems += problems
            if len(parts.outcomes) < part.shares:
                return None
            del self._open[part.number]
        worst = next(outcome for outcome in _ORDER if outcome in parts.outcomes)
        return RowVerdict(part.number, part.row, worst, parts.problems)

    def abandon(self, problem: Problem) -> list[RowVerdict]:
        """The rows of which some parts have no verdict, and will have none."""
        with self._lock:
            parts, self._open = self._open, {}
        return [
            RowVerdict(number, each.row, Outcome.PENDING, (*each.problems, problem))
            for number, each in parts.items()
        ]
