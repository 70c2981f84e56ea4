"""Who of the people of a query is on a list, and which of their addresses are those of one member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from airflow_provider_klaviyo.client.abreast import abreast
from airflow_provider_klaviyo.client.endpoints import GET_LIST_PROFILES
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.members import Member, member_of
from airflow_provider_klaviyo.client.people import Ask, ValueSearch
from airflow_provider_klaviyo.client.responses import Document
from airflow_provider_klaviyo.identity import comparable
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.sync.subscriptions.looks import Looks

_NOBODY = frozenset[str]()

Found = Mapping[str, frozenset[str]]
"""The ids of the members that each identifier of somebody found, if any."""


class Roster:
    """Looks people up on a list."""

    def __init__(self, client: KlaviyoClient, list_id: str) -> None:
        self._client = client
        self._list_id = list_id

    def look_up(self, people: Sequence[SubscriptionRecord]) -> Members:
        """The members of the list that the people's addresses name, read side by side."""
        sight = RosterSight(people, self._list_id)
        while asks := sight.asks():
            answers = abreast(self._client, GET_LIST_PROFILES, lambda ask: ask.answer(self._client), asks)
            for ask, profiles in zip(asks, list(answers), strict=True):
                sight.take(ask, profiles)
        return sight.members()

    def looks(self, *, most: int, seconds: float) -> Looks[SubscriptionRecord, Place]:
        """Looks at people that count for so many seconds; ``most`` people at a time."""
        return Looks(
            self._client,
            lambda people: RosterSight(people, self._list_id),
            [GET_LIST_PROFILES],
            most=most,
            seconds=seconds,
        )


class Place(NamedTuple):
    """Somebody as the member that the list shows.

    :param record: as ``Members.placed`` gives it, and ``channels``.
    :param is_on_list: whether any address of the person is a member's.
    :param known: all identifiers of the member, with their names; nothing where no channel's address is a member's.
    """

    person: SubscriptionRecord
    record: SubscriptionRecord
    channels: Sequence[str]
    is_on_list: bool
    known: Sequence[tuple[str, str]]


class RosterSight:
    """What a look at the list has shown so far; all addresses are asked for side by side."""

    def __init__(self, people: Sequence[SubscriptionRecord], list_id: str) -> None:
        self._people = people
        self._searches = {field: ValueSearch(field, list_id) for field in CHANNELS.values()}
        for field, search in self._searches.items():
            search.want(value for record in people for value in record.lookups(field))

    def asks(self, *, whole_only: bool = False) -> list[Ask]:
        """What is to be asked next."""
        return [ask for search in self._searches.values() for ask in search.asks(whole_only=whole_only)]

    def take(self, ask: Ask, profiles: Sequence[Document]) -> None:
        """Take an answer in."""
        self._searches[ask.field].take(ask, profiles)

    def members(self) -> Members:
        """Whom the addresses that were asked for have found."""
        found = {field: search.found for field, search in self._searches.items()}
        profiles = [each for of_field in found.values() for same in of_field.values() for each in same]
        return Members(
            {
                field: {
                    value: frozenset(str(each["id"]) for each in same) for value, same in of_field.items()
                }
                for field, of_field in found.items()
            },
            {str(each["id"]): member_of(each) for each in profiles},
        )

    def shown(self) -> list[Place | None]:
        """The place of everybody whose addresses were all looked up."""
        members = self.members()
        return [members.place_of(record) if self._is_known(record) else None for record in self._people]

    def _is_known(self, record: SubscriptionRecord) -> bool:
        for field, search in self._searches.items():
            for value in record.lookups(field):
                if not search.knows(value):
                    return False
        return True


class Members(NamedTuple):
    """Members that were found.

    :param ids: of members, by identifier and its value.
    :param shown: what the list shows of members, by their ids.
    """

    ids: Mapping[str, Mapping[str, frozenset[str]]]
    shown: Mapping[str, Member]

    def have(self, record: SubscriptionRecord) -> bool:
        """Whether any address of somebody is a member's."""
        return bool(self._found(record))

    def place_of(self, person: SubscriptionRecord) -> Place:
        """All that there is to know of somebody before they are sent."""
        record, channels = self.placed(person)
        known = self.known(record.identifiers["klaviyo_id"]) if channels else ()
        return Place(person, record, channels, bool(channels) or self.have(person), known)

    def placed(self, record: SubscriptionRecord) -> tuple[SubscriptionRecord, list[str]]:
        """The person as the member that the identifier names, and the channels whose address is this member's.

        Another member's address, or nobody's, might be unsubscribed from everything. An address that is none of the
        person's may be its second one: it is, where the list shows nothing else of its owner that says otherwise.
        """
        found = self._found(record)
        if not found:
            return record, []
        profile_id, channels = _one_of(found.get(record.matched_by, _NOBODY), record, found)
        if channels:
            return record.known_as(profile_id), channels
        for channel in record.channels:
            owners = found.get(CHANNELS[channel], _NOBODY)
            profile_id, channels = _one_of(self._nameless(owners, record.matched_by), record, found)
            if channels:
                return record.matched_as(CHANNELS[channel]).known_as(profile_id), channels
        return record, []

    def _nameless(self, people: frozenset[str], identifier: str) -> frozenset[str]:
        """Those of some members of whom the list does not show an identifier."""
        return frozenset(each for each in people if not getattr(self.shown[each], identifier))

    def known(self, profile_id: str) -> Sequence[tuple[str, str]]:
        """What a member may be known by to another sync: identifiers and their values."""
        member = self.shown[profile_id]
        shown = [(field, getattr(member, field)) for field in ("email", "phone_number", "external_id")]
        return [
            ("klaviyo_id", member.id),
            *[(field, comparable(field, value)) for field, value in shown if value],
        ]

    def _found(self, record: SubscriptionRecord) -> Found:
        found: dict[str, frozenset[str]] = {}
        for field, ids in self.ids.items():
            for value in record.lookups(field) if ids else ():
                if same := ids.get(comparable(field, value)):
                    found[field] = found[field] | same if field in found else same
        return found


def _one_of(people: frozenset[str], record: SubscriptionRecord, found: Found) -> tuple[str, list[str]]:
    """One of some members, and the channels whose address is this member's."""
    if not people:
        return "", []
    on_list = {channel: people & found.get(CHANNELS[channel], _NOBODY) for channel in record.channels}
    profile_id = min(_NOBODY.union(*on_list.values()), default="")
    return profile_id, [channel for channel, owners in on_list.items() if profile_id in owners]
