"""Clocks of the tests' own, for waits that nobody has to wait for."""

from __future__ import annotations

import threading


class SleepingClock:
    """Moves on when somebody sleeps; shared by the threads of a delivery."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self.time

    monotonic = now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.time += seconds
