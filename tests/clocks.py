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


HOUR = 3_600.0

JUMPS = (0.0, HOUR, -HOUR)
"""By how much the time of day is set in a test of waits: not at all, so that the others compare with that."""


class JumpingClock(SleepingClock):
    """Its time of day is set as soon as somebody sleeps, so in the middle of whatever is waited for."""

    def __init__(self, jump: float) -> None:
        super().__init__()
        self.jump = jump
        self._ahead = 1_700_000_000.0

    def now(self) -> float:
        return self._ahead + self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._ahead += self.jump
        self.jump = 0.0
