"""People off a list: members are looked up a hundred at a time, and only they are taken off, a thousand at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from airflow_provider_klaviyo.client.endpoints import REMOVE_FROM_LIST
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import remove_members
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.notes import Who
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements
from airflow_provider_klaviyo.sync.delivery.pool import InFlightBatch, PooledDelivery, in_parts
from airflow_provider_klaviyo.sync.delivery.refusals import ABOUT_RECORDS, RefusalHandler, Refuse, SplitBatch
from airflow_provider_klaviyo.sync.in_flight.notes import QUICK, REMOVAL, InFlight, who
from airflow_provider_klaviyo.sync.lists.members import Find
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict

ABOUT_MEMBERS = (*ABOUT_RECORDS, 404)
"""What Klaviyo answers when one of many ids is nobody's is not documented."""

NOT_ON_LIST = Problem("", "not_on_list: the person is not on the list")

Remove = Callable[[Sequence[str]], Mapping[str, str]]
"""Takes the profiles of these ids off the list, but for those that it gives back, with why they are left for later."""


class RemovalDelivery(PooledDelivery[Record]):
    """Takes people off a list; a person that is not on it is skipped.

    ``removed`` is how many profiles were taken off: two rows may name one. ``left_for_later`` counts people who stay
    for now, since an unsubscription is on its way for them.

    :param find: tells who of a batch is on the list.
    :param remove: takes them off; a preview only pretends to.
    :param find_again: the same where Klaviyo has refused to take some off; None asks as at first.
    """

    _paced_by = REMOVE_FROM_LIST

    def __init__(
        self,
        client: KlaviyoClient,
        state: Acknowledgements,
        find: Find,
        remove: Remove,
        find_again: Find | None = None,
    ) -> None:
        super().__init__(client, state)
        self.removed = 0
        self.left_for_later = 0
        self._find = find
        self._find_again = find_again or find
        self._remove = remove
        self._lock = threading.Lock()
        self._refusals: RefusalHandler[Record] = RefusalHandler(
            REMOVE_FROM_LIST.records, about_records=ABOUT_MEMBERS, has_history=state.has_history
        )

    def _deliver(self, batch: Sequence[Record], unsettled: InFlightBatch) -> None:
        ticket = self._state.mark_in_doubt(batch)
        with self._refusals_noted(unsettled) as refuse:
            members = _Members(self._looked_up(batch, unsettled, refuse))
            found = [record for record in batch if record.number in members.ids]
            for part in in_parts(found, REMOVE_FROM_LIST.max_records):
                self._refusals.deliver(part, lambda some: self._take_off(some, members, unsettled), refuse)
        self._state.settle(
            ticket, pending=[index for index, record in enumerate(batch) if record.number not in members.ids]
        )

    def _looked_up(
        self, batch: Sequence[Record], unsettled: InFlightBatch, refuse: Refuse[Record]
    ) -> dict[int, Sequence[str]]:
        """The ids of those who are on the list; all others get their verdict."""
        looked = self._find(batch)
        self._skip(looked.absent(batch), NOT_ON_LIST, unsettled)
        for record in batch:
            if reason := looked.reasons.get(record.number):
                if reason.outcome is Outcome.REJECTED:
                    refuse(record, reason.problem)
                else:
                    self._skip([record], reason.problem, unsettled)
        return dict(looked.ids)

    def _take_off(self, part: Sequence[Record], members: _Members, unsettled: InFlightBatch) -> bool:
        """Take some off; whether any of them was to be taken off after all."""
        profiles = members.left_of(part)
        held: dict[str, str] = {}
        try:
            for start in range(0, len(profiles), REMOVE_FROM_LIST.max_records):
                some = profiles[start : start + REMOVE_FROM_LIST.max_records]
                held |= self._remove(some)
                self._count(members, [each for each in some if each not in held])
        except KlaviyoRequestError as error:
            return self._are_off(part, members, error, unsettled)
        waiting = self._leave_for_later(part, members, held, unsettled) if held else set()
        done = [record for record in part if record.number not in waiting]
        self._publish(Settled(accepted=len(done)), done, unsettled)
        return bool(done)

    def _leave_for_later(
        self, part: Sequence[Record], members: _Members, held: Mapping[str, str], unsettled: InFlightBatch
    ) -> set[int]:
        """Leave people to the next run that may not be taken off now; returns their numbers."""
        reasons = {
            record.number: held[each] for record in part for each in members.left_of([record]) if each in held
        }
        waiting = [record for record in part if record.number in reasons]
        self._state.refuse(waiting)
        with self._lock:
            self.left_for_later += len(waiting)
        verdicts = [
            Verdict(record.number, record.row, Outcome.PENDING, (Problem("", reasons[record.number]),))
            for record in waiting
        ]
        self._publish(Settled(verdicts=verdicts), waiting, unsettled)
        return set(reasons)

    def _are_off(
        self, part: Sequence[Record], members: _Members, error: KlaviyoRequestError, unsettled: InFlightBatch
    ) -> bool:
        """Find out after a refusal which people are off the list: a lost try took them off, or the profile was deleted.

        :raises SplitBatch: to have all others taken off.
        :raises KlaviyoRequestError: the refusal, when all are on the list.
        """
        if error.status not in ABOUT_MEMBERS:
            raise error
        off = self._find_again(part).absent(part)
        if not off:
            raise error
        taken = {record.number for record in off if error.was_repeated or not members.left_of([record])}
        done = [record for record in off if record.number in taken]
        gone = [record for record in off if record.number not in taken]
        self._count(members, members.left_of(done))
        self._publish(Settled(accepted=len(done)), done, unsettled)
        members.forget(gone)
        self._skip(gone, NOT_ON_LIST, unsettled)
        if len(off) < len(part):
            numbers = {record.number for record in off}
            raise SplitBatch([[record for record in part if record.number not in numbers]])
        return bool(done)

    def _count(self, members: _Members, profiles: Sequence[str]) -> None:
        members.off.update(profiles)
        with self._lock:
            self.removed += len(profiles)

    def _skip(self, records: Sequence[Record], problem: Problem, unsettled: InFlightBatch) -> None:
        verdicts = [Verdict(record.number, record.row, Outcome.SKIPPED, (problem,)) for record in records]
        self._publish(Settled(verdicts=verdicts), records, unsettled)


class _Members:
    """The profiles of a batch that are on the list, by the records' numbers, and which of them are off by now."""

    def __init__(self, ids: dict[int, Sequence[str]]) -> None:
        self.ids = ids
        self.off: set[str] = set()

    def left_of(self, records: Sequence[Record]) -> list[str]:
        """The profiles of some records that are still on the list, each once."""
        ids = dict.fromkeys(each for record in records for each in self.ids[record.number])
        return [each for each in ids if each not in self.off]

    def forget(self, records: Sequence[Record]) -> None:
        """Take out people that are no longer on the list."""
        for record in records:
            del self.ids[record.number]


class Removals:
    """Notes in the state which people are about to be taken off the list, and which are off it.

    :param run: whose try this is.
    """

    def __init__(self, ledger: Ledger, run: str) -> None:
        self._ledger = ledger
        self._run = run
        self._lock = threading.Lock()
        self._tickets: dict[int, tuple[list[int], set[int]]] = {}
        self._refused: set[int] = set()
        self._last = 0

    def mark_in_doubt(self, records: Sequence[Record]) -> int:
        """Before the request: a person that comes back into the query meanwhile is to be put on the list again."""
        persons = [record.person for record in records]
        looked_for_before = self._ledger.leave(persons, self._run)
        with self._lock:
            self._last += 1
            self._tickets[self._last] = persons, looked_for_before
            return self._last

    def start(self, ticket: int, job_id: str, kind: str) -> None:
        """Removals are no jobs."""

    def settle(self, ticket: int, failed: Sequence[int] = (), pending: Sequence[int] = ()) -> None:  # noqa: ARG002
        """After the answer: keep nothing of people that are off the list.

        :param pending: indexes of those who were not found on it. They may have joined a moment ago and not show yet,
            so the next run looks for them once more.
        """
        with self._lock:
            persons, looked_for_before = self._tickets.pop(ticket)
            kept = {persons[index] for index in pending} - looked_for_before
            gone = [person for person in persons if person not in self._refused | kept]
        self._ledger.remove(gone)

    def has_history(self) -> bool:
        """Those who are to be removed were added by this sync."""
        return True

    def refuse(self, records: Sequence[Record]) -> None:
        """Klaviyo would not take these off: they are tried again by the next run."""
        with self._lock:
            self._refused.update(record.person for record in records)


def remover(client: KlaviyoClient, list_id: str, in_flight: InFlight) -> Remove:
    """What takes profiles off a list, but for those whose unsubscription from it is on its way."""

    def remove(ids: Sequence[str]) -> Mapping[str, str]:
        held: dict[str, str] = {}

        def free(ids: Sequence[str]) -> Sequence[str]:
            claim = in_flight.claim(REMOVAL, as_noted(ids))
            held.update({ids[index]: reason for index, reason in claim.held.items()})
            return [each for each in ids if each not in held]

        remove_members(client, list_id, ids, free, QUICK)
        return held

    return remove


def as_noted(ids: Sequence[str]) -> list[Who]:
    """Profiles as notes know them."""
    return [who([("klaviyo_id", each)]) for each in ids]
