"""Klaviyo's rate limits, kept before a request leaves.

Klaviyo counts the requests of an account and endpoint in fixed windows of a second, a minute and sometimes a
day (https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling). Nobody outside knows where those
windows begin, nor when between its sending and its answer a request is counted. So a request takes a slot in
each window from the moment it may be sent until it was counted for certain *and* the length of the window has
passed. When one more is let in, everything that could be counted in the same window still has its slot: no
window can hold too many, wherever it begins and however slow the network is. It was counted for certain when
its answer began, and earlier by as much as all answers of the endpoint let wait for themselves: ``counting``.

The slots are kept by a ``WindowStore``: for one process (here), for all processes of a host
(``rate_limit_files``), or for all hosts (``rate_limit_redis``).
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from airflow_provider_klaviyo.client.clock import Clock, SystemClock, time_of_day
from airflow_provider_klaviyo.client.rate_limit_slots import (
    SOONEST,
    Rate,
    is_taken,
    longest_window,
    shared,
    wait_or_slot,
)
from airflow_provider_klaviyo.client.rate_limit_waits import (
    WORTH_A_LINE,
    Caller,
    Pause,
    RateLimitStoreError,
    Stop,
    StoreUnreachable,
    Wait,
)

log = logging.getLogger(__name__)

MAX_SECONDS = 86_400.0
"""The longest hold and pause: a day, Klaviyo's longest window. What claims more is damage or a mistake."""

WHY_LENGTH = 56
"""Characters that a store keeps of why there is a pause."""

_NONE = Pause(0.0, "")

_CALL_SECONDS = 10.0
"""What one call to a store may take; whoever keeps the windows answers in milliseconds."""

_PATIENCE = 60.0
"""Seconds for which a store that does not answer is asked again: as long as a restart of it takes."""

_ASIDE_SECONDS = 3.0
"""What a call may take that is not worth waiting for: the answer that the caller has in hand is."""

LOOK_AGAIN = 5.0
"""Seconds after which a waiter asks the store again at the latest: those before it in the line may have left."""

LATE = 0.5
"""Seconds by which a waiter may be late until it is passed over; it has its place in the line again when it comes."""

_FIRST_REPEAT, _LONGEST_REPEAT = 1.0, 10.0

_LONG_PAUSE = 30.0
"""Seconds from which people are told of a pause, and how to end it."""

T = TypeVar("T")


class WindowStore(Protocol):
    """Places in the windows of many keys; a key is an account and an endpoint.

    Every method is atomic among all who share the store. It raises ``RateLimitStoreError`` when it cannot do its
    work, ``StoreUnreachable`` when it has not come to it before the caller's deadline, and ``WaitStopped`` when told
    to stop. Durations alone cross this interface, since a store may keep another time than its caller.
    """

    def acquire(self, key: str, token: int, rates: Sequence[Rate], hold: float, caller: Caller) -> float:
        """Take a slot in all windows and return 0.0, or take none and return the seconds to wait at least.

        For a caller that prepares its request, a slot is taken that will certainly be free by then; returned are the
        seconds until it is, below zero.

        Who shares a store with other processes waits in line there: it has its turn before those who came later, as
        long as it looks again when it was to, or after ``LOOK_AGAIN``.

        :param token: names the slot; below 2**52 and never used before.
        :param hold: seconds until the request is over, answered or not.
        """

    def release(self, key: str, token: int, ago: float, caller: Caller) -> None:
        """The request of that slot is over, and was counted so many seconds ago: since then its windows run out.

        What is kept is when it was over, so that who knows nothing of ``ago`` can share a store, and wait longer.
        """

    def pause(self, key: str, seconds: float, why: str, caller: Caller) -> None:
        """Let nobody take a slot for so long; an earlier pause that ends later stays.

        :param why: for people, in ASCII and ``WHY_LENGTH`` characters.
        """

    def pause_of(self, key: str, caller: Caller) -> Pause:
        """The pause that there is now."""

    def way_out(self, key: str) -> str:
        """What ends a pause, as people are told to do it: ``delete …``."""

    def close(self) -> None:
        """Close what is open; it is opened again where somebody goes on."""


@dataclass(slots=True)
class _Slots:
    """The slots of one key: when each request was, or will at the latest be, over."""

    ends: dict[int, float] = field(default_factory=dict)
    paused_until: float = -math.inf
    why: str = ""
    longest: float = 0.0

    def forget(self, now: float) -> None:
        """Drop what no window reaches back to."""
        self.ends = {token: end for token, end in self.ends.items() if end + self.longest > now}


class MemoryWindows:
    """Windows for the threads of one process."""

    def __init__(self) -> None:
        self._slots: defaultdict[str, _Slots] = defaultdict(_Slots)
        self._lock = threading.Lock()

    def acquire(self, key: str, token: int, rates: Sequence[Rate], hold: float, caller: Caller) -> float:
        """See ``WindowStore``."""
        with self._lock:
            now, slots = caller.clock.monotonic(), self._slots[key]
            slots.longest = max(slots.longest, longest_window(rates))
            slots.forget(now)
            ends = sorted(slots.ends.values(), reverse=True)
            wait = wait_or_slot(ends, rates, now, slots.paused_until, caller)
            if is_taken(wait):
                slots.ends[token] = now + hold
            return wait

    def release(self, key: str, token: int, ago: float, caller: Caller) -> None:
        """See ``WindowStore``."""
        with self._lock:
            self._slots[key].ends[token] = caller.clock.monotonic() - ago

    def pause(self, key: str, seconds: float, why: str, caller: Caller) -> None:
        """See ``WindowStore``."""
        with self._lock:
            slots, until = self._slots[key], caller.clock.monotonic() + seconds
            if until > slots.paused_until:
                slots.paused_until, slots.why = until, why

    def pause_of(self, key: str, caller: Caller) -> Pause:
        """See ``WindowStore``."""
        with self._lock:
            slots = self._slots[key]
            return Pause(max(slots.paused_until - caller.clock.monotonic(), 0.0), slots.why)

    def way_out(self, key: str) -> str:  # noqa: ARG002
        """See ``WindowStore``."""
        return "end this process"

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class Permit:
    """The permission to send one request.

    :param waited: seconds that the limits held the request back.
    :param since: when it was given, by ``monotonic()`` of the limiter's clock.
    :param not_before: when the request may leave, by the same.
    :param counted_by: when the request was counted at the latest, by the same; None as long as nobody knows better than
        that it was when the permit is given back.
    """

    endpoint: str
    waited: float
    since: float
    not_before: float
    counted_by: float | None = None

    def counted_ago(self, now: float) -> float:
        """Seconds since it was counted: not before the permit was given, whatever somebody thinks to know."""
        return 0.0 if self.counted_by is None else max(0.0, now - max(self.counted_by, self.since))


class RateLimiter:
    """Lets requests of one account through within Klaviyo's limits; safe to share among threads.

    :param store: where the windows are kept; all who share it share the limits.
    :param account: what Klaviyo counts by; kept as a hash only.
    :param share: the part of each limit to use, above 0 and up to 1; a window always allows one request.
    :param clock: real time if None.
    :raises ValueError: when ``share`` is out of range.
    """

    def __init__(
        self, store: WindowStore, *, account: str, share: float = 0.9, clock: Clock | None = None
    ) -> None:
        if not 0 < share <= 1:
            msg = f"rate_limit_share must be above 0 and at most 1, not {share!r}."
            raise ValueError(msg)
        self._store = store
        self._account = hashlib.sha256(account.encode()).hexdigest()[:32]
        self._share = share
        self._clock = clock or SystemClock()
        self._told: dict[str, float] = {}

    @contextmanager
    def permit(
        self,
        endpoint: str,
        rates: Sequence[Rate],
        *,
        hold: float,
        deadline: float = math.inf,
        stop: Stop | None = None,
        lead: float = 0.0,
        prepares: float = 0.0,
    ) -> Iterator[Permit]:
        """Wait until a request may be sent; leave the context when it is answered or has failed.

        Who learns before that when it was counted notes it in the permit.

        :param endpoint: Klaviyo's operation id; each has windows of its own.
        :param rates: the windows that Klaviyo counts the operation in, at their full limits.
        :param hold: seconds after which the request is certainly over, a day at most; the slot of a caller
            that died is kept for so long.
        :param deadline: by ``monotonic()`` of the limiter's clock.
        :param stop: asked at least each second while waiting; True ends the wait.
        :param lead: seconds before its answer at which such a request is counted, as far as that is known.
        :param prepares: seconds that the request will not leave in yet: so much earlier the permit may be given, which
            says when it counts.
        :raises RateLimitDeadline: at once, when the wait would pass the deadline.
        :raises WaitStopped: when told to stop.
        :raises RateLimitStoreError: when the windows cannot be kept.
        """
        if not 0 < hold <= MAX_SECONDS:
            msg = f"A request can be held for up to {MAX_SECONDS:.0f} seconds, not {hold!r}."
            raise ValueError(msg)
        key, token = self._key(endpoint), secrets.randbits(52)
        wait = Wait(endpoint, self._clock, deadline, stop or _never, lead, self._clock.monotonic(), prepares)
        waited, early = self._acquire(key, token, shared(rates, self._share), hold, wait)
        now = self._clock.monotonic()
        permit = Permit(endpoint, waited, now, now + early)
        try:
            yield permit
        finally:
            self._release(key, token, permit.counted_ago(self._clock.monotonic()))

    def close(self) -> None:
        """Close the store's connections; a limiter that is used again opens them again."""
        self._store.close()

    def pause(self, endpoint: str, seconds: float, why: str = "") -> str:
        """Let no sharer send to the endpoint for so many seconds, a day at most: Klaviyo asked for it (429).

        :param why: whose words these are, such as a status and the id of an answer.
        :returns: what to tell people of a long pause; empty for a short one.
        """
        key, pause = self._key(endpoint), Pause(min(seconds, MAX_SECONDS), _short(why))
        try:
            self._store.pause(key, pause.seconds, pause.why, self._aside())
        except RateLimitStoreError as error:
            log.warning("Others who share the limits of %s are not told of its pause: %s", endpoint, error)
        self._is_news(key, pause)
        return self._notice(key, endpoint, pause)

    def _key(self, endpoint: str) -> str:
        return f"{self._account}:{endpoint}"

    def _acquire(
        self, key: str, token: int, rates: Sequence[Rate], hold: float, wait: Wait
    ) -> tuple[float, float]:
        """Seconds that a slot was waited for, and until it may be used."""
        wait.check(0.0)
        has_waited = False
        while not is_taken(
            seconds := self._ask(wait, lambda caller: self._store.acquire(key, token, rates, hold, caller))
        ):
            is_long = seconds >= WORTH_A_LINE
            pause = self._ask(wait, lambda caller: self._store.pause_of(key, caller)) if is_long else _NONE
            notice = self._notice(key, wait.endpoint, pause)
            wait.check(seconds, notice)
            if notice and self._is_news(key, pause):
                log.warning("%s", notice)
            elif is_long and not has_waited:
                log.info("Klaviyo's rate limit: the next %s follows in %.0f s.", wait.endpoint, seconds)
            wait.sleep(min(seconds, LOOK_AGAIN, max(seconds - wait.prepares, SOONEST)))
            has_waited = True
        return self._clock.monotonic() - wait.since if has_waited else 0.0, -seconds

    def _ask(self, wait: Wait, work: Callable[[Caller], T]) -> T:
        """Have the store do something; one that does not answer is asked again for a while."""
        began, repeat = self._clock.monotonic(), _FIRST_REPEAT
        end = min(began + _PATIENCE, wait.deadline)
        while True:
            soon = min(self._clock.monotonic() + _CALL_SECONDS, end)
            try:
                return work(
                    Caller(self._clock, soon, wait.stop, wait.lead, wait.since, wait.deadline, wait.prepares)
                )
            except StoreUnreachable as error:
                tried, left = self._clock.monotonic() - began, end - self._clock.monotonic()
                if left <= repeat:
                    error.args = (f"{error} Tried for {tried:.0f} s.",)
                    raise
                if repeat == _FIRST_REPEAT:
                    log.warning("%s It is tried for another %.0f s.", error, left)
            wait.sleep(repeat)
            repeat = min(2 * repeat, _LONGEST_REPEAT)

    def _release(self, key: str, token: int, ago: float = 0.0) -> None:
        try:
            self._store.release(key, token, ago, self._aside())
        except RateLimitStoreError as error:
            # The answer in the caller's hands is worth more than the slot, which runs out by itself.
            log.warning("A slot in the rate limits stays taken until its time is up: %s", error)

    def _aside(self) -> Caller:
        return Caller(self._clock, self._clock.monotonic() + _ASIDE_SECONDS)

    def _notice(self, key: str, endpoint: str, pause: Pause) -> str:
        """What to tell people of a long pause; empty for a short one."""
        if pause.seconds <= _LONG_PAUSE:
            return ""
        end = time_of_day(self._clock, self._clock.monotonic() + pause.seconds)
        until = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        why = f" ({pause.why})" if pause.why else ""
        return (
            f"Nobody who shares the rate limits sends {endpoint} until {until}{why}. "
            f"To go on sooner, {self._store.way_out(key)}."
        )

    def _is_news(self, key: str, pause: Pause) -> bool:
        """Whether this pause was not told of yet; from now on it was."""
        end = self._clock.monotonic() + pause.seconds
        is_news = end > self._told.get(key, -math.inf) + WORTH_A_LINE
        if is_news:
            self._told[key] = end
        return is_news


def _never() -> bool:
    return False


def _short(why: str) -> str:
    """What every store can keep."""
    return "".join(each if " " <= each <= "~" else "?" for each in why)[:WHY_LENGTH]
