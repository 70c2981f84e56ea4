"""Looks at people, several side by side, that count for a few seconds only.

Klaviyo takes up to 0.6 s to show the consent of a hundred people (seen on real accounts, autumn 2026), so one request
after the other would show a thousand too late. What a look could not reach in time is left to the next one; nothing
that it has shown is asked for again.
"""

from __future__ import annotations

import itertools
import logging
import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

from airflow_provider_klaviyo.client.clock import Clock
from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.filters import MAX_VALUES
from airflow_provider_klaviyo.client.klaviyo import During, KlaviyoClient
from airflow_provider_klaviyo.client.people import Ask
from airflow_provider_klaviyo.client.responses import Document
from airflow_provider_klaviyo.exceptions import KlaviyoTimeout
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.subscriptions.readers import Readers

log = logging.getLogger(__name__)

P = TypeVar("P", bound=Record)
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)

CHECKED_FOR = 10.0
"""Seconds for which a look at people counts, from the moment when its first request leaves."""

LONGEST_LOOK = 2 * CHECKED_FOR
"""Seconds that a look may take in all: so long it waits for its first request to leave, and then it counts."""

_SHOWN_BY = 0.9
"""The part of its seconds in which a look has to end."""

_GATHERS_FOR = 0.3
"""The part of its seconds for which what would not fill a filter waits for more of it."""

_FEWEST = 10
"""People of a look, however slow Klaviyo is."""

_MAX_IN_VAIN = 12
"""Looks in a row that show nobody in time, before that ends the run."""

_POLL = 0.5

_LOOKS = itertools.count(1)


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
        self._opened = clock.monotonic()
        self.began: float | None = None
        self.number = next(_LOOKS)

    @property
    def age(self) -> float:
        """Seconds since its first request left; 0 as long as none has."""
        return 0.0 if self.began is None else self._clock.monotonic() - self.began

    @property
    def time_left(self) -> float:
        """Seconds in which it has to end, or its first request to leave: a turn is held meanwhile."""
        since = self._opened if self.began is None else self.began
        return self._seconds * _SHOWN_BY - (self._clock.monotonic() - since)

    @property
    def is_over(self) -> bool:
        """Whether no request of it may leave any more."""
        return self._is_over or self.time_left <= 0

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
            if self.is_over:
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


class Sight(Protocol[S_co]):
    """What a look has shown of some people so far, and what is to be asked to see the others."""

    def asks(self, *, whole_only: bool) -> Sequence[Ask]:
        """What is to be asked next, side by side.

        :param whole_only: whether filters that are not full wait for more.
        """

    def take(self, ask: Ask, profiles: Sequence[Document]) -> None:
        """Take an answer in."""

    def shown(self) -> Sequence[S_co | None]:
        """What is known of each of the people; None of those of whom not all is."""


class Seen(NamedTuple, Generic[P, S]):
    """What a look has shown, who is left to be looked at, and when it began, by the clock that never jumps."""

    shown: list[S]
    left: list[P]
    began: float


class _Answer(NamedTuple):
    """What a request of a look came to."""

    ask: Ask
    profiles: Sequence[Document] = ()
    error: BaseException | None = None


Answer = Callable[[Ask, During], Sequence[Document]]
"""Asks Klaviyo."""


class Looks(Generic[P, S]):
    """Looks at people; several looks at once share the pace of what they ask.

    How many people are looked at is learnt: as many as were shown in time.

    :param open_sight: begins to see some people.
    :param endpoints: what sights ask.
    :param most: people of a look.
    :param seconds: that a look may take.
    :param answer: asks Klaviyo; every request goes by ``Look.request``.
    :param poll: seconds between two looks at the clock.
    """

    def __init__(
        self,
        client: KlaviyoClient,
        open_sight: Callable[[Sequence[P]], Sight[S]],
        endpoints: Sequence[Endpoint],
        *,
        most: int,
        seconds: float = CHECKED_FOR,
        answer: Answer | None = None,
        poll: float = _POLL,
    ) -> None:
        self._client = client
        self._open_sight = open_sight
        self._readers = {endpoint.name: Readers(client, endpoint) for endpoint in endpoints}
        self._main = self._readers[endpoints[0].name]
        self._answer = answer or (lambda ask, during: ask.answer(client, during))
        self._most = most
        self._at_once = most
        self._seconds = seconds
        self._poll = poll
        self._in_vain = 0
        self._asking = 0
        self._is_held_back = False
        self._change = threading.Condition()
        self.takes = 0.0
        """Seconds that a look takes, as the last one did; no more than a part of the time that it counts for."""

    @property
    def width(self) -> int:
        """How many requests there is a use for at once."""
        return self._main.width

    @contextmanager
    def room(self, people: int) -> Iterator[None]:
        """Entered before the turn is waited for, and left after the look: a turn is for who can look at once.

        :param people: who are to be looked at.
        :raises KlaviyoStopped: when the run is to stop.
        """
        asks = math.ceil(min(people, self._at_once) / MAX_VALUES)
        with self._change:
            while not self._has_room:
                self._change.wait(self._poll)
                self._client.check_stop()
            self._asking += asks
            self._pass_on()
        try:
            yield
        finally:
            with self._change:
                self._asking -= asks
                self._pass_on()

    @property
    def _has_room(self) -> bool:
        return not self._asking or not (self._is_held_back or self._asking >= self._main.width)

    def _pass_on(self) -> None:
        """Wake one of those who wait, where there is room for them; who enters wakes the next one."""
        if self._has_room:
            self._change.notify()

    def at(self, people: Sequence[P]) -> Seen[P, S]:
        """What there is time to see.

        :raises KlaviyoTimeout: when Klaviyo shows nobody in time, again and again.
        :raises KlaviyoStopped: when the run is to stop.
        """
        now, later = people[: self._at_once], people[self._at_once :]
        look, sight = Look(self._client.clock, self._seconds), self._open_sight(now)
        self._watch(sight, look)
        results = sight.shown()
        shown = [result for result in results if result is not None]
        left = [each for each, result in zip(now, results, strict=True) if result is None]
        self._learn(len(now), len(left), look)
        began = self._client.clock.monotonic() if look.began is None else look.began
        return Seen(shown, [*left, *later], began)

    def close(self) -> None:
        """Give the threads back."""
        for readers in self._readers.values():
            readers.close()

    def _watch(self, sight: Sight[S], look: Look) -> None:
        """Ask until all is seen, or something has failed, or time is up."""
        answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        under_way = 0
        try:
            while True:
                is_patient = bool(under_way) and look.age < self._seconds * _GATHERS_FOR
                for ask in sight.asks(whole_only=is_patient):
                    under_way += 1
                    read = partial(self._read, ask, look, answers)
                    self._readers[ask.endpoint.name].give(look.number, read)
                if not under_way or (left := look.time_left) <= 0:
                    return
                self._client.check_stop()
                try:
                    answer = answers.get(timeout=min(left, self._poll))
                except queue.Empty:
                    continue
                under_way -= 1
                if isinstance(answer.error, LookIsOver):
                    return
                if answer.error:
                    raise answer.error
                sight.take(answer.ask, answer.profiles)
        finally:
            look.end()

    def _read(self, ask: Ask, look: Look, answers: queue.SimpleQueue[_Answer]) -> None:
        """For one of the threads: ask, unless that would be too late."""
        try:
            with self._client.until(lambda: look.is_over):
                answers.put(_Answer(ask, self._answer(ask, look.request)))
        except BaseException as error:
            answer = _Answer(ask, error=LookIsOver() if look.is_over else error)
            look.end()  # before another thread asks in its name
            answers.put(answer)

    def _learn(self, people: int, left: int, look: Look) -> None:
        shown = people - left
        with self._change:
            self._is_held_back = look.began is None and left > 0
            if self._is_held_back:
                return
            if not left:
                self._in_vain = 0
                self.takes = min(look.age, self._seconds * _GATHERS_FOR)
                if look.age < self._seconds / 2:
                    self._at_once = min(self._most, self._at_once * 2)
                return
            self._at_once = max(_FEWEST, shown or people // 2)
            self._in_vain = 0 if shown else self._in_vain + 1
            is_too_often = self._in_vain >= _MAX_IN_VAIN
        if not shown:
            self._complain(people, look, is_too_often=is_too_often)

    def _complain(self, people: int, look: Look, *, is_too_often: bool) -> None:
        why = (
            "Klaviyo answers slowly."
            if look.is_answered_slowly
            else "The account's rate limits are used up, or rate_limit_share is small."
        )
        msg = f"Looking at {people:,} people takes longer than the {self._seconds:.0f} s for which a look counts. {why}"
        if is_too_often:
            raise KlaviyoTimeout(msg)
        log.warning("%s They are looked at again, %d at a time.", msg, self._at_once)
