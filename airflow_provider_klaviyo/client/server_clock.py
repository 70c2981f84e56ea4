"""Klaviyo's own time, as its answers tell it: the hosts that share notes about people may each have another."""

from __future__ import annotations

from airflow_provider_klaviyo.client.clock import Clock
from airflow_provider_klaviyo.client.responses import Response


class ServerClock:
    """Tells the time by the last answer's ``Date`` and what has passed since; before the first by this host's clock.

    Only successes count: what a proxy says itself, it says by its own clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_of_monotonic: float | None = None

    def hear(self, response: Response) -> None:
        """Take the time from an answer that just arrived."""
        if response.is_success and (timestamp := response.date):
            self._ahead_of_monotonic = timestamp.timestamp() - self._clock.monotonic()

    def now(self) -> float:
        """Seconds since the epoch; to within a second or two, since the header has no fractions."""
        ahead = self._ahead_of_monotonic
        return self._clock.now() if ahead is None else self._clock.monotonic() + ahead
