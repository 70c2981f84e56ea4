"""People off a list: members are looked up a hundred at a time, and only they are taken off, a thousand at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from airflow_provider_klaviyo.client.answers import Document
from airflow_provider_klaviyo.client.endpoints import REMOVE_FROM_LIST
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import member_of, remove_members
from airflow_provider_klaviyo.client.people import find_on_list, find_people
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError
from airflow_provider_klaviyo.records.list_member import ListMember
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.acknowledgements import Acknowledgements
from airflow_provider_klaviyo.sync.delivery import Doubt, PooledDelivery, in_parts
from airflow_provider_klaviyo.sync.list_adds import ABOUT_MEMBERS
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict
from airflow_provider_klaviyo.sync.refusals import RefusalHandler

NOT_ON_LIST = (Problem("", "not_on_list: the person is not on the list"),)

Find = Callable[[Sequence[Record]], Mapping[int, Sequence[str]]]
"""From records to the Klaviyo ids of those who are on the list, by the records' numbers; mostly one id each."""

Remove = Callable[[Sequence[str]], None]
"""Takes the profiles of these ids off the list."""


class MemberFinder:
    """Finds records among the members of a list, in the fewest requests.

    A list can be asked for addresses and numbers only, so people who are known by another identifier are looked up
    first. Who has neither an address nor a number counts as a member: taking off who is not there changes nothing.
    """

    def __init__(self, client: KlaviyoClient, list_id: str) -> None:
        self._client = client
        self._list_id = list_id

    def find(self, field: str, records: Sequence[Record]) -> dict[int, list[str]]:
        """The ids of those records that are on the list, by their numbers.

        :param field: the identifier that the records' identities are values of.
        """
        if field in ("email", "phone_number"):
            return self._by_contact(field, {record.number: _spellings(record) for record in records})
        name = "id" if field == "klaviyo_id" else field
        found = find_people(self._client, name, [_value(record) for record in records])
        return self._on_list(
            {record.number: found[value] for record in records if (value := _value(record)) in found}
        )

    def _on_list(self, profiles: Mapping[int, Sequence[Document]]) -> dict[int, list[str]]:
        wanted: dict[str, dict[int, list[str]]] = {"email": {}, "phone_number": {}}
        members: dict[int, list[str]] = {}
        for number, documents in profiles.items():
            for member in map(member_of, documents):
                if contact := member.email or member.phone_number:
                    field = "email" if member.email else "phone_number"
                    wanted[field].setdefault(number, []).append(contact)
                else:
                    members.setdefault(number, []).append(member.id)
        for field, contacts in wanted.items():
            for number, ids in self._by_contact(field, contacts).items():
                members.setdefault(number, []).extend(ids)
        return members

    def _by_contact(self, field: str, wanted: Mapping[int, Sequence[str]]) -> dict[int, list[str]]:
        values = list(dict.fromkeys(spelling for spellings in wanted.values() for spelling in spellings))
        found = find_on_list(self._client, self._list_id, field, values) if values else {}
        members: dict[int, list[str]] = {}
        for number, spellings in wanted.items():
            for key in {spelling.lower() for spelling in spellings}:
                members.setdefault(number, []).extend(str(each["id"]) for each in found.get(key, ()))
        return {number: ids for number, ids in members.items() if ids}


class RemovalDelivery(PooledDelivery):
    """Takes people off a list; who is not on it is skipped.

    :param find: tells who of a batch is on the list.
    :param remove: takes them off; a preview only pretends to.
    """

    def __init__(self, client: KlaviyoClient, state: Acknowledgements, find: Find, remove: Remove) -> None:
        super().__init__(client, state)
        self._find = find
        self._remove = remove
        self._refusals = RefusalHandler(
            REMOVE_FROM_LIST.records, about_records=ABOUT_MEMBERS, has_history=state.has_history
        )

    def _deliver(self, batch: Sequence[Record], doubt: Doubt) -> None:
        ticket = self._state.send(batch)
        ids = self._find(batch)
        absent = [record for record in batch if record.number not in ids]
        self._tell(_not_on_list(absent), absent, doubt)
        members = [record for record in batch if record.number in ids]
        with self._refusals_noted(doubt) as refuse:
            for part in in_parts(members, REMOVE_FROM_LIST.max_records):
                self._refusals.deliver(part, lambda some: self._take_off(some, ids, doubt), refuse)
        self._state.settle(
            ticket, pending=[place for place, record in enumerate(batch) if record.number not in ids]
        )

    def _take_off(self, part: Sequence[Record], ids: Mapping[int, Sequence[str]], doubt: Doubt) -> None:
        profiles = list(dict.fromkeys(each for record in part for each in ids[record.number]))
        try:
            for start in range(0, len(profiles), REMOVE_FROM_LIST.max_records):
                self._remove(profiles[start : start + REMOVE_FROM_LIST.max_records])
        except KlaviyoRequestError as error:
            if not error.was_repeated or self._find(part):
                raise  # else the try whose answer was lost has done it
        self._tell(Settled(accepted=len(part)), part, doubt)


class Removals:
    """Notes in the state who is about to be taken off the list, and who is off it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._tickets: dict[int, tuple[list[int], set[int]]] = {}
        self._refused: set[int] = set()
        self._last = 0

    def send(self, records: Sequence[Record]) -> int:
        """Before the request: who comes back meanwhile is to be put on the list again."""
        persons = [record.person for record in records]
        looked_for_before = self._ledger.leave(persons)
        with self._lock:
            self._last += 1
            self._tickets[self._last] = persons, looked_for_before
            return self._last

    def start(self, ticket: int, job_id: str) -> None:
        """Removals are no jobs."""

    def settle(self, ticket: int, failed: Sequence[int] = (), pending: Sequence[int] = ()) -> None:  # noqa: ARG002
        """After the answer: nothing is kept of who is off the list.

        :param pending: places of those who were not found on it. They may have joined a moment ago and not show yet,
            so the next run looks for them once more.
        """
        with self._lock:
            persons, looked_for_before = self._tickets.pop(ticket)
            kept = {persons[place] for place in pending} - looked_for_before
            gone = [person for person in persons if person not in self._refused | kept]
        self._ledger.remove(gone)

    def has_history(self) -> bool:
        """Those who are to be removed were added by this sync."""
        return True

    def refuse(self, records: Sequence[Record]) -> None:
        """Klaviyo would not take these off: they are tried again by the next run."""
        with self._lock:
            self._refused.update(record.person for record in records)


def remover(client: KlaviyoClient, list_id: str) -> Remove:
    """What takes profiles off a list."""
    return lambda ids: remove_members(client, list_id, ids)


def _not_on_list(records: Iterable[Record]) -> Settled:
    return Settled(
        verdicts=[Verdict(record.number, record.row, Outcome.SKIPPED, NOT_ON_LIST) for record in records]
    )


def _spellings(record: Record) -> list[str]:
    """An address as Klaviyo is known to keep it, and as the row has it: Klaviyo compares letter by letter."""
    spelled = record.spelling if isinstance(record, ListMember) else ""
    value = _value(record)
    return [value, spelled] if spelled and spelled != value else [value]


def _value(record: Record) -> str:
    """The identifier itself; where state is kept, the identity has the field before it."""
    return record.identity.rpartition("\0")[2]
