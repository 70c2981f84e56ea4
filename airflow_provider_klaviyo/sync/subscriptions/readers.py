"""Threads that read for all looks of a run: as many side by side as the endpoint's pace permits, the oldest look first.

A look that has begun is finished before a later one gets more than what is left over, so that each is short.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.pace import MOST
from airflow_provider_klaviyo.workers import Workers

Work = Callable[[], None]
"""Makes requests of one endpoint, and raises nothing."""


class Readers:
    """Does pieces of work for several threads."""

    def __init__(self, client: KlaviyoClient, endpoint: Endpoint) -> None:
        self._client = client
        self._pace = client.pace(endpoint)
        self._waiting: list[tuple[int, int, Work]] = []
        self._serials = itertools.count()
        self._under_way = 0
        self._workers = Workers(MOST)
        self._lock = threading.Lock()

    @property
    def width(self) -> int:
        """How many requests there is a use for at once."""
        return self._pace.width

    def give(self, look: int, work: Work) -> None:
        """Have something read, soon.

        :param look: what is for a lower one comes first.
        """
        with self._lock:
            heapq.heappush(self._waiting, (look, next(self._serials), work))
            self._begin()

    def close(self) -> None:
        """Give the threads back; a request that is under way has as long as a request may take."""
        self._workers.stop(self._client.longest_exchange)

    def _begin(self) -> None:
        """Begin what there is room for; one is always under way, whatever others do at the endpoint."""
        while self._waiting and (not self._under_way or self._pace.has_room):
            *_, work = heapq.heappop(self._waiting)
            piece = _Piece(self, work)
            self._pace.begin(piece)
            self._under_way += 1
            self._workers.collect(0)
            self._workers.give(piece)

    def end(self, piece: _Piece) -> None:
        """What was begun has ended."""
        self._pace.end(piece)
        with self._lock:
            self._under_way -= 1
            self._begin()


class _Piece:
    """A piece of work that was begun."""

    def __init__(self, readers: Readers, work: Work) -> None:
        self._readers = readers
        self._work = work

    def __call__(self) -> None:
        try:
            self._work()
        finally:
            self._readers.end(self)
