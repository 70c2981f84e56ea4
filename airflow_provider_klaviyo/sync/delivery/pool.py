"""Deliveries: batches on their way to Klaviyo, several requests at once, and the verdicts that come back.

``PooledDelivery`` keeps the requests in flight; what a request is, and when a record of it has its verdict, is for
its subclasses to say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, NamedTuple

from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.pace import MOST
from airflow_provider_klaviyo.records.record import Problem, R, Record
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements
from airflow_provider_klaviyo.sync.delivery.no_jobs import NoJobs
from airflow_provider_klaviyo.sync.delivery.refusals import Refuse
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict, all_pending
from airflow_provider_klaviyo.workers import Workers

IN_FLIGHT = 4
"""Batches at once as long as no request of their endpoint was answered: all that came before may be look-ups."""

MOST_BYTES = 96_000_000
"""Memory that batches under way may take, however many requests there may be: six full ones."""

_TIMES, _EACH = 3, 700
"""What a record takes: its own bytes, its row's and the request's, and Python's objects for a dozen columns."""

_COLLECT_INTERVAL, _COLLECT_AT_FIRST = 1.0, 0.05
_LAST_NOTES = 10.0
"""Seconds that a thread may take, when the run stops, to note the answer to its last request."""


@dataclass(slots=True)
class InFlightBatch:
    """The records of a batch without a verdict: not sent yet, or sent without a clear answer.

    :param size: bytes of memory that the batch takes.
    :param is_second: whether Klaviyo has refused these records before, as they were then.
    """

    records: dict[int, Record] = field(default_factory=dict)
    size: int = 0
    is_second: bool = False

    def remove(self, records: Sequence[Record]) -> None:
        """Take out who has a verdict, or is in a job that will tell."""
        for record in records:
            self.records.pop(record.number, None)


class _Published(NamedTuple):
    """A verdict, and the records that are no longer in doubt by it."""

    settled: Settled
    records: Sequence[Record]
    unsettled: InFlightBatch | None


class PooledDelivery(NoJobs, Generic[R]):
    """Hands batches to Klaviyo from a few threads and tells what became of each record.

    As many are under way as the pace of their endpoint says, and no more bytes than ``MOST_BYTES``.

    An exception may break in anywhere in the thread that hands over: until a batch has all its verdicts it is noted as
    unsettled, from before it is handed over, and ``abandon`` lets no request leave any more.

    :param state: is told before each request, after its answer, and of every verdict.
    """

    _paced_by: Endpoint
    """The endpoint that batches are requests of, in the end; subclasses say."""

    def __init__(self, client: KlaviyoClient, state: Acknowledgements) -> None:
        self._client = client
        self._state = state
        self._workers = Workers(MOST)
        self._published: deque[_Published] = deque()
        self._unsettled: dict[int, InFlightBatch] = {}
        self._handed_over: set[int] = set()
        self._under_way: set[int] = set()
        self._was_answered = False

    def send(self, batch: Sequence[R]) -> None:
        """Hand over a batch; blocks while enough requests are in flight.

        :raises KlaviyoError: when an earlier batch met an error that ends the run; this batch is then in doubt too.
        """
        size = _TIMES * sum([record.size for record in batch]) + _EACH * len(batch)
        unsettled = InFlightBatch({record.number: record for record in batch}, size)
        self._unsettled[id(unsettled)] = unsettled
        self._handed_over.add(batch[0].number)
        wanted = self._wanted(batch, unsettled)
        self._collect(timeout=0)
        while not self._has_room():
            self._collect(timeout=_COLLECT_INTERVAL if self._was_answered else _COLLECT_AT_FIRST)
        self._under_way.add(id(unsettled))
        self._submit(self._deliver_batch, wanted, unsettled)

    def knows(self, batch: Sequence[Record]) -> bool:
        """Whether a batch was handed over, be it by a ``send`` that raised."""
        return batch[0].number in self._handed_over

    def settled(self) -> Iterator[Settled]:
        """The verdicts that came in and were not counted; does not wait.

        One is forgotten when the next is asked for: it comes again where an exception broke into counting it.
        """
        while self._published:
            yield self._published[0].settled
            self._published.popleft()

    def finish(self) -> Iterator[Settled]:
        """Every verdict that is still to come."""
        while self._workers.busy:
            self._collect(timeout=_COLLECT_INTERVAL)
            yield from self.settled()
        yield from self.settled()

    def abandon(self, reason: str) -> Iterator[Settled]:
        """What became of the records so far, and all others as pending, for ``reason``."""
        self._client.cancel()
        self._workers.stop(self._client.longest_exchange + _LAST_NOTES)
        for published in self._published:
            _unsettle(published)
        yield from self.settled()
        for unsettled in list(self._unsettled.values()):
            rows = [row for record in unsettled.records.values() for row in record.originals]
            yield all_pending(rows, reason)

    def close(self) -> None:
        """Give the threads back, which are idle."""
        self._workers.stop()

    # --- for subclasses ---------------------------------------------------------------------------------------

    def _deliver(self, batch: Sequence[R], unsettled: InFlightBatch) -> None:
        """Bring a batch to Klaviyo; runs in one of the threads."""
        raise NotImplementedError

    def _wanted(self, batch: Sequence[R], unsettled: InFlightBatch) -> Sequence[R]:  # noqa: ARG002 - for subclasses
        """What of a batch is to be delivered; whoever leaves some out tells of them."""
        return batch

    def _publish_refused(self, record: R, problem: Problem, unsettled: InFlightBatch) -> None:
        verdict = Verdict(record.number, record.row, Outcome.REJECTED, (problem,))
        self._publish(Settled(verdicts=[verdict]), [record], unsettled)

    def _has_room(self) -> bool:
        """Whether one more batch may be under way, beside those that are; one alone always may."""
        if not self._under_way:
            return True
        if len(self._under_way) >= self._width:
            return False
        return sum([each.size for each in list(self._unsettled.values())]) <= MOST_BYTES

    @property
    def _width(self) -> int:
        """How many batches may be under way: one until that is answered, so that a wrong key costs one request."""
        pace = self._client.pace(self._paced_by)
        if not self._was_answered:
            return 1
        return pace.width if pace.is_proven else IN_FLIGHT

    def _submit(self, work: Callable[..., None], *arguments: object) -> None:
        self._workers.give(partial(work, *arguments))

    def _publish(
        self, settled: Settled, records: Sequence[Record] = (), unsettled: InFlightBatch | None = None
    ) -> None:
        """Pass a verdict on; the records that it is about are no longer in doubt."""
        published = _Published(settled, records, unsettled)
        self._published.append(published)
        _unsettle(published)

    def _collect(self, timeout: float) -> None:
        """Wait for a task to end, and raise what it raised."""
        if self._workers.collect(timeout):
            self._was_answered = True

    @contextmanager
    def _refusals_noted(self, unsettled: InFlightBatch) -> Iterator[Refuse[R]]:
        """Collects whom Klaviyo refuses, for the state."""
        refused: list[R] = []

        def refuse(record: R, problem: Problem) -> None:
            refused.append(record)
            self._publish_refused(record, problem, unsettled)

        try:
            yield refuse
        finally:
            if refused:
                self._state.refuse(refused)

    def _deliver_batch(self, batch: Sequence[R], unsettled: InFlightBatch) -> None:
        if batch:
            self._deliver(batch, unsettled)
        self._unsettled.pop(id(unsettled), None)
        self._under_way.discard(id(unsettled))


def _unsettle(published: _Published) -> None:
    if published.unsettled:
        published.unsettled.remove(published.records)


def in_parts(batch: Sequence[R], size: int) -> list[Sequence[R]]:
    """A batch in parts of at most so many records."""
    return [batch[start : start + size] for start in range(0, len(batch), size)]
