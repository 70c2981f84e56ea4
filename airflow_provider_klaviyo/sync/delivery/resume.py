"""What an earlier try left behind: jobs in Klaviyo's hands, whose verdicts are fetched before anything is sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import starmap

from airflow_provider_klaviyo.client.jobs import ImportJob, find_import_jobs
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.state.ledger import Ledger, OpenImport, Sent
from airflow_provider_klaviyo.sync.delivery.import_results import SOMEBODY_ELSE, PlaceOf, read_verdicts

log = logging.getLogger(__name__)

_FIRST_POLL = 0.5


def settle_open_imports(client: KlaviyoClient, ledger: Ledger, poll_interval: float) -> None:
    """Wait for the jobs that the state knows as open, and write their verdicts into it.

    Who was taken is unchanged in this run; everybody else is sent again.

    :raises KlaviyoTimeout: when the client's deadline passes while jobs are open; they stay noted.
    """
    waiting = {opened.id: opened for opened in ledger.open_imports}
    if not waiting:
        return
    log.info("An earlier try left %d import jobs without a result: waiting for them first.", len(waiting))
    started, pause = client.clock.now(), _FIRST_POLL
    with client.waiting_for(lambda: _late(len(waiting))):
        while True:
            waited = client.clock.now() - started
            for job in find_import_jobs(client, list(waiting)).values():
                if job.is_settled(waited):
                    _settle(client, ledger, job, waiting.pop(job.id))
            if not waiting:
                return
            client.rest(pause)
            pause = min(pause * 2, poll_interval)


def _settle(client: KlaviyoClient, ledger: Ledger, job: ImportJob, opened: OpenImport) -> None:
    records = [Record(place, (), "", b"") for place in range(len(opened.rows))]
    verdict = read_verdicts(client, job, len(records), lambda: records, lambda: _place_by_hash(opened.rows))
    failed, pending = verdict.failed, verdict.pending
    ledger.settle(opened.ticket, failed, pending)
    log.info(
        "Import job %s of an earlier try: %s profiles taken, %s refused, %s without a verdict.",
        job.id,
        f"{len(opened.rows) - len(failed) - len(pending):,}",
        f"{len(failed):,}",
        f"{len(pending):,}",
    )


def _place_by_hash(rows: Sequence[Sent]) -> PlaceOf:
    """Finds people by the hashes that the state has of them; which field each is known by, it does not tell."""
    people = {row.person: place for place, row in enumerate(rows)}

    def place_of(identifiers: Mapping[str, str]) -> int | None:
        hashes = map(person_hash, starmap(Identity, identifiers.items()))
        found = (people[each] for each in hashes if each in people)
        return next(found, SOMEBODY_ELSE if identifiers else None)

    return place_of


def _late(jobs: int) -> str:
    return f"The time is up while {jobs} import jobs of an earlier try have no result yet. Raise timeout."
