"""Looks at people, several side by side, that count for a few seconds only.

Klaviyo takes up to 0.6 s to show the consent of a hundred people (seen on real accounts, autumn 2026), so one request
after the other would show a thousand too late. What a look could not reach in time is left to the next one; nothing
that it has shown is asked for again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from airflow_provider_klaviyo.client.clock import Clock
from airflow_provider_klaviyo.client.filters import MAX_VALUES
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import KlaviyoTimeout
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.delivery.pool import in_parts
from airflow_provider_klaviyo.workers import Workers

log = logging.getLogger(__name__)

P = TypeVar("P", bound=Record)
S = TypeVar("S")

CHECKED_FOR = 10.0
"""Seconds for which a look at people counts, from the moment when its first request leaves."""

_SHOWN_BY = 0.9
"""The part of its seconds in which a look has to end."""

_SIDE_BY_SIDE = 10
"""Requests at once: a look at a thousand people needs that many, and an account has 75 a second."""

_FEWEST = 10
"""People of a look, however slow Klaviyo is."""

_MAX_IN_VAIN = 12
"""Looks in a row that show nobody in time, before that ends the run."""

_POLL = 0.5


class LookIsOver(Exception):
    """A request of a look would show people too late."""


class Look:
    """One look: its age, and how many of its requests are under way."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._is_over = False
        self._under_way = 0
        self.began: float | None = None

    @property
    def age(self) -> float:
        """Seconds since its first request left; 0 as long as none has."""
        return 0.0 if self.began is None else self._clock.monotonic() - self.began

    @property
    def time_left(self) -> float:
        """Seconds in which it has to end."""
        return self._seconds * _SHOWN_BY - self.age

    @property
    def is_answered_slowly(self) -> bool:
        """Whether Klaviyo is being waited for; else its rate limits are."""
        return self._under_way > 0

    @contextmanager
    def request(self) -> Iterator[None]:
        """Entered while a request is under way.

        :raises LookIsOver: instead of letting one leave too late.
        """
        with self._lock:
            if self._is_over or self.time_left <= 0:
                raise LookIsOver
            if self.began is None:
                self.began = self._clock.monotonic()
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def end(self) -> None:
        """Let no further request leave."""
        with self._lock:
            self._is_over = True


class Seen(NamedTuple, Generic[P, S]):
    """What a look has shown, who is left to be looked at, and when it began, by the clock that never jumps."""

    shown: list[S]
    left: list[P]
    began: float


class _Part(Generic[P, S]):
    """A part of a look, for a thread; ``shown`` is None as long as it has shown nobody, or when that came too late."""

    def __init__(self, see: Callable[[Sequence[P], Look], list[S]], people: Sequence[P], look: Look) -> None:
        self._see = see
        self._people = people
        self._look = look
        self.shown: list[S] | None = None
        self.error: BaseException | None = None
        self.is_over = False

    def __call__(self) -> None:
        try:
            self.shown = self._see(self._people, self._look)
        except LookIsOver:
            pass
        except BaseException as error:
            self.error = error
        self.is_over = True


class Looks(Generic[P, S]):
    """Looks at people in parts that make one request each time; one look at a time.

    How many people are looked at is learnt: as many as were shown in time.

    :param see: looks at a part of the people; every request of it goes by ``Look.request``.
    :param most: people of a look.
    :param seconds: that a look may take.
    :param poll: seconds between two looks at the clock.
    """

    def __init__(
        self,
        client: KlaviyoClient,
        see: Callable[[Sequence[P], Look], list[S]],
        *,
        most: int,
        seconds: float = CHECKED_FOR,
        poll: float = _POLL,
    ) -> None:
        self._client = client
        self._see = see
        self._most = most
        self._at_once = most
        self._seconds = seconds
        self._poll = poll
        self._in_vain = 0
        self._was_answered = False
        self._workers = Workers(_SIDE_BY_SIDE)

    def at(self, people: Sequence[P]) -> Seen[P, S]:
        """What there is time to see.

        :raises KlaviyoTimeout: when Klaviyo shows nobody in time, again and again.
        :raises KlaviyoStopped: when the run is to stop.
        """
        now, later = people[: self._at_once], people[self._at_once :]
        look = Look(self._client.clock, self._seconds)
        parts = in_parts(now, MAX_VALUES)
        results = self._results(parts, look)
        shown = [each for result in results if result is not None for each in result]
        left = [each for part, result in zip(parts, results, strict=True) if result is None for each in part]
        self._learn(len(now), len(left), look)
        began = self._client.clock.monotonic() if look.began is None else look.began
        return Seen(shown, [*left, *later], began)

    def close(self) -> None:
        """Give the threads back; a request that is under way has as long as a request may take."""
        self._workers.stop(self._client.longest_exchange)

    def _results(self, parts: Sequence[Sequence[P]], look: Look) -> list[list[S] | None]:
        """What each part has shown in time.

        The first goes alone until one was answered, so that a key that may not read costs one request.
        """
        alone = 0 if self._was_answered else 1
        begun: list[_Part[P, S]] = []
        try:
            for some in (parts[:alone], parts[alone:]):
                for people in some:
                    begun.append(_Part(self._see, people, look))
                    self._workers.give(begun[-1])
                self._wait(begun, look)
        finally:
            look.end()
        results = [part.shown for part in begun]
        self._was_answered = self._was_answered or any(result is not None for result in results)
        return results

    def _wait(self, parts: Sequence[_Part[P, S]], look: Look) -> None:
        """Wait until all have ended, or one has failed, or time is up."""
        while not all(part.is_over for part in parts) and (left := look.time_left) > 0:
            _raise_failure(parts)
            self._client.check_stop()
            self._workers.collect(min(left, self._poll))
        _raise_failure(parts)

    def _learn(self, people: int, left: int, look: Look) -> None:
        shown = people - left
        if not left:
            self._in_vain = 0
            if look.age < self._seconds / 2:
                self._at_once = min(self._most, self._at_once * 2)
            return
        self._at_once = max(_FEWEST, shown or people // 2)
        if shown:
            self._in_vain = 0
            return
        self._in_vain += 1
        why = (
            "Klaviyo answers slowly."
            if look.is_answered_slowly
            else "The account's rate limits are used up, or rate_limit_share is small."
        )
        msg = f"Looking at {people:,} people takes longer than the {self._seconds:.0f} s for which a look counts. {why}"
        if self._in_vain >= _MAX_IN_VAIN:
            raise KlaviyoTimeout(msg)
        log.warning("%s They are looked at again, %d at a time.", msg, self._at_once)


def _raise_failure(parts: Sequence[_Part[P, S]]) -> None:
    for part in parts:
        if part.error:
            raise part.error
