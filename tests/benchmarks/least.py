"""The least that Klaviyo's windows permit: arithmetic on its documented limits, written without a look at the client.

Who begins with empty windows sends at the burst rate until the minute is full, and then waits for the next one. The
last request's answer comes one latency after it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import NamedTuple

from tests.benchmarks.serving import ROOT

FACTS = ROOT / "tests" / "contract" / "klaviyo-2026-07-15.facts.json"
"""Klaviyo's OpenAPI file, reduced to what is documented of each operation."""


class Windows(NamedTuple):
    """Requests a second and a minute."""

    burst: int
    steady: int

    def seconds(self, requests: int) -> float:
        """From the first request until the last one may leave."""
        minutes = max(math.ceil(requests / self.steady) - 1, 0)
        return minutes * 60 + (requests - minutes * self.steady) / self.burst


def documented(operation: str) -> Windows:
    """The windows that Klaviyo documents for an operation."""
    rates = json.loads(FACTS.read_text())["operations"][operation]["rates"]
    return Windows(int(rates["burst"].partition("/")[0]), int(rates["steady"].partition("/")[0]))


class Work(NamedTuple):
    """So many records, of which a request to an operation takes so many."""

    operation: str
    records: int
    each: int

    @property
    def requests(self) -> int:
        return math.ceil(self.records / self.each)


def least(work: Iterable[Work], latency: float) -> float:
    """Seconds that the windows ask for, whatever is done side by side, and one latency."""
    return max(documented(each.operation).seconds(each.requests) for each in work) + latency


def binding(work: Iterable[Work]) -> Work:
    """What takes longest by its minutes."""
    return max(work, key=lambda each: each.requests / documented(each.operation).steady)
