"""Finds whom a tracked mirror is to take off: by what the state knows them by, and by Klaviyo's ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.members import Member, profiles_now
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.state.tracked import TrackedPeople
from airflow_provider_klaviyo.sync.lists.members import (
    CHANGED,
    STILL_NAMED,
    MemberFinder,
    Search,
    person_shown,
)

_NOBODY = Member("", None, None, None)


class LeaverFinder(MemberFinder):
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

    def complete(self, search: Search, records: Sequence[Record]) -> None:
        """Let Klaviyo's ids tell, where they are known: an address may be another profile's by now.

        ``old@shop.io`` left the query. Its profile, which this sync put on the list, shows ``new@shop.io`` since
        somebody changed it in Klaviyo: it is found by its id. Whoever has ``old@shop.io`` now came to the list another
        way, and stays. Where Klaviyo has no profile of the id any more, as after a merge, the address tells; it tells
        as well where the person was added once more, and that id was not read yet.
        """
        persons = [each.person for each in records if each.number not in search.reasons]
        known, unread = self._people.ids.of(persons), self._people.ids.unread_of(persons)
        found = {each.id: each for members in search.members.values() for each in members}
        lost = sorted(set().union(*known.values()) - found.keys())
        there = profiles_now(self._client, lost) if lost else {}
        profiles = found | there
        on_list = found.keys() | self._on_list(list(there.values()), {each.person for each in records})
        for record in records:
            ids = known.get(record.person, set())
            if ids.isdisjoint(profiles):
                continue
            if record.person not in unread:
                search.members.pop(record.number, None)
            if own := sorted(ids & on_list):
                search.add(record.number, [profiles[each] for each in own])

    def _on_list(self, profiles: Sequence[Member], asked: Collection[int]) -> set[str]:
        """The ids of those of these profiles that are on the list; one that it cannot be asked for counts as on it.

        :param asked: people for whom the list was asked already.
        """
        others = [each for each in profiles if person_shown(each, self.field) not in asked]
        search = Search()
        self.profiles(search, dict(enumerate(others)))
        return {others[number].id for number in (*search.members, *search.reasons)}

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
