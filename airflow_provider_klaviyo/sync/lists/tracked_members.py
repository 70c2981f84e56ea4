"""The members of a tracked mirror: whom this sync once put on the list, as its state knows them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import Member, profiles_now
from airflow_provider_klaviyo.records.lists.member import ListMember, ListMemberMapper
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.tracked import TrackedPeople
from airflow_provider_klaviyo.sync.contracts import SyncContext
from airflow_provider_klaviyo.sync.in_flight.notes import InFlight
from airflow_provider_klaviyo.sync.lists.leaving import Leaving
from airflow_provider_klaviyo.sync.lists.members import CHANGED, STILL_NAMED, Find, MemberFinder, person_shown
from airflow_provider_klaviyo.sync.lists.mirror_changes import MirrorChanges


class TrackedMembers:
    """See ``mirror.Members``."""

    def __init__(self, context: SyncContext, ledger: Ledger, *, full_refresh: bool) -> None:
        self.people = ledger.people.count()
        self.changes = MirrorChanges(ledger, full_refresh=full_refresh)
        self._context = context
        self._ledger = ledger

    def read_by(self, mapper: ListMemberMapper) -> None:
        """Rows that are rejected are known by their keys."""

    def in_flight(self, list_id: str) -> InFlight | None:  # noqa: ARG002 - as the other
        """None: people that are being unsubscribed may be added, since this sync removes only people that it added."""
        return None

    def leaving(self, identifier: str) -> Leaving:  # noqa: ARG002 - the state knows
        """The tracked people that no row of this run names."""
        leaving = Leaving([], {}, self.people)
        for absent in self._ledger.people.absent():
            leaving.add(absent)
        return leaving

    def without_those_found_otherwise(self, leaving: Leaving, gone: list[int], list_id: str) -> list[int]:  # noqa: ARG002
        """All of them: whether a row names somebody in another way is found out when they are looked for."""
        return gone

    def finder(self, leaving: Leaving, gone: Sequence[int], list_id: str) -> Find:
        """Looks for people by the identifier that the state knows them by."""
        persons = {leaving.persons[index] for index in gone}
        finder = _LeaverFinder(self._context.client, list_id, self._ledger.people, persons)
        return lambda batch: finder.find(finder.field, batch)

    def second_finder(self, list_id: str) -> Find | None:  # noqa: ARG002 - as the other
        """The first one serves."""
        return None

    def records(self, leaving: Leaving, indexes: Sequence[int]) -> list[Record]:
        """The people that leave, by the identifiers that the state keeps."""
        persons = [leaving.persons[index] for index in indexes]
        identities = self._ledger.people.identities(persons)
        return [
            ListMember(number=index, row=(), identity=identities[person], body=b"", person=person)
            for index, person in zip(indexes, persons, strict=True)
        ]

    def close(self) -> None:
        """Nothing is open."""


_NOBODY = Member("", None, None, None)


class _LeaverFinder(MemberFinder):
    """Finds the profiles of people that leave, and spares profiles that a row of this run names by what they show.

    ``old@shop.io`` left the query, and its profile shows ``new@shop.io``, which a row names: the profile stays. A
    profile with several addresses is found by each of them and shows one, and a list may find it by a former one.

    :param persons: all who are to be removed.
    """

    def __init__(
        self, client: KlaviyoClient, list_id: str, people: TrackedPeople, persons: Collection[int]
    ) -> None:
        super().__init__(client, list_id)
        self.field = people.known_by() or ""
        self._people = people
        self._persons = persons

    def staying(self, members: Sequence[Member]) -> Mapping[str, Problem]:
        """The ids of found profiles that show another person now, which a row names, and of those that show nobody."""
        now = {each.id: each for each in members}
        if self.field != "klaviyo_id":
            now |= dict.fromkeys(now, _NOBODY) | profiles_now(self._client, list(now))
        shown = {each: person_shown(member, self.field) for each, member in now.items()}
        others = {each: person for each, person in shown.items() if person and person not in self._persons}
        named = self._people.named_among(list(others.values())) if others else set()
        return {each: CHANGED for each, person in shown.items() if person is None} | {
            each: STILL_NAMED for each, person in others.items() if person in named
        }
