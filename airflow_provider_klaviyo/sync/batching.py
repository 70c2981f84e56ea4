"""Records to batches that fit one request, by count and by bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from airflow_provider_klaviyo.records.record import Record

MARGIN = 0.02
"""Part of a request's size that stays free: whether Klaviyo's 5 MB are 5,000,000 bytes is not documented."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one request may hold.

    :param max_records: how many records.
    :param max_bytes: bytes of the records as sent, with a comma between any two.
    """

    max_records: int
    max_bytes: int


class Batcher:
    """Collects records; nothing is lost, nothing is doubled, order is kept.

    ``full`` are the batches to be sent; whoever has sent the first one takes it out. A record that alone is over
    ``max_bytes`` still gets a batch, of its own: it is Klaviyo's to refuse.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self.full: deque[list[Record]] = deque()
        self._records: list[Record] = []
        self._bytes = 0

    def add(self, records: Iterable[Record]) -> None:
        """Take records; a batch is full when the next record would burst it."""
        max_records, max_bytes = self._limits.max_records, self._limits.max_bytes
        for record in records:
            size = record.size + 1
            grown = self._bytes + size
            if self._records and (grown - 1 > max_bytes or len(self._records) >= max_records):
                self.finish()
                grown = size
            self._records.append(record)
            self._bytes = grown

    def finish(self) -> None:
        """Let the unfinished batch be full, if there is one."""
        if self._records:
            self.full.append(self._records)
            self._records, self._bytes = [], 0

    def rest(self) -> Iterator[Sequence[Record]]:
        """All that was taken and not taken out; a batch may come twice when an exception broke in."""
        return filter(None, (*self.full, self._records))
