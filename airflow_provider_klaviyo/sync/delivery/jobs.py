"""Delivery by jobs of any kind: several requests in flight, jobs awaited together, errors given back to their rows."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from airflow_provider_klaviyo.client.clock import moment_of, time_of_day
from airflow_provider_klaviyo.client.job_kinds import job_kind
from airflow_provider_klaviyo.client.jobs import Job, JobKind, find_jobs, start_job
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements
from airflow_provider_klaviyo.sync.delivery.job_results import index_by_identity, read_verdicts
from airflow_provider_klaviyo.sync.delivery.mending import MendingDelivery
from airflow_provider_klaviyo.sync.delivery.pool import InFlightBatch
from airflow_provider_klaviyo.sync.delivery.refusals import Objection, RefusalHandler
from airflow_provider_klaviyo.sync.delivery.spool import Spool
from airflow_provider_klaviyo.sync.outcomes import HandedOver, OpenJob, Settled, all_pending

log = logging.getLogger(__name__)

_FIRST_POLL = 0.5
_POLL_PART = 0.5
_WHILE_SENDING, _POLLS_WHILE_SENDING = 2.0, 5
_WORTH_A_LOOK = 5
"""Jobs that are started for each page of a look, while there is more to send: fewer are looked at when it is time."""

_LOADED_AT_ONCE = 4
"""Jobs whose records may be in memory, all of them, to find out whom their errors name."""


@dataclass(frozen=True, slots=True)
class _OpenJob:
    """A job without a verdict.

    :param started: by the monotonic clock.
    :param is_second: whether another job has refused its records before, as they were then.
    """

    id: str
    size: int
    first: int
    last: int
    ticket: int
    rows: Path
    started: float
    is_second: bool = False


class JobDelivery(MendingDelivery[Record]):
    """Brings records into Klaviyo by jobs of one kind, which settle later than they are answered.

    :param kind: what jobs these are.
    :param spool: keeps the records of open jobs.
    :param state: is told before each request, after its answer, and of every verdict.
    :param waits: seconds for which ``finish`` waits until Klaviyo has settled every job.
    :param poll_interval: seconds between two looks at the open jobs; the first looks come sooner.
    :param identifier: what identifies people; known once the query's columns are.
    :param drops_invalid: whether a record goes without a field that Klaviyo refuses; subclasses then say how.
    """

    def __init__(
        self,
        client: KlaviyoClient,
        kind: JobKind,
        spool: Spool,
        state: Acknowledgements,
        *,
        waits: float,
        poll_interval: float,
        identifier: Callable[[], str],
        drops_invalid: bool,
    ) -> None:
        super().__init__(client, state, identifier, drops_invalid=drops_invalid)
        self._kind = kind
        self._paced_by = kind.start
        self._spool = spool
        self._waits = waits
        self._poll_interval = poll_interval
        self._refusals = RefusalHandler(kind.start.records, mend=self._mend, has_history=state.has_history)
        self._jobs: dict[str, _OpenJob] = {}
        self._settling: dict[str, _OpenJob] = {}
        self._room_to_load = threading.BoundedSemaphore(_LOADED_AT_ONCE)
        self._is_sending = True
        self._polled_since = client.clock.monotonic()
        self._next_poll = self._polled_since + _FIRST_POLL
        self._at_last_look = 0
        self._seen: list[Job] | None = None
        self._over: deque[Job] = deque()
        self._is_looking = False

    def handed_over(self) -> Iterator[tuple[HandedOver, Sequence[Record]]]:
        """The open jobs with their records, for another worker to settle, who does not know what identifies people."""
        for job in self._jobs.values():
            records = self._spool.load(job.rows)
            for record in records:
                record.identity = record.named(self._identifier()).text
            started = time_of_day(self._client.clock, job.started)
            handed = HandedOver(job.id, job.size, job.first, job.last, job.ticket, started, self._kind.name)
            yield handed, records

    def take_over(self, job: HandedOver, records: Sequence[Record]) -> None:
        """Settle a job that another worker started.

        :param records: those of the job, in its order.
        :raises KlaviyoConfigurationError: when this release does not know the kind of the job.
        :raises TypeError: when the job is of another kind than those that this delivery starts.
        """
        if job_kind(job.kind).name != self._kind.name:
            msg = f"Job {job.id} is a {job.kind}, and this delivery waits for jobs of the kind {self._kind.name}."
            raise TypeError(msg)
        started = moment_of(self._client.clock, job.started)
        self._jobs[job.id] = _OpenJob(
            job.id, job.size, job.first, job.last, job.ticket, self._spool.keep(records), started
        )

    @property
    def open_jobs(self) -> list[OpenJob]:
        """The jobs without a verdict, with the positions of their rows in the query's result."""
        return [OpenJob(job.id, job.size, f"{job.first}-{job.last}") for job in list(self._jobs.values())]

    @property
    def _width(self) -> int:
        """One batch less than the pace permits: they are large, and the next one is in memory while it is made."""
        return max(1, super()._width - 1)

    def send(self, batch: Sequence[Record]) -> None:
        """Hand over a batch, and look at the open jobs when that is due."""
        self._is_sending = True
        super().send(batch)
        self._poll_if_due()

    def finish(self) -> Iterator[Settled]:
        """Every verdict that is still to come.

        :raises KlaviyoTimeout: when the client's deadline passes while jobs are open.
        """
        end = self._end_of_waiting(math.inf)
        while self._workers.busy or (self._jobs and self._client.clock.monotonic() < end):
            if self._workers.busy:
                self._collect(timeout=_FIRST_POLL)
            else:
                self._rest(end)
            end = self._end_of_waiting(end)
            self._poll_if_due()
            yield from self.settled()
        yield from self.settled()

    def abandon(self, reason: str) -> Iterator[Settled]:
        """What became of the records so far, and all others as pending, for ``reason``."""
        yield from super().abandon(reason)
        for job in {**self._jobs, **self._settling}.values():
            yield all_pending(
                self._spool.load(job.rows), f"{self._kind.noun} {job.id} had no result yet; {reason}"
            )

    def _end_of_waiting(self, end: float) -> float:
        """Until when jobs are waited for: ``end``, or anew from the moment when all was sent."""
        if self._is_sending and not self._under_way:
            self._is_sending = False
            self._poll_soon()
            return self._client.clock.monotonic() + self._waits
        return end

    def _rest(self, end: float) -> None:
        with self._client.waiting_for(self._when_late):
            self._client.rest(max(min(self._next_poll, end) - self._client.clock.monotonic(), 0.0))

    def _when_late(self) -> str:
        open_jobs = list(self._jobs)
        return (
            f"The time is up while {self._kind.counted(len(open_jobs))} {'has' if len(open_jobs) == 1 else 'have'} "
            f"no result yet ({_shown(open_jobs)}). Raise timeout{self._otherwise()}. "
            "The next run sends these rows again; a sync that keeps state waits for the jobs before, until they are "
            "24 hours old, or ten minutes with full_refresh=True."
        )

    def _otherwise(self) -> str:
        sensor = self._kind.sensor
        return f", or set wait_for_completion=False and wait with {sensor}" if sensor else ""

    def _deliver(self, batch: Sequence[Record], unsettled: InFlightBatch) -> None:
        with self._refusals_noted(unsettled) as refuse:
            self._refusals.deliver(batch, post=lambda part: self._start(part, unsettled), refuse=refuse)

    def _body(self, part: Sequence[Record]) -> bytes:
        """The request that starts a job for some records."""
        return self._kind.body([record.body for record in part])

    def _start(self, part: Sequence[Record], unsettled: InFlightBatch) -> None:
        ticket = self._state.mark_in_doubt(part)
        job = start_job(self._client, self._kind, lambda: self._body(part))
        self._state.start(ticket, job.id, self._kind.name)
        rows = self._spool.keep(part)
        self._jobs[job.id] = _OpenJob(
            job.id,
            len(part),
            part[0].number,
            part[-1].number,
            ticket,
            rows,
            self._client.clock.monotonic(),
            is_second=unsettled.is_second,
        )
        unsettled.remove(part)
        if warnings := self._warnings(part):
            self._publish(Settled(verdicts=warnings))
        log.debug(
            "%s %s started with %s.", self._kind.noun.capitalize(), job.id, self._kind.records(len(part))
        )

    def _poll_soon(self) -> None:
        self._polled_since, self._next_poll = self._client.clock.monotonic(), 0.0

    def _poll_if_due(self) -> None:
        """Settle the jobs that a look has seen settled, or have another look; neither waits."""
        if self._seen is not None:
            self._over.extend(self._seen)
            self._seen, self._is_looking = None, False
            self._next_poll = self._client.clock.monotonic() + self._pause
        while self._over and len(self._settling) < self._settling_at_once:
            job = self._over[0]
            self._settling[job.id] = self._jobs[job.id]
            del self._jobs[job.id]
            self._over.popleft()
            self._submit(self._settle, job)
            self._at_last_look -= 1
        now = self._client.clock.monotonic()
        is_due = now >= self._next_poll or self._has_started_enough
        if self._waits and self._jobs and is_due and not self._over and not self._is_looking:
            self._is_looking, self._at_last_look = True, len(self._jobs)
            self._submit(self._look)

    @property
    def _has_started_enough(self) -> bool:
        """Whether a look is worth its requests: some jobs were started since the last one, for each page to be read.

        So nothing but the last ones is left to settle when all is sent, where Klaviyo is quick.
        """
        if not (self._is_sending and self._kind.errors):
            return False
        pages = 1 + len(self._jobs) // self._kind.newest.page
        return len(self._jobs) - self._at_last_look >= _WORTH_A_LOOK * pages

    @property
    def _settling_at_once(self) -> int:
        """Jobs whose errors are read side by side."""
        return self._client.pace(self._kind.errors.endpoint).burst if self._kind.errors else _LOADED_AT_ONCE

    @property
    def _pause(self) -> float:
        """Seconds until the next look: a part of those that are past, so that looks cost little and miss little.

        As long as there is more to send nobody waits for a job, but its errors can be read beside that.
        """
        while_sending = max(_WHILE_SENDING, self._poll_interval / _POLLS_WHILE_SENDING)
        longest = while_sending if self._is_sending else self._poll_interval
        past = self._client.clock.monotonic() - self._polled_since
        return min(max(_FIRST_POLL, _POLL_PART * past), longest)

    def _look(self) -> None:
        self._seen = self._terminal_jobs()

    def _terminal_jobs(self) -> list[Job]:
        now = self._client.clock.monotonic()
        with self._client.waiting_for(self._when_late):
            jobs = find_jobs(self._client, self._kind, list(self._jobs))
        return [job for job in jobs.values() if self._kind.is_settled(job, now - self._jobs[job.id].started)]

    def _settle(self, job: Job) -> None:
        with ExitStack() as loading:
            self._settle_one(job, loading)

    def _settle_one(self, job: Job, loading: ExitStack) -> None:
        """Give the rows of a job their verdicts.

        :param loading: entered when the job's records are needed, which few jobs at once may have in memory.
        """
        opened = self._settling[job.id]

        @cache
        def load() -> Sequence[Record]:
            loading.enter_context(self._room_to_load)
            return self._spool.load(opened.rows)

        verdict = read_verdicts(
            self._client,
            self._kind,
            job,
            opened.size,
            load,
            lambda: index_by_identity(load(), self._identifier()),
            _refuse if opened.is_second else self._mend,
        )
        self._state.settle(opened.ticket, verdict.failed, verdict.pending)
        self._publish(verdict.settled)
        unsettled = InFlightBatch({record.number: record for record in verdict.again}, is_second=True)
        self._unsettled[id(unsettled)] = unsettled
        del self._settling[job.id]
        self._spool.drop(opened.rows)
        if verdict.again:
            log.debug(
                "Sent again, without the fields that Klaviyo refused: %s.",
                self._kind.records(len(verdict.again)),
            )
            self._deliver(verdict.again, unsettled)
            self._poll_soon()
        del self._unsettled[id(unsettled)]


def _refuse(_: Record, __: Sequence[Objection]) -> None:
    """A second job's verdict on a record stands."""


def _shown(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
