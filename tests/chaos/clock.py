"""The time of one account and of all processes that work on it: nobody waits for it."""

from __future__ import annotations

import mmap
import struct
import threading
import time
from pathlib import Path

START = 1_790_000_000.0

_TIMES = struct.Struct("dd")
_YIELD = 0.0005
"""Seconds that a sleep really takes: whoever waits for another thread's request must not use up a night on it."""


class SharedClock:
    """A clock in a file, which moves on when any process sleeps; also what an emulator lives by.

    :param path: the file, made by whoever comes first.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_TIMES.pack(START, 0.0))
        with path.open("r+b") as file:
            self._times = mmap.mmap(file.fileno(), _TIMES.size)
        self._lock = threading.Lock()

    def now(self) -> float:
        """The right time: that of the emulator."""
        return float(_TIMES.unpack(self._times)[0])

    monotonic = now

    def sleep(self, seconds: float) -> None:
        time.sleep(_YIELD)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        with self._lock:
            now, ahead = _TIMES.unpack(self._times)
            self._times[:] = _TIMES.pack(now + max(seconds, 0.0), ahead)

    def advance_to(self, moment: float) -> None:
        self.advance(moment - self.now())

    @property
    def ahead(self) -> float:
        """Seconds by which the wall clock of the host is ahead of the right time."""
        return float(_TIMES.unpack(self._times)[1])

    def set_ahead(self, seconds: float) -> None:
        with self._lock:
            self._times[:] = _TIMES.pack(self.now(), seconds)


class HostClock:
    """The clock of a host of whom somebody may set the wall clock; what never jumps goes by the shared one."""

    def __init__(self, shared: SharedClock) -> None:
        self._shared = shared

    def now(self) -> float:
        return self._shared.now() + self._shared.ahead

    def monotonic(self) -> float:
        return self._shared.monotonic()

    def sleep(self, seconds: float) -> None:
        self._shared.sleep(seconds)
