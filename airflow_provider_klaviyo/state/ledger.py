"""What Klaviyo has acknowledged, for each primary key: the log is the truth, the table answers quickly."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from airflow_provider_klaviyo.state.asked import AskedAddresses
from airflow_provider_klaviyo.state.encounters import Met
from airflow_provider_klaviyo.state.entries.asked import Answered, Asking, Concluded
from airflow_provider_klaviyo.state.entries.people import Identified, Leaving, Removed, Shared, Unshared
from airflow_provider_klaviyo.state.entries.rows import Doubt, Failed, Hashed, Job, Moved, Stale, Verdict
from airflow_provider_klaviyo.state.entries.runs import Refresh, Run, TakenOver
from airflow_provider_klaviyo.state.journal import Journal
from airflow_provider_klaviyo.state.replica import UnsettledJob
from airflow_provider_klaviyo.state.rows import Known, Sent, Status
from airflow_provider_klaviyo.state.shared import SharedIdentifiers
from airflow_provider_klaviyo.state.tracked import TrackedPeople

_REHASHED = 50_000
"""So many rows that were hashed anew share an entry."""


class Ledger:
    """The state of one sync during one run.

    Rows are in doubt from before their request leaves until Klaviyo's verdict, and doubt is not acknowledgement: after
    a kill they are sent again, unless the job that took them is known, which then tells. Keys, people and identifiers
    are given as hashes (``state.keys``). Methods may be called from any thread; those that change something raise
    ``StateConflict`` when another run wrote to the state meanwhile.

    :param journal: all that has happened.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._replica = journal.replica
        self._table = journal.replica.table
        self._fingerprints: dict[int, int] = {}
        self._earlier_tries_since: int | None = None

    # --- what is known ----------------------------------------------------------------------------------------

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever acknowledged under this name."""
        return self._replica.is_new

    @property
    def target(self) -> Mapping[str, str]:
        """What this is a state of."""
        return self._journal.target

    @property
    def runs(self) -> Sequence[Mapping[str, Any]]:
        """The last runs, oldest first, as ``record_run`` was told of them."""
        return self._replica.runs

    @property
    def open_jobs(self) -> list[UnsettledJob]:
        """Jobs that were started and whose verdict is not known."""
        with self._journal.lock:
            return self._replica.open_jobs

    def has_open(self, ticket: int, job_id: str) -> bool:
        """Whether a job is known as open, with its rows under that ticket."""
        with self._journal.lock:
            job = self._replica.jobs.get(ticket)
        return job is not None and job.id == job_id

    @property
    def people(self) -> TrackedPeople:
        """Whom the sync has put on its list."""
        return self._table.people

    @property
    def shared(self) -> SharedIdentifiers:
        """Whose the identifiers are that several people have."""
        return self._table.shared

    @property
    def asked(self) -> AskedAddresses:
        """Who was asked, at which address and when."""
        return self._table.asked

    def has_acknowledged(self) -> bool:
        """Whether anything of this state was acknowledged, and still counts."""
        return bool(self.counts().get(Status.ACKNOWLEDGED))

    def counts(self) -> Mapping[Status, int]:
        """How many keys the state holds, of rows and of addresses that were asked at, by status."""
        return self._replica.counts()

    def meet(self, keys: Sequence[int]) -> Met:
        """Which keys occur for the first time in this run, and what Klaviyo has acknowledged under them.

        :param keys: those of a chunk of rows, in their order.
        """
        return self._table.meet(keys, self._replica.refreshed.serial)

    def go_on(self, run_id: str, map_index: int) -> None:
        """Be the state of a run that was tried before."""
        self._earlier_tries_since = self._replica.before_tries_of(run_id, map_index)

    def taken_by_earlier_tries(self, keys: Sequence[int]) -> Collection[int]:
        """Which of some acknowledged keys an earlier try of this run has brought to Klaviyo."""
        since = self._earlier_tries_since
        if since is None:
            return ()
        return {key for key, known in self._table.look_up(keys).items() if known.serial > since}

    def knows(self, key: int) -> bool:
        """Whether anything is kept of a row."""
        return bool(self._table.look_up([key]))

    def look_up(self, keys: Sequence[int]) -> Mapping[int, Known]:
        """What is kept of some rows."""
        return self._table.look_up(keys)

    def keys_of_person(self, person: int) -> list[int]:
        """The rows that name a person, and the addresses that this person was asked at."""
        return self._replica.keys_of_person(person)

    # --- what happens to rows ---------------------------------------------------------------------------------

    def mark_in_doubt(self, rows: Sequence[Sent], *, overrules: bool = True) -> int:
        """Put rows in doubt, before their request leaves; the ticket stands for them.

        :param rows: in the order of the request, which verdicts refer to.
        :param overrules: whether a row ends the acknowledgement of other rows of its person.
        """
        return self._journal.append(Doubt(rows, overrules))

    def start(self, ticket: int, job_id: str, kind: str = "") -> None:
        """Note which job took the rows of a ticket.

        :param kind: the name of the job's kind (``client.job_kinds``); empty for profile imports.
        """
        self._journal.append(Job(ticket, job_id, kind))

    def settle(self, ticket: int, failed: Sequence[int] = (), pending: Sequence[int] = ()) -> None:
        """Klaviyo's verdict on the rows of a ticket: all are acknowledged but those at the places given.

        :param failed: places of rows that Klaviyo refused.
        :param pending: places of rows that stay in doubt.
        """
        self._journal.append(Verdict(ticket, failed, pending))

    def fail(self, keys: Sequence[int]) -> None:
        """Note whom Klaviyo refused, so that they are tried again even when they do not change."""
        self._journal.append(Failed(keys))

    def invalidate(self, keys: Sequence[int]) -> None:
        """Let acknowledgements count no longer, because another row speaks for the same person."""
        known = self._table.look_up(keys)
        stale = [key for key, found in known.items() if found.status is Status.ACKNOWLEDGED]
        if stale:
            self._journal.append(Stale(stale))

    def move(self, rows: Sequence[Sent], *, is_acknowledged: bool) -> None:
        """Note whom rows name now that are not sent, because another row or the list itself has the person already.

        A row whose value is bad one day still stands for its person, so rows that the state does not know are entered.

        :param is_acknowledged: whether the people are on the list; otherwise the rows count as stale.
        """
        keys = [row.key for row in rows]
        named = self._table.persons_of(keys)
        known = self._table.look_up(keys) if is_acknowledged else {}
        doubted = {key for key, found in known.items() if found.status is not Status.ACKNOWLEDGED}
        moved = [row for row in rows if row.key in doubted or named.get(row.key) != row.person]
        if moved:
            self._journal.append(Moved(moved, is_acknowledged))

    def rehash(self, fingerprints: Mapping[int, int]) -> None:
        """Note the fingerprints, by key, of rows that are acknowledged as they are and were hashed another way before.

        They are written with the run at the latest: until then, and after a kill, the old ones serve.
        """
        with self._journal.lock:
            self._fingerprints |= fingerprints
            if len(self._fingerprints) >= _REHASHED:
                self._write_fingerprints()

    def _write_fingerprints(self) -> None:
        with self._journal.lock:
            fingerprints, self._fingerprints = self._fingerprints, {}
            if fingerprints:
                self._journal.append(Hashed(fingerprints))

    # --- what happens to people -------------------------------------------------------------------------------

    def share(self, field: str, owners: Mapping[int, int]) -> None:
        """Note who keeps which identifiers of a field, before anything is sent for others who have them, too.

        :param field: what the identifiers are, as Klaviyo names it.
        :param owners: people by identifier.
        """
        self._journal.append(Shared(field, owners))

    def unshare(self, values: Sequence[int]) -> None:
        """Note that whoever comes may have these identifiers."""
        self._journal.append(Unshared(values))

    def ask(self, people: Mapping[int, int], at: int) -> int:
        """Note who is about to be asked, before the request leaves; the ticket stands for them.

        :param people: whose the addresses are, by address.
        :param at: when, in seconds since the epoch by Klaviyo's clock.
        """
        return self._journal.append(Asking(at, people))

    def answer(self, ticket: int, *, is_taken: bool) -> None:
        """Note whether Klaviyo took the request of a ticket: otherwise nobody was asked."""
        self._journal.append(Answered(ticket, is_taken))

    def conclude(self, addresses: Sequence[int]) -> None:
        """Note that the outcome of asking at these has shown: asking again is asking anew."""
        self._journal.append(Concluded(addresses))

    def leave(self, persons: Sequence[int], run: str) -> set[int]:
        """Note who is about to be taken off the list: who comes back from now on is put on it again.

        :param run: whose try this is; as long as it has not succeeded, ``departed`` tells whom its tries took off.
        :returns: those of them of whom an earlier run had noted the same.
        """
        with self._journal.lock:
            settled = self._table.people_with_settled_rows(persons)
            self._journal.append(Leaving(persons, run))
        return set(persons) - settled

    def remove(self, persons: Sequence[int]) -> None:
        """Note who is off the list, and keep nothing else of them."""
        self._journal.append(Removed(persons))

    def departed(self, run: str) -> set[int]:
        """Whom the tries of a run that has not succeeded yet have begun to take off the list."""
        return self._table.departed.by(run)

    def identify(self, ids: Mapping[int, Sequence[str]]) -> None:
        """Note Klaviyo's ids of people on the list.

        :param ids: what the list shows, by person; none where it shows nobody.
        """
        self._journal.append(Identified(ids))

    def forget(self, keys: Sequence[int], persons: Sequence[int] = ()) -> None:
        """Delete what is kept of some rows, addresses that were asked at, and people, from the log too.

        :param keys: of rows and addresses.
        """
        with self._journal.lock:
            self._replica.forget(keys, persons)
        self._journal.compact(keep_previous=False)

    # --- what happens to the state ----------------------------------------------------------------------------

    def become(self, target: Mapping[str, str]) -> None:
        """Go on as the state of another target with all that is remembered."""
        self._journal.become(target)

    def restart(self) -> None:
        """Begin anew: nothing that was acknowledged so far counts, and nobody was put on a list."""
        self._journal.restart()

    def refresh(self, run_id: str) -> None:
        """Let every acknowledgement so far count no longer; once for all tries of a run.

        :param run_id: Airflow's; a run that has succeeded and is run again refreshes again.
        """
        if not self._replica.is_refreshed_by(run_id):
            self._journal.append(Refresh(run_id))

    def take_over(self, left_by: str) -> None:
        """Go on in the place of a run that may be alive, which cannot write from now on.

        :param left_by: who that is.
        """
        self._journal.append(TakenOver(left_by))

    def record_run(self, told: Mapping[str, Any]) -> None:
        """Remember a run, and compact the log when it has grown.

        :param told: what the run counted, as JSON has it; ``run`` is its id, ``succeeded`` whether it did.
        """
        self._write_fingerprints()
        self._journal.append(Run(told))
        self.compact_if_grown()

    def compact_if_grown(self) -> None:
        """Compact a log that takes long to read, unless jobs are open."""
        self._journal.compact_if_grown()

    def compact(self, *, keep_previous: bool = True) -> None:
        """Write a snapshot, and delete the entries that it replaces.

        :param keep_previous: keep the snapshot before it too, in case this one is damaged.
        """
        self._journal.compact(keep_previous=keep_previous)

    def close(self) -> None:
        """Give the table back; the log has everything."""
        self._journal.close()
