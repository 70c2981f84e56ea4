"""What was asked of the emulator: for tests to look at, and for people who wonder what a Dag did."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import Any

KEPT = 100_000
_WRITES = ("POST", "PATCH", "DELETE", "PUT")


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request and its answer; `status` is 0 when the connection was reset instead.

    `time` is when it began to arrive, by the machine's clock, and `seconds` how long after that its answer left;
    `records` counts the records of a request that was carried out, `query` is as it came over the wire.
    """

    number: int
    time: float
    seconds: float
    method: str
    path: str
    query: str
    operation: str | None
    status: int
    request_bytes: int
    response_bytes: int
    records: int
    fault: str | None = None
    body: bytes | None = None

    def as_dict(self) -> dict[str, Any]:
        """The entry as JSON takes it."""
        entry = asdict(self)
        entry["body"] = None if self.body is None else self.body.decode(errors="replace")
        return entry


class RequestLog:
    """The last requests, and the writes of each operation since the start."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=KEPT)
        self._bodies: deque[tuple[int, bytes]] = deque()
        self._writes: dict[str, dict[str, int]] = {}
        self._statuses: dict[int, int] = {}
        self._numbers = 0
        self._lock = threading.Lock()

    def add(self, entry: LoggedRequest, body: bytes, keep_bodies: int) -> None:
        """Note a request; of its body only the last `keep_bodies` are kept."""
        with self._lock:
            self._numbers += 1
            self._entries.append(replace(entry, number=self._numbers))
            self._bodies.append((self._numbers, body))
            while len(self._bodies) > keep_bodies:
                self._bodies.popleft()
            self._statuses[entry.status] = self._statuses.get(entry.status, 0) + 1
            if entry.method in _WRITES and entry.operation and entry.records:
                writes = self._writes.setdefault(entry.operation, {"requests": 0, "records": 0})
                writes["requests"] += 1
                writes["records"] += entry.records

    def entries(self, operation: str | None = None, after: int = 0) -> list[LoggedRequest]:
        """The requests in order, those of one operation or with higher numbers only."""
        with self._lock:
            bodies = dict(self._bodies)
            return [
                replace(entry, body=bodies.get(entry.number)) if entry.number in bodies else entry
                for entry in self._entries
                if entry.number > after and operation in (None, entry.operation)
            ]

    def writes(self) -> dict[str, dict[str, int]]:
        """Carried-out writes by operation: requests and records."""
        with self._lock:
            return {operation: dict(counts) for operation, counts in self._writes.items()}

    def statuses(self) -> dict[str, int]:
        """How often each status was answered."""
        with self._lock:
            return {str(status): count for status, count in sorted(self._statuses.items())}

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._bodies.clear()
            self._writes.clear()
            self._statuses.clear()
            self._numbers = 0
