"""How long somebody waits for the rate limits: what ends a wait, what is said of it, and what a store may take."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from airflow_provider_klaviyo.client.clock import Clock
from airflow_provider_klaviyo.exceptions import KlaviyoError

log = logging.getLogger(__name__)

WORTH_A_LINE = 10.0
"""Seconds of a wait from which the log tells of it."""

_STOP_CHECK = 1.0

Stop = Callable[[], bool]


class RateLimitDeadline(TimeoutError):
    """The limits allow the request only after its deadline; nothing was waited for and nothing taken.

    :param notice: what there is to say of the pause that is the reason; empty where it is a full window.
    """

    def __init__(self, message: str, notice: str = "") -> None:
        super().__init__(f"{message} {notice}".rstrip())
        self.notice = notice


class WaitStopped(Exception):
    """The caller asked to stop while waiting; nothing was taken."""


class RateLimitStoreError(KlaviyoError):
    """The windows cannot be kept, so nothing may be sent; the message says where and what to do."""


class StoreUnreachable(RateLimitStoreError):
    """The same, for now: whoever keeps the windows, or has them locked, does not answer, and may yet."""


class Pause(NamedTuple):
    """How long nobody may take a slot, and what for; no seconds where there is no pause."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks a store for something, and how long that may take.

    :param deadline: by ``clock.monotonic()``.
    :param stop: asked several times a second; True ends the call.
    :param lead: seconds before its answer at which a request of the caller's was counted: one in flight may turn out to
        have been, too.
    :param since: when its wait for a slot began, by ``clock.monotonic()``; infinity where nobody waits.
    :param until: when that wait ends at the latest, by the same.
    :param prepares: seconds that the request will not leave in yet: a slot that is free by then is taken at once.
    """

    clock: Clock
    deadline: float = math.inf
    stop: Stop = lambda: False
    lead: float = 0.0
    since: float = math.inf
    until: float = math.inf
    prepares: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Until the deadline."""
        return self.deadline - self.clock.monotonic()


@dataclass(frozen=True, slots=True)
class Wait:
    """What may end a wait for a slot before its time.

    :param deadline: by ``clock.monotonic()``.
    :param lead: as a ``Caller`` has it, and ``since`` and ``prepares``.
    """

    endpoint: str
    clock: Clock
    deadline: float
    stop: Stop
    lead: float = 0.0
    since: float = math.inf
    prepares: float = 0.0

    def check(self, seconds: float, notice: str = "") -> None:
        """Refuse a wait that would pass the deadline.

        :param notice: what there is to say of the pause that is waited for.
        """
        left = self.deadline - self.clock.monotonic()
        if seconds > left or left < 0:
            msg = f"Klaviyo's rate limit allows {self.endpoint} in {seconds:.1f} s; {left:.1f} s are left."
            raise RateLimitDeadline(msg, notice)

    def sleep(self, seconds: float) -> None:
        """Wait, asking in between whether to stop."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            if self.stop():
                msg = f"Told to stop while waiting for Klaviyo's rate limit of {self.endpoint}."
                raise WaitStopped(msg)
            self.clock.sleep(min(left, _STOP_CHECK))
