"""What went over the wire, and what was waited for, as the report tells it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple


class Waited(NamedTuple):
    """How many requests the limits of an endpoint held back, and for how many seconds altogether."""

    requests: int = 0
    seconds: float = 0.0


class Traffic:
    """Counts the requests of one client; safe to share among threads.

    ``throttled`` are answers of 429, ``repeated`` requests that were sent once more, whatever the reason, after
    ``seconds_to_repeat`` of waiting altogether. ``waits`` is by the endpoint whose limits were waited for.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.throttled = 0
        self.repeated = 0
        self.seconds_to_repeat = 0.0
        self.waits: dict[str, Waited] = {}
        self._lock = threading.Lock()

    @property
    def seconds_waited(self) -> float:
        """Seconds that the limits held requests back, altogether."""
        return sum(each.seconds for each in list(self.waits.values()))

    def sent(self) -> None:
        """A request leaves."""
        with self._lock:
            self.requests += 1

    def waited(self, endpoint: str, seconds: float) -> None:
        """The limits of an endpoint have held a request back, if for any time at all."""
        if seconds:
            with self._lock:
                before = self.waits.get(endpoint, Waited())
                self.waits[endpoint] = Waited(before.requests + 1, before.seconds + seconds)

    def refused(self) -> None:
        """Klaviyo has answered 429."""
        with self._lock:
            self.throttled += 1

    def repeats(self, seconds: float) -> None:
        """A request is sent once more, in so many seconds."""
        with self._lock:
            self.repeated += 1
            self.seconds_to_repeat += seconds

    def told(self) -> dict[str, Any]:
        """As the report has it."""
        waits = sorted(self.waits.items(), key=lambda each: -each[1].seconds)
        return {
            "throttled": self.throttled,
            "repeated": self.repeated,
            "seconds_to_repeat": round(self.seconds_to_repeat, 3),
            "waits": [
                {"endpoint": endpoint, "requests": waited.requests, "seconds": round(waited.seconds, 3)}
                for endpoint, waited in waits
            ],
        }


def together(told: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """What two parts of a run have told, added up."""
    waits: dict[str, Waited] = {}
    for each in (*told["waits"], *more["waits"]):
        requests, seconds = waits.get(each["endpoint"], Waited())
        waits[each["endpoint"]] = Waited(requests + each["requests"], seconds + each["seconds"])
    sum_of_both = Traffic()
    sum_of_both.waits = waits
    sum_of_both.throttled = told["throttled"] + more["throttled"]
    sum_of_both.repeated = told["repeated"] + more["repeated"]
    sum_of_both.seconds_to_repeat = told["seconds_to_repeat"] + more["seconds_to_repeat"]
    return sum_of_both.told()
