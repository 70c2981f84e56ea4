"""What requests have set in motion and is not done yet: nothing runs in the background, whoever reads works it off."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

from airflow_provider_klaviyo.emulator.core.faults import Fault, FaultKind

T = TypeVar("T")


class Agenda:
    """Work by the moment it is due, and then in the order it came."""

    def __init__(self) -> None:
        self._work: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._work)

    def add(self, due: float, work: Callable[[float], None]) -> None:
        """Have something done at a moment, which it is told."""
        heapq.heappush(self._work, (due, next(self._numbers), work))

    def settle(self, now: float, before: Callable[[float], None]) -> None:
        """Do what is due, each after `before` has brought the rest of the account to the same moment."""
        while self._work and self._work[0][0] <= now:
            due, _, work = heapq.heappop(self._work)
            before(due)
            work(due)


def spared(records: Sequence[T], faults: Sequence[Fault], identifiers: Callable[[T], str]) -> list[T]:
    """The records that faults of jobs leave to be worked off."""
    kept = list(records)
    for fault in faults:
        if fault.kind is FaultKind.JOB_STUCK:
            kept = []
        elif fault.kind is FaultKind.JOB_CANCELLED:
            kept = kept[: fault.records]
        elif fault.kind is FaultKind.JOB_FAILS:
            kept = [
                record for index, record in enumerate(kept) if not fault.fails(index, identifiers(record))
            ]
    return kept
