"""What the entries of a log add up to: each changes it in the same way when it is written and when it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from airflow_provider_klaviyo.state.doubts import Doubts
from airflow_provider_klaviyo.state.rows import Sent, Status
from airflow_provider_klaviyo.state.table import StateTable

_RUNS = 20
"""So many runs are remembered for those who look at a state."""

_TABLE = "state.sqlite"


class Refreshed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last refresh.

    :param run: the run that asked for it; None when there was none.
    :param serial: the number of its entry; what was acknowledged up to it counts no longer.
    """

    run: str | None = None
    serial: int = 0


class StartedJob(NamedTuple):
    """A job of Klaviyo's.

    :param id: Klaviyo's name for it.
    :param kind: the name of its kind (``client.job_kinds``); empty where all jobs were profile imports.
    """

    id: str
    kind: str


class UnsettledJob(msgspec.Struct, frozen=True, rename={"id": "job"}):
    """A job without a verdict.

    :param id: Klaviyo's name for it.
    :param ticket: stands for its rows.
    :param rows: what is in it, in its order.
    :param kind: the name of its kind; empty where all jobs were profile imports.
    """

    id: str
    ticket: int
    rows: list[Sent]
    kind: str = ""


class Snapshot(msgspec.Struct, frozen=True):
    """What a snapshot holds beside the table."""

    target: dict[str, str]
    runs: list[dict[str, Any]]
    refresh: Refreshed
    open: list[UnsettledJob]


class Replica:
    """The table, and what is beside it: jobs that are open, the last runs and the last refresh.

    :param scratch: a private folder of this run; what is there already is taken for the table of a snapshot.
    :raises StateUnreadable: when the table is of another release's form.
    """

    def __init__(self, scratch: Path) -> None:
        self.table = StateTable(table_in(scratch))
        self.doubts = Doubts(scratch)
        self.jobs: dict[int, StartedJob] = {}
        self.runs: list[dict[str, Any]] = []
        self.refreshed = Refreshed()
        self.serial = 0
        """The number of the entry that was applied last, or is being applied."""

    @property
    def is_new(self) -> bool:
        """Whether nothing ever happened here."""
        return not self.runs and self.table.is_empty() and self.table.asked.is_empty()

    @property
    def holds_nothing(self) -> bool:
        """Whether nothing is here that was sent: no row that counts, nobody on a list or asked, and no job."""
        return (
            not self.jobs
            and not self.table.people.count()
            and self.table.asked.is_empty()
            and self.table.counts().keys() <= {Status.STALE}
        )

    @property
    def open_jobs(self) -> list[UnsettledJob]:
        """Jobs that were started and whose verdict is not known, oldest first."""
        return [
            UnsettledJob(job.id, ticket, self.doubts.rows_of(ticket), job.kind)
            for ticket, job in self.jobs.items()
        ]

    def before_tries_of(self, run_id: str, map_index: int) -> int:
        """The number of the last entry before the tries of a run that have not succeeded yet; 0 where there is none."""
        others = (
            run["serial"]
            for run in self.runs
            if run.get("succeeded") or (run.get("run"), run.get("map_index", -1)) != (run_id, map_index)
        )
        return max(others, default=0)

    def is_refreshed_by(self, run_id: str) -> bool:
        """Whether the last refresh was this run's, and the run has not succeeded since."""
        last = self.refreshed
        return last.run == run_id and not any(
            run.get("run") == run_id and run.get("succeeded") and run["serial"] > last.serial
            for run in self.runs
        )

    def remember(self, run: Mapping[str, Any]) -> None:
        """Remember a run, and of earlier ones only the last.

        :param run: what it counted, with the number of its entry as ``serial``.
        """
        self.runs = [*self.runs, dict(run)][-_RUNS:]

    def snapshot(self, target: Mapping[str, str]) -> Snapshot:
        """What a snapshot holds beside the table.

        :param target: what the state is a state of.
        """
        return Snapshot(dict(target), self.runs, self.refreshed, self.open_jobs)

    def restore(self, snapshot: Snapshot) -> None:
        """Be what was when a snapshot was written, whose table is here already."""
        self.runs = list(snapshot.runs)
        self.refreshed = snapshot.refresh
        for job in snapshot.open:
            self.doubts.keep(job.ticket, job.rows)
            self.jobs[job.ticket] = StartedJob(job.id, job.kind)

    def counts(self) -> dict[Status, int]:
        """How many rows and addresses that were asked at there are, by status."""
        return dict(Counter(self.table.counts()) + Counter(self.table.asked.counts()))

    def keys_of_person(self, person: int) -> list[int]:
        """The rows that name a person, and the addresses that this person was asked at."""
        return [*self.table.keys_of_person(person), *self.table.asked.of(person)]

    def forget(self, keys: Sequence[int], persons: Sequence[int]) -> None:
        """Keep nothing of some rows and addresses, of whom they name, and of other people."""
        known = [*self.table.persons_of(keys).values(), *persons]
        self.table.people.forget(known)
        self.table.departed.forget(known)
        self.table.shared.forget(known)
        self.table.forget(keys)
        self.table.asked.forget(keys)
        gone = set(keys)
        for ticket in self.jobs:
            self.doubts.forget(ticket, gone)

    def clear(self) -> None:
        """Be as if nothing had happened; whom this run met is still known."""
        self.table.clear()
        self.jobs, self.runs, self.refreshed = {}, [], Refreshed()

    def close(self) -> None:
        """Give the table back; nothing can be asked from then on."""
        self.table.close()


def table_in(scratch: Path) -> Path:
    """Where the table is, below the private folder of a run."""
    return scratch / _TABLE
