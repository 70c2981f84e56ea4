"""Work of which each piece makes requests of one endpoint, as many side by side as its pace permits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.pace import MOST, Pace
from airflow_provider_klaviyo.workers import Workers

A = TypeVar("A")
B = TypeVar("B")

_LOOK = 0.25
"""Seconds between two looks at whether to stop, and at how many may be under way."""

_AHEAD = 2
"""Times the width: so many pieces have begun, or wait for one before them to be handed out."""


def abreast(
    client: KlaviyoClient, endpoint: Endpoint, work: Callable[[A], B], arguments: Iterable[A]
) -> Generator[B]:
    """What some work returns for each argument, in their order; each piece runs in a thread of its own.

    Arguments are taken when there is room for them. Until this client had an answer of the endpoint the first goes
    alone, so that a wrong key costs one request. Whoever may be broken into closes the generator: then, and after a
    failure, no request leaves any more, and those under way are waited for.

    :param endpoint: whose pace it goes by; the work's requests are of this endpoint.
    :raises BaseException: what the first piece to fail raised.
    :raises KlaviyoStopped: when the client is told to stop.
    """
    crew = Crew(client, client.pace(endpoint), work)
    left = iter(arguments)
    try:
        while True:
            crew.begin(left)
            if not crew.begun:
                return
            if crew.begun[0].is_over:
                yield crew.begun.popleft().result
            else:
                crew.wait()
    finally:
        crew.stop()


class Piece(Generic[A, B]):
    """The work for one argument; ``result`` is there when ``is_over`` is."""

    result: B

    def __init__(self, crew: Crew[A, B], argument: A) -> None:
        self._crew = crew
        self.argument = argument
        self.is_over = False

    def __call__(self) -> None:
        try:
            with self._crew.client.until(lambda: self._crew.is_stopped):
                self.result = self._crew.work(self.argument)
            self.is_over = True
        finally:
            self._crew.pace.end(self)


class Crew(Generic[A, B]):
    """The threads that work, and the pieces in their order that were not handed out."""

    def __init__(self, client: KlaviyoClient, pace: Pace, work: Callable[[A], B]) -> None:
        self.client = client
        self.pace = pace
        self.work = work
        self.begun: deque[Piece[A, B]] = deque()
        self.is_stopped = False
        self._workers = Workers(MOST)

    def begin(self, arguments: Iterator[A]) -> None:
        """Begin as many pieces as there is room for; one is always under way, whatever others do."""
        self._workers.collect(0)
        while len(self.begun) < _AHEAD * self.pace.width and self.has_room:
            try:
                self.give(next(arguments))
            except StopIteration:
                return

    @property
    def has_room(self) -> bool:
        """Whether one more piece may begin."""
        return not self._workers.busy or self.pace.has_room

    def give(self, argument: A) -> None:
        """Begin a piece."""
        piece = Piece(self, argument)
        self.begun.append(piece)
        self.pace.begin(piece)
        self._workers.give(piece)

    def ended(self) -> Iterator[Piece[A, B]]:
        """Hand out what is over, in whatever order it ended."""
        for piece in [each for each in self.begun if each.is_over]:
            self.begun.remove(piece)
            yield piece

    def wait(self) -> None:
        """Wait for a piece to end, or for a moment."""
        self.client.check_stop()
        self._workers.collect(_LOOK)

    def stop(self) -> None:
        """Let nothing leave any more; what is under way has as long as a request may take."""
        self.is_stopped = True
        self._workers.stop(self.client.longest_exchange)
        for piece in self.begun:
            self.pace.end(piece)
