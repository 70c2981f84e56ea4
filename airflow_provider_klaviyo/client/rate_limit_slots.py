"""The arithmetic of rate-limit windows: how many slots are taken, and when there is the next one.

Every store of windows reckons by it; the one in Redis says the same in its own language.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from airflow_provider_klaviyo.client.rate_limit_waits import Caller

_CLOCK_MARGIN = 1.001
"""Windows are kept so much longer: NTP may run a clock 500 ppm too fast or too slow, ours and Klaviyo's."""

SOONEST = 0.05
"""Seconds until one in flight is looked at again, however long before its answer it may have been counted."""


class Rate(NamedTuple):
    """At most ``limit`` requests in a window of so many ``seconds``."""

    limit: int
    seconds: float


def longest_window(rates: Sequence[Rate]) -> float:
    """Seconds that a request is remembered after it is over."""
    return max((rate.seconds for rate in rates), default=0.0)


def shared(rates: Sequence[Rate], share: float) -> list[Rate]:
    """A part of some windows; each always allows one request."""
    # The millionth keeps 0.29 of 100 from becoming 28.
    return [
        Rate(max(1, math.floor(rate.limit * share + 1e-6)), rate.seconds * _CLOCK_MARGIN) for rate in rates
    ]


def is_taken(wait: float) -> bool:
    """Whether what ``acquire`` returned stands for a slot."""
    return wait <= 0


def wait_or_slot(
    ends: Sequence[float],
    rates: Sequence[Rate],
    now: float,
    paused_until: float,
    caller: Caller,
    ahead: int = 0,
) -> float:
    """What ``acquire`` returns, by the parameters of ``seconds_until_slot``.

    :param paused_until: by the same time as ``now``.
    """
    wait = max(paused_until - now, seconds_until_slot(ends, rates, now, caller.lead, ahead))
    if 0 < wait <= caller.prepares and all(_is_foreseen(ends, rate, now, ahead) for rate in rates):
        return -wait
    return wait


def _is_foreseen(ends: Sequence[float], rate: Rate, now: float, ahead: int) -> bool:
    """Whether it is certain when a window has a free slot: those before are known, and over."""
    last = rate.limit - 1 - ahead
    return last >= 0 and (last >= len(ends) or ends[last] <= now)


def seconds_until_slot(
    ends: Sequence[float], rates: Sequence[Rate], now: float, lead: float = 0.0, ahead: int = 0
) -> float:
    """Seconds until every window can have a free slot; 0.0 when all have one.

    A window is full as long as the request that is ``limit`` from the end has a slot in it. One in flight may
    be over any moment, and may then have been counted ``lead`` seconds ago, so that is waited for: too short at
    worst, never too long.

    :param ends: when the requests were, or will at the latest be, over; the last one first.
    :param lead: as the caller knows it. Others may know better, which makes the wait longer than it had to be.
    :param ahead: how many others are to have a slot before.
    """
    return max((0.0, *(_until_free(ends, rate, now, lead, ahead) for rate in rates)))


def _until_free(ends: Sequence[float], rate: Rate, now: float, lead: float, ahead: int) -> float:
    """Those ahead take the slots as they become free, and theirs are free again a window later at the earliest."""
    rounds, place = divmod(ahead, rate.limit)
    last = rate.limit - 1 - place
    if last >= len(ends):
        return rounds * rate.seconds
    wait = ends[last] + rate.seconds - now if ends[last] <= now else max(rate.seconds - lead, SOONEST)
    return max(0.0, wait) + rounds * rate.seconds
