"""How many round trips were made one after the other, told from the log of a server."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple


class RoundTrip(NamedTuple):
    """One request: what it asked for, when it came and when it was answered (seconds, by one clock)."""

    operation: str
    came: float
    answered: float
    status: int = 200


def longest_chain(trips: Iterable[RoundTrip]) -> list[RoundTrip]:
    """The longest chain of requests in which each came after the one before was answered.

    It is what a run takes at the least in latencies, however fast everything else is.
    """
    waiting: list[tuple[float, int]] = []
    chains: list[tuple[int, int]] = []  # length, and the place of the one before
    ordered = sorted(trips, key=lambda trip: trip.came)
    best = (0, -1)
    for place, trip in enumerate(ordered):
        while waiting and waiting[0][0] <= trip.came:
            done = heapq.heappop(waiting)[1]
            best = max(best, (chains[done][0], done))
        chains.append((best[0] + 1, best[1]))
        heapq.heappush(waiting, (trip.answered, place))
    place = max(range(len(chains)), key=lambda each: chains[each][0], default=-1)
    chain = []
    while place >= 0:
        chain.append(ordered[place])
        place = chains[place][1]
    return chain[::-1]
