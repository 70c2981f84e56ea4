"""The rows of a deferred run: they have a verdict or a line that says why not, however early its second half ends."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from airflow_provider_klaviyo.client.job_kinds import job_kind
from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.sync.contracts import Delivery
from airflow_provider_klaviyo.sync.deferral import Deferral
from airflow_provider_klaviyo.sync.outcomes import HandedOver, Settled, all_pending

log = logging.getLogger(__name__)


class RowsLeft:
    """The rows of open jobs, and from ``hand_to`` on the delivery that settles these.

    :param deferral: where the rows are.
    """

    def __init__(self, deferral: Deferral, jobs: Sequence[HandedOver]) -> None:
        self._deferral = deferral
        self._jobs = jobs
        self._delivery: Delivery | None = None
        self._is_settling = False
        self._untold = deque(enumerate(jobs))
        self._pending: dict[int, Settled] = {}

    def hand_to(self, delivery: Delivery) -> None:
        """Let a delivery take the jobs over."""
        for number, job in enumerate(self._jobs):
            delivery.take_over(job, self._deferral.records(number))
        self._delivery = delivery

    def finish(self) -> Iterator[Settled]:
        """Every verdict that is still to come."""
        self._is_settling = True
        if self._delivery:
            yield from self._delivery.finish()

    def abandon(self, reason: str) -> Iterator[Settled]:
        """What became of the records so far, and all others as pending, for ``reason``."""
        self._is_settling = True
        if self._delivery:
            yield from self._delivery.abandon(reason)

    def close(self) -> None:
        """Give the delivery's threads back."""
        if self._delivery:
            self._delivery.close()

    def untold(self, reason: str) -> Iterator[Settled]:
        """All rows as pending, as long as no verdict was asked for.

        Those of a job are forgotten when the next is asked for: they come again where an exception broke into counting
        them.
        """
        while self._untold and not self._is_settling:
            number, job = self._untold[0]
            if number not in self._pending:
                why = f"{job_kind(job.kind).noun} {job.id} had no result yet; {reason}"
                self._pending[number] = self._told(number, job, why)
            yield self._pending[number]
            self._untold.popleft()

    def _told(self, number: int, job: HandedOver, why: str) -> Settled:
        try:
            return all_pending(self._deferral.records(number), why)
        except (KlaviyoError, OSError, ValueError, msgspec.ValidationError) as error:
            log.warning("The rows of job %s have no line: they cannot be read (%s).", job.id, error)
            return Settled()
