"""Klaviyo's rate limits: fixed windows of a second, a minute and a day, per account and operation.

Source: OpenAPI 2026-07-15, `x-klaviyo-ratelimit`; headers as recorded from live answers.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

from airflow_provider_klaviyo.emulator.core.settings import Settings

SECOND, MINUTE, DAY = 1, 60, 86_400


@dataclass(frozen=True, slots=True)
class Rates:
    """How many requests an operation takes per second, per minute and, for a few, per day."""

    burst: int
    steady: int
    daily: int | None = None

    @property
    def limits(self) -> tuple[tuple[int, int], ...]:
        """(requests, seconds) of every window."""
        pairs = ((self.burst, SECOND), (self.steady, MINUTE))
        return pairs if self.daily is None else (*pairs, (self.daily, DAY))

    def header(self) -> str:
        """The value of `RateLimit-Limit`."""
        return ", ".join([str(self.burst), *(f"{limit};w={seconds}" for limit, seconds in self.limits)])


@dataclass(slots=True)
class _Window:
    """The running window of one length."""

    limit: int
    seconds: int
    number: int = -1
    count: int = 0
    highest: int = 0

    def move_to(self, number: int) -> None:
        if number != self.number:
            self.number = number
            self.count = 0

    def add(self) -> None:
        self.count += 1
        self.highest = max(self.highest, self.count)


@dataclass(slots=True)
class _Bucket:
    rates: Rates
    windows: list[_Window] = field(default_factory=list)
    requests: int = 0
    exceeded: int = 0

    def __post_init__(self) -> None:
        self.windows = [_Window(limit, seconds) for limit, seconds in self.rates.limits]


@dataclass(frozen=True, slots=True)
class Admission:
    """What the windows say to one request.

    `retry_after` is None for a request that is let through, and the whole seconds to wait otherwise.
    """

    rates: Rates
    remaining: int
    retry_after: int | None = None

    def headers(self) -> dict[str, str]:
        """The `RateLimit-*` headers, which a 429 does not carry."""
        return {
            "RateLimit-Limit": self.rates.header(),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": "0",
        }


@dataclass(frozen=True, slots=True)
class WindowStats:
    """How close to its limits an operation came.

    `exceeded` counts requests that found a window full; `max_per_window` maps the seconds of a window to the most
    requests that one of that length saw, refused ones included where they count.
    """

    operation: str
    limit: str
    requests: int
    exceeded: int
    max_per_window: dict[str, int]


class Windows:
    """The windows of one account; every key of the account draws on them."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, Rates], _Bucket] = {}
        self._lock = threading.Lock()

    def admit(
        self, operation_id: str, all_rates: tuple[Rates, ...], now: float, settings: Settings
    ) -> Admission:
        """Count a request and decide whether it passes.

        `all_rates` are the operation's own rates and then those that its parameters lower them to; a request
        must fit into all of them.
        """
        with self._lock:
            buckets = [self._bucket(operation_id, rates) for rates in all_rates]
            for bucket in buckets:
                _move(bucket, now, settings)
            waits = [wait for bucket in buckets for wait in _waits(bucket, now, settings)]
            if not waits or settings.count_refused or settings.rate_limits == "off":
                for window in (window for bucket in buckets for window in bucket.windows):
                    window.add()
            for bucket in buckets:
                bucket.requests += 1
                bucket.exceeded += bool(waits)
            narrowest = buckets[-1]
            remaining = max(0, narrowest.windows[0].limit - narrowest.windows[0].count)
            refused = bool(waits) and settings.rate_limits == "real"
            return Admission(narrowest.rates, remaining, max(1, math.ceil(max(waits))) if refused else None)

    def _bucket(self, operation_id: str, rates: Rates) -> _Bucket:
        key = (operation_id, rates)
        if key not in self._buckets:
            self._buckets[key] = _Bucket(rates)
        return self._buckets[key]

    def stats(self) -> list[WindowStats]:
        """What the windows have seen, per operation and rates."""
        with self._lock:
            return [
                WindowStats(
                    operation=operation_id,
                    limit=rates.header(),
                    requests=bucket.requests,
                    exceeded=bucket.exceeded,
                    max_per_window={str(window.seconds): window.highest for window in bucket.windows},
                )
                for (operation_id, rates), bucket in self._buckets.items()
            ]

    def clear(self) -> None:
        """Forget every window."""
        with self._lock:
            self._buckets.clear()


def _ticks(now: float, settings: Settings) -> int:
    """The time in microseconds, from where the windows are counted; whole numbers, so that edges are sharp."""
    return round(now * 1e6) - round(settings.window_offset * 1e6)


def _length(window: _Window, settings: Settings) -> int:
    return max(1, round(window.seconds * 1e6 / settings.time_factor))


def _move(bucket: _Bucket, now: float, settings: Settings) -> None:
    for window in bucket.windows:
        window.move_to(_ticks(now, settings) // _length(window, settings))


def _waits(bucket: _Bucket, now: float, settings: Settings) -> list[float]:
    """Seconds until each full window ends."""
    return [
        ((window.number + 1) * _length(window, settings) - _ticks(now, settings)) / 1e6
        for window in bucket.windows
        if window.count >= window.limit
    ]
