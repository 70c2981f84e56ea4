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

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.records.record import Problem, R, Record
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements
from airflow_provider_klaviyo.sync.delivery.no_jobs import NoJobs
from airflow_provider_klaviyo.sync.delivery.refusals import Refuse
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict, all_pending
from airflow_provider_klaviyo.workers import Workers

IN_FLIGHT = 4
"""Requests at once: a full body takes longer to send than the 0.4 s between two that Klaviyo allows."""

_COLLECT_INTERVAL = 1.0
_LAST_NOTES = 10.0
"""Seconds that a thread may take, when the run stops, to note the answer to its last request."""


@dataclass(slots=True)
class InFlightBatch:
    """The records of a batch without a verdict: not sent yet, or sent without a clear answer."""

    records: dict[int, Record] = field(default_factory=dict)

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

    An exception may break in anywhere in the thread that hands over: until a batch has all its verdicts it is noted as
    unsettled, from before it is handed over, and ``abandon`` lets no request leave any more.

    :param state: is told before each request, after its answer, and of every verdict.
    """

    def __init__(self, client: KlaviyoClient, state: Acknowledgements) -> None:
        self._client = client
        self._state = state
        self._workers = Workers(IN_FLIGHT)
        self._published: deque[_Published] = deque()
        self._unsettled: dict[int, InFlightBatch] = {}
        self._handed_over: set[int] = set()
        self._was_answered = False

    def send(self, batch: Sequence[R]) -> None:
        """Hand over a batch; blocks while enough requests are in flight.

        :raises KlaviyoError: when an earlier batch met an error that ends the run; this batch is then in doubt too.
        """
        unsettled = InFlightBatch({record.number: record for record in batch})
        self._unsettled[id(unsettled)] = unsettled
        self._handed_over.add(batch[0].number)
        wanted = self._wanted(batch, unsettled)
        self._collect(timeout=0)
        while self._workers.busy >= (IN_FLIGHT if self._was_answered else 1):
            self._collect(timeout=_COLLECT_INTERVAL)
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
        """Wait for a task to end, and raise what it raised.

        Until the first is answered there is only one, so that a wrong key costs one request.
        """
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


def _unsettle(published: _Published) -> None:
    if published.unsettled:
        published.unsettled.remove(published.records)


def in_parts(batch: Sequence[R], size: int) -> list[Sequence[R]]:
    """A batch in parts of at most so many records."""
    return [batch[start : start + size] for start in range(0, len(batch), size)]
