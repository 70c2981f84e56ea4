"""Delivery by bulk import jobs: several requests in flight, jobs awaited together, errors given back to their rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILE, IMPORT_PROFILES
from airflow_provider_klaviyo.client.jobs import ImportJob, find_import_jobs, start_import
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.records.resources import field_at
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements
from airflow_provider_klaviyo.sync.delivery.import_results import (
    all_pending,
    place_by_identity,
    read_verdicts,
)
from airflow_provider_klaviyo.sync.delivery.mending import MendingDelivery
from airflow_provider_klaviyo.sync.delivery.pointers import FieldPath
from airflow_provider_klaviyo.sync.delivery.pool import Doubt
from airflow_provider_klaviyo.sync.delivery.refusals import Objection, RefusalHandler
from airflow_provider_klaviyo.sync.delivery.single_imports import import_one
from airflow_provider_klaviyo.sync.delivery.spool import Spool
from airflow_provider_klaviyo.sync.outcomes import OpenJob, Settled

log = logging.getLogger(__name__)

_SINGLES = 50
"""So many records that go alone are in doubt together; after a kill they are sent again together."""

_FIRST_POLL = 0.5
_SAY_INTERVAL = 30.0


class HandedOver(NamedTuple):
    """A job without a verdict, as another worker can settle it; ``first`` and ``last`` are numbers of rows."""

    id: str
    size: int
    first: int
    last: int
    ticket: int
    started: float


@dataclass(frozen=True, slots=True)
class _OpenJob:
    id: str
    size: int
    first: int
    last: int
    ticket: int
    rows: Path
    started: float


class ImportJobDelivery(MendingDelivery):
    """Brings profiles into Klaviyo by bulk import jobs, which settle later than they are answered.

    :param waits: whether ``finish`` waits until Klaviyo has settled every job.
    :param poll_interval: seconds between two looks at the open jobs; the first looks come sooner.
    :param identifier: what identifies people; known once the query's columns are.
    :param drops_invalid: whether a person goes without a field that Klaviyo refuses.
    :param list_id: a list to put the people on.
    """

    def __init__(
        self,
        client: KlaviyoClient,
        spool: Spool,
        state: Acknowledgements,
        *,
        waits: bool,
        poll_interval: float,
        identifier: Callable[[], str],
        drops_invalid: bool,
        list_id: str = "",
    ) -> None:
        super().__init__(client, state, identifier, drops_invalid=drops_invalid)
        self._spool = spool
        self._waits = waits
        self._poll_interval = poll_interval
        self._list_id = list_id
        self._refusals = RefusalHandler(
            IMPORT_PROFILES.records, mend=self._mend, has_history=state.has_history
        )
        self._singles = RefusalHandler(IMPORT_PROFILE.records, mend=self._mend, has_history=state.has_history)
        self._jobs: dict[str, _OpenJob] = {}
        self._settling: dict[str, _OpenJob] = {}
        self._sent_again: set[int] = set()
        self._next_poll = 0.0
        self._poll_pause = _FIRST_POLL
        self._said = client.clock.now()

    def handed_over(self) -> Iterator[tuple[HandedOver, Sequence[Record]]]:
        """The open jobs with their records, for another worker to settle, who does not know what identifies people."""
        for job in self._jobs.values():
            records = self._spool.load(job.rows)
            for record in records:
                record.identity = record.named(self._identifier()).text
            yield HandedOver(job.id, job.size, job.first, job.last, job.ticket, job.started), records

    def take_over(self, job: HandedOver, records: Sequence[Record]) -> None:
        """Settle a job that another worker started."""
        self._jobs[job.id] = _OpenJob(
            job.id, job.size, job.first, job.last, job.ticket, self._spool.keep(records), job.started
        )

    @property
    def open_jobs(self) -> list[OpenJob]:
        """The jobs without a verdict, with the places of their rows in the query's result."""
        return [OpenJob(job.id, job.size, f"{job.first}-{job.last}") for job in list(self._jobs.values())]

    def send(self, batch: Sequence[Record]) -> None:
        """Hand over a batch, and look at the open jobs when that is due."""
        super().send(batch)
        self._poll_if_due()

    def finish(self) -> Iterator[Settled]:
        """Every verdict that is still to come.

        :raises KlaviyoTimeout: when the client's deadline passes while jobs are open.
        """
        self._poll_pause, self._next_poll = _FIRST_POLL, 0.0
        while self._tasks or (self._waits and self._jobs):
            if self._tasks:
                self._collect(timeout=self._poll_interval)
            else:
                self._rest()
            self._poll_if_due()
            yield from self.settled()
        yield from self.settled()

    def abandon(self, reason: str) -> Iterator[Settled]:
        """What became of the records so far, and all others as pending, for ``reason``."""
        yield from super().abandon(reason)
        for job in (*self._settling.values(), *self._jobs.values()):
            yield all_pending(self._spool.load(job.rows), f"import job {job.id} had no result yet; {reason}")

    def _rest(self) -> None:
        with self._client.waiting_for(self._when_late):
            self._client.rest(max(self._next_poll - self._client.clock.now(), 0.0))

    def _when_late(self) -> str:
        return (
            f"The time is up while {len(self._jobs)} import jobs have no result yet ({_shown(self._jobs)}). "
            "Raise timeout, or set wait_for_completion=False and wait with KlaviyoImportJobSensor."
        )

    def _deliver(self, batch: Sequence[Record], doubt: Doubt) -> None:
        together = [record for record in batch if not record.alone]
        if together:
            with self._refusals_noted(doubt) as refuse:
                self._refusals.deliver(together, post=lambda part: self._start(part, doubt), refuse=refuse)
        alone = [record for record in batch if record.alone]
        for start in range(0, len(alone), _SINGLES):
            self._import_each(alone[start : start + _SINGLES], doubt)

    def _import_each(self, records: Sequence[Record], doubt: Doubt) -> None:
        ticket = self._state.send(records)
        with self._refusals_noted(doubt) as refuse:
            self._singles.deliver_each(
                records, post=lambda part: self._import_one(part[0], doubt), refuse=refuse
            )
        self._state.settle(ticket)

    def _import_one(self, record: Record, doubt: Doubt) -> None:
        if left_out := import_one(self._client, record):
            self._remark(record, left_out)
        self._tell(Settled(accepted=1, verdicts=self._warnings([record])), [record], doubt)

    def _leave_out(self, record: Record, paths: Sequence[FieldPath]) -> bool:
        """Take fields from a person; none of them may be what identifies the person."""
        fields = {field_at(record.body, path) for path in paths}
        if not fields.isdisjoint(("", record.named(self._identifier()).field)):
            return False
        record.leave_out(fields)
        return True

    def _start(self, part: Sequence[Record], doubt: Doubt) -> None:
        ticket = self._state.send(part)
        job = start_import(self._client, [record.body for record in part], self._list_id)
        self._state.start(ticket, job.id)
        rows = self._spool.keep(part)
        self._jobs[job.id] = _OpenJob(
            job.id, len(part), part[0].number, part[-1].number, ticket, rows, self._client.clock.now()
        )
        doubt.settle(part)
        if warnings := self._warnings(part):
            self._tell(Settled(verdicts=warnings))
        log.info("Import job %s started with %s profiles.", job.id, f"{len(part):,}")

    def _poll_if_due(self) -> None:
        now = self._client.clock.now()
        if not self._waits or not self._jobs or now < self._next_poll:
            return
        self._poll_pause = min(self._poll_pause * 2, self._poll_interval)
        for job in self._terminal_jobs():
            self._settling[job.id] = self._jobs.pop(job.id)
            self._submit(self._settle, job)
        self._next_poll = self._client.clock.now() + self._poll_pause
        self._say_what_is_open(now)

    def _say_what_is_open(self, now: float) -> None:
        if self._jobs and now - self._said >= _SAY_INTERVAL:
            self._said = now
            people = sum(job.size for job in list(self._jobs.values()))
            log.info(
                "Waiting for Klaviyo to settle %d import jobs of %s profiles: %s.",
                len(self._jobs),
                f"{people:,}",
                _shown(self._jobs),
            )

    def _terminal_jobs(self) -> list[ImportJob]:
        now = self._client.clock.now()
        with self._client.waiting_for(self._when_late):
            jobs = find_import_jobs(self._client, list(self._jobs))
        return [job for job in jobs.values() if job.is_settled(now - self._jobs[job.id].started)]

    def _settle(self, job: ImportJob) -> None:
        opened = self._settling[job.id]
        load = cache(lambda: self._spool.load(opened.rows))
        verdict = read_verdicts(
            self._client,
            job,
            opened.size,
            load,
            lambda: place_by_identity(load(), self._identifier()),
            self._mend_once,
        )
        self._state.settle(opened.ticket, verdict.failed, verdict.pending)
        self._tell(verdict.settled)
        doubt = Doubt({record.number: record for record in verdict.again})
        self._doubts[id(doubt)] = doubt
        del self._settling[job.id]
        self._spool.drop(opened.rows)
        if verdict.again:
            log.info(
                "%s profiles go again, without the fields that Klaviyo refused.", f"{len(verdict.again):,}"
            )
            self._deliver(verdict.again, doubt)
            self._poll_pause, self._next_poll = _FIRST_POLL, 0.0
        del self._doubts[id(doubt)]

    def _mend_once(self, record: Record, objections: Sequence[Objection]) -> Record | None:
        """What is left of a record that a job has refused; a second job's verdict on it stands."""
        mended = None if record.number in self._sent_again else self._mend(record, objections)
        if mended is not None:
            self._sent_again.add(record.number)
        return mended


def _shown(jobs: Mapping[str, _OpenJob]) -> str:
    ids = list(jobs)
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
