"""What an earlier try left behind: jobs in Klaviyo's hands, whose verdicts are fetched before anything is sent."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import starmap

from airflow_provider_klaviyo.client.job_kinds import job_kind
from airflow_provider_klaviyo.client.jobs import Job, JobKind, find_jobs
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.errors import JobsUnderWay
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.replica import UnsettledJob
from airflow_provider_klaviyo.state.rows import Sent
from airflow_provider_klaviyo.sync.delivery.job_results import SOMEBODY_ELSE, IndexOf, read_verdicts

log = logging.getLogger(__name__)

PATIENCE = 86_400.0
"""Age in seconds at which a job without a result is given up. Klaviyo takes minutes for a job, and forgets it after
seven days: from one that took a day there is nothing to be hoped for, and a daily sync has lost one run to it."""

HURRY = 600.0
"""The same in a run that sends every row again anyway. Jobs that may still be at work as usual are waited for also
then: what they do after this run would turn its people back."""

_FIRST_POLL = 0.5
_SHOWN_JOBS = 3


def settle_open_jobs(
    client: KlaviyoClient,
    ledger: Ledger,
    poll_interval: float,
    *,
    patience: float = PATIENCE,
    waits: float = math.inf,
) -> str:
    """Wait for the jobs that the state knows as open, of whatever kind, and write their verdicts into it.

    Who was taken is unchanged in this run; everybody else is sent again, as are the rows of jobs that are given up.

    :param poll_interval: seconds between two looks at the jobs; the first looks come sooner.
    :param patience: the age in seconds at which a job is given up; by how long it was waited for where Klaviyo does
        not say when it made it.
    :param waits: seconds that it may take here; who calls comes again later.
    :returns: what is to be said of the jobs that were given up; empty where there were none.
    :raises KlaviyoConfigurationError: when this release does not know the kind of a job.
    :raises KlaviyoTimeout: when the client's deadline passes while jobs are open; they stay noted.
    :raises JobsUnderWay: when it took longer than ``waits``; they stay noted, too.
    """
    ends = client.clock.monotonic() + waits
    leftovers = _Leftovers(client, ledger, patience)
    if leftovers.are_left():
        log.info("An earlier try left %s without a result: waiting for them first.", leftovers)
    pause = 0.0
    with client.waiting_for(leftovers.when_late):
        while leftovers.are_left():
            client.rest(min(pause, max(ends - client.clock.monotonic(), 0.0)))
            leftovers.look()
            if leftovers.are_left() and client.clock.monotonic() >= ends:
                raise JobsUnderWay(leftovers.under_way())
            pause = min(max(pause * 2, _FIRST_POLL), poll_interval)
    return leftovers.notice


class _Leftovers:
    """The open jobs of earlier tries."""

    def __init__(self, client: KlaviyoClient, ledger: Ledger, patience: float) -> None:
        self._client = client
        self._ledger = ledger
        self._patience = patience
        self._began = client.clock.monotonic()
        self._waiting = _by_kind(ledger.open_jobs)
        self._created: dict[str, float | None] = {}
        self._given_up: list[str] = []

    def __str__(self) -> str:
        return " and ".join(kind.counted(len(jobs)) for kind, jobs in self._waiting.items() if jobs)

    def are_left(self) -> bool:
        """Whether there is one that is neither settled nor given up."""
        return any(self._waiting.values())

    def look(self) -> None:
        """Ask for all of them; settle those that have a result, and give up those that are too old to get one."""
        for kind, opened in self._waiting.items():
            waited = self._client.clock.monotonic() - self._began
            for job in find_jobs(self._client, kind, list(opened)).values() if opened else ():
                self._created[job.id] = job.created
                if kind.is_settled(job, waited):
                    _settle(self._client, self._ledger, kind, job, opened.pop(job.id))
                elif self._age(job.id, otherwise=waited) >= self._patience:
                    self._give_up(kind, opened.pop(job.id))

    @property
    def notice(self) -> str:
        """What is to be said of those that were given up; empty where there were none."""
        if not self._given_up:
            return ""
        return (
            f"Given up, since Klaviyo has not come to their end: {_listed(self._given_up)}. Their rows are sent "
            "again. Should one of them end yet, it can turn its people back to what they were then, and put back "
            "on a list who has left it since."
        )

    def under_way(self) -> str:
        """What is waited for."""
        return (
            f"Klaviyo has no result yet of {self} that an earlier try has left: {_listed(self._all_shown())}."
        )

    def when_late(self) -> str:
        """What to say when the time is up."""
        shown = self._all_shown()
        has = "has" if len(shown) == 1 else "have"
        key = self._ledger.target.get("state_key", "")
        return (
            f"The time is up while {self} of an earlier try {has} no result yet: {_listed(shown)}. Nothing new was "
            "sent. Runs wait for a job until it is 24 hours old, then they send its rows again. A run with "
            "full_refresh=True waits for none that is older than ten minutes, and sends every row; after "
            f"`python -m airflow_provider_klaviyo state reset {key}` the next run knows nothing of them. "
            "If Klaviyo is only slow, raise timeout."
        )

    def _give_up(self, kind: JobKind, opened: UnsettledJob) -> None:
        shown = f"{self._shown(kind, opened.id)} with {kind.records(len(opened.rows))}"
        self._ledger.settle(opened.ticket, pending=range(len(opened.rows)))
        self._given_up.append(shown)
        log.warning("Given up: %s. Its rows are sent again.", shown)

    def _all_shown(self) -> list[str]:
        return [self._shown(kind, job_id) for kind, opened in self._waiting.items() for job_id in opened]

    def _shown(self, kind: JobKind, job_id: str) -> str:
        created = self._created.get(job_id)
        if created is None:
            return f"{kind.noun} {job_id}"
        began = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"{kind.noun} {job_id} (of {began}, {_in_words(self._age(job_id, otherwise=0.0))} ago)"

    def _age(self, job_id: str, *, otherwise: float) -> float:
        created = self._created.get(job_id)
        return otherwise if created is None else self._client.server_now() - created


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
    log.debug(
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


def _listed(shown: Sequence[str]) -> str:
    more = f" and {len(shown) - _SHOWN_JOBS:,} more" if len(shown) > _SHOWN_JOBS else ""
    return "; ".join(shown[:_SHOWN_JOBS]) + more


def _in_words(seconds: float) -> str:
    """A duration: minutes up to two hours, hours from then on."""
    minutes = max(int(seconds), 0) // 60
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"
