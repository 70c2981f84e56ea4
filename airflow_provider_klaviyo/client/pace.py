"""How many requests of an endpoint are under way at once: as many as its windows permit in the time that one takes.

That is Little's law. Fewer leave the windows unused where Klaviyo is slow, and more only wait for each other. The
minute's window is for the rate limiter alone: as long as it is not used up, the second's is what there is to fill.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from airflow_provider_klaviyo.client.clock import Clock
from airflow_provider_klaviyo.client.counting import Counting
from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.rate_limit_slots import Rate, shared
from airflow_provider_klaviyo.exceptions import (
    KlaviyoRequestError,
    KlaviyoRetryableError,
)

MOST = 80
"""Requests of an endpoint at once: 75 a second with answers that take one. Each is a connection and two threads."""

_SPARE_PART, _SPARE = 1.25, 2
"""What there is beyond Little's law, for what is done before a request leaves and with its answer."""

_SMOOTHING = 0.125
"""The part of each answer's time in the smoothed one."""

_RECENT = 64
"""Answers after which the quickest one is forgotten, or a while later."""

_QUEUEING = 3.0
"""Times the quickest answer: what takes longer waits for our own other requests, and more of them do not help."""

_GROWTH = 0.25
"""What each answer gives back of what failures took: a quarter more in the time of one answer."""


class Pace:
    """How many requests of one endpoint are to be under way, by the answers so far; safe to share among threads.

    :param rates: the endpoint's windows.
    :param share: the part of them that may be used.
    """

    def __init__(self, rates: Sequence[Rate], share: float, clock: Clock) -> None:
        self._clock = clock
        shortest = min(shared(rates, share), key=lambda rate: rate.seconds, default=Rate(MOST, 1.0))
        self._a_second = shortest.limit / shortest.seconds
        self._at_once = shortest.limit
        self._lock = threading.Lock()
        self._latency = 0.0
        self._quickest = [math.inf, math.inf]
        self._answers = 0
        self._most = float(MOST)
        self._cut = -math.inf
        self._under_way: set[object] = set()
        self.counting = Counting()
        self.is_proven = False
        """Whether Klaviyo answered a request as one whose key may send it."""

    @property
    def width(self) -> int:
        """How many requests are to be under way now: 1 until one was answered, and at most ``MOST``."""
        if not self.is_proven:
            return 1
        latency = min(self._latency, _QUEUEING * min(self._quickest))
        wanted = self._a_second * latency * _SPARE_PART + _SPARE
        return max(1, math.floor(min(wanted, self._most)))

    @property
    def burst(self) -> int:
        """How many may be under way for a moment, where few were before: the shortest window lets so many leave."""
        return max(self.width, min(self._at_once, math.floor(self._most))) if self.is_proven else 1

    @property
    def has_room(self) -> bool:
        """Whether fewer than that are noted as begun."""
        return len(self._under_way) < self.width

    def begin(self, piece: object) -> None:
        """Note that something began whose requests are of this endpoint, for all who share the pace."""
        self._under_way.add(piece)

    def end(self, piece: object) -> None:
        """Note that it ended; may be told again."""
        self._under_way.discard(piece)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Entered for the time of a request, from its sending to the end of its answer."""
        began = self._clock.monotonic()
        try:
            yield
        except KlaviyoRequestError:
            self.is_proven = True
            raise
        except KlaviyoRetryableError:
            self._slow_down(began)
            raise
        self._learn(self._clock.monotonic() - began)

    def _learn(self, seconds: float) -> None:
        with self._lock:
            if not self._answers:
                self._latency = seconds
            if self._answers % _RECENT == 0:
                self._quickest = [math.inf, self._quickest[0]]
            self._answers += 1
            self._latency += _SMOOTHING * (seconds - self._latency)
            self._quickest[0] = min(seconds, self._quickest[0])
            self._most = min(self._most + _GROWTH, float(MOST))
            self.is_proven = True

    def _slow_down(self, began: float) -> None:
        """Halve, once for all the requests that were under way when something went wrong."""
        with self._lock:
            if self.is_proven and began >= self._cut:
                self._most = max(1.0, min(self._most, self.width) / 2)
                self._cut = self._clock.monotonic()


class Paces:
    """The paces of one client, a pace for each endpoint."""

    def __init__(self, share: float, clock: Clock) -> None:
        self._share = share
        self._clock = clock
        self._paces: dict[tuple[str, tuple[Rate, ...]], Pace] = {}

    def of(self, endpoint: Endpoint) -> Pace:
        """The pace of an endpoint, as it is asked: what a query lowers its rates to has a pace of its own."""
        key = endpoint.name, endpoint.rates
        return self._paces.get(key) or self._paces.setdefault(
            key, Pace(endpoint.rates, self._share, self._clock)
        )
