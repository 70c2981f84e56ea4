"""What an earlier try left behind: jobs in Klaviyo's hands, whose verdicts are fetched before anything is sent."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap

from airflow_provider_klaviyo.client.job_kinds import job_kind
from airflow_provider_klaviyo.client.jobs import Job, JobKind, find_jobs
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.replica import UnsettledJob
from airflow_provider_klaviyo.state.rows import Sent
from airflow_provider_klaviyo.sync.delivery.job_results import SOMEBODY_ELSE, IndexOf, read_verdicts

log = logging.getLogger(__name__)

_FIRST_POLL = 0.5


def settle_open_jobs(client: KlaviyoClient, ledger: Ledger, poll_interval: float) -> None:
    """Wait for the jobs that the state knows as open, of whatever kind, and write their verdicts into it.

    Who was taken is unchanged in this run; everybody else is sent again.

    :param poll_interval: seconds between two looks at the jobs; the first looks come sooner.
    :raises KlaviyoConfigurationError: when this release does not know the kind of a job.
    :raises KlaviyoTimeout: when the client's deadline passes while jobs are open; they stay noted.
    """
    waiting = _by_kind(ledger.open_jobs)
    if not waiting:
        return
    log.info("An earlier try left %s without a result: waiting for them first.", _shown(waiting))
    started, pause = client.clock.now(), _FIRST_POLL
    with client.waiting_for(lambda: _late(waiting)):
        while True:
            for kind, opened in waiting.items():
                waited = client.clock.now() - started
                for job in find_jobs(client, kind, list(opened)).values():
                    if kind.is_settled(job, waited):
                        _settle(client, ledger, kind, job, opened.pop(job.id))
            waiting = {kind: opened for kind, opened in waiting.items() if opened}
            if not waiting:
                return
            client.rest(pause)
            pause = min(pause * 2, poll_interval)


def _by_kind(jobs: Iterable[UnsettledJob]) -> dict[JobKind, dict[str, UnsettledJob]]:
    """Open jobs by their kinds and ids."""
    kinds: dict[JobKind, dict[str, UnsettledJob]] = {}
    for job in jobs:
        kinds.setdefault(job_kind(job.kind), {})[job.id] = job
    return kinds


def _settle(client: KlaviyoClient, ledger: Ledger, kind: JobKind, job: Job, opened: UnsettledJob) -> None:
    records = [Record(index, (), "", b"") for index in range(len(opened.rows))]
    verdict = read_verdicts(
        client, kind, job, len(records), lambda: records, lambda: _index_by_hash(opened.rows)
    )
    failed, pending = verdict.failed, verdict.pending
    ledger.settle(opened.ticket, failed, pending)
    log.info(
        "%s %s of an earlier try: %s taken, %s refused, %s without a verdict.",
        kind.noun.capitalize(),
        job.id,
        kind.records(len(opened.rows) - len(failed) - len(pending)),
        f"{len(failed):,}",
        f"{len(pending):,}",
    )


def _index_by_hash(rows: Sequence[Sent]) -> IndexOf:
    """Finds people by the hashes that the state has of them; which field each is known by, it does not tell."""
    people = {row.person: index for index, row in enumerate(rows)}

    def index_of(identifiers: Mapping[str, str]) -> int | None:
        hashes = map(person_hash, starmap(Identity, identifiers.items()))
        found = (people[each] for each in hashes if each in people)
        return next(found, SOMEBODY_ELSE if identifiers else None)

    return index_of


def _shown(waiting: Mapping[JobKind, Mapping[str, object]]) -> str:
    return " and ".join(kind.counted(len(jobs)) for kind, jobs in waiting.items() if jobs)


def _late(waiting: Mapping[JobKind, Mapping[str, object]]) -> str:
    has = "has" if sum(map(len, waiting.values())) == 1 else "have"
    return f"The time is up while {_shown(waiting)} of an earlier try {has} no result yet. Raise timeout."
