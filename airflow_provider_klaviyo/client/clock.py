"""The time: whoever reads it takes a ``Clock``, so that nobody has to wait for it in tests.

Waits and deadlines go by ``monotonic``. The time of day is for what people read, and for what is compared with others'
times: ``time_of_day`` and ``moment_of`` lead from one to the other where something is written down for them, or read.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Time, so that tests need not wait for it."""

    def now(self) -> float:
        """Seconds since the epoch; may jump when somebody sets the clock."""

    def monotonic(self) -> float:
        """Seconds on a scale that never jumps and that all processes of the host share until it restarts."""

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""


def time_of_day(clock: Clock, moment: float) -> float:
    """Seconds since the epoch at a moment of the monotonic clock."""
    return clock.now() + moment - clock.monotonic()


def moment_of(clock: Clock, timestamp: float) -> float:
    """A time of day on the monotonic clock: from here on nobody moves it by setting the clock."""
    return clock.monotonic() + timestamp - clock.now()


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since the machine started, with those it slept through where the system counts them."""
        return _since_start()

    def sleep(self, seconds: float) -> None:
        """Block the thread for so many seconds."""
        time.sleep(seconds)


if hasattr(time, "CLOCK_BOOTTIME"):

    def _since_start() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # pragma: no cover - not Linux
    _since_start = time.monotonic
