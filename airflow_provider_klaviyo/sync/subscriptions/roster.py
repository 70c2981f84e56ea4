"""Who of the people of a query is on a list, and which of their addresses are those of one member."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import Member, member_of
from airflow_provider_klaviyo.client.people import find_on_list
from airflow_provider_klaviyo.identity import comparable
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.state.notes import Who
from airflow_provider_klaviyo.sync.in_flight.notes import who


class Roster:
    """Looks people up on a list."""

    def __init__(self, client: KlaviyoClient, list_id: str) -> None:
        self._client = client
        self._list_id = list_id

    def look_up(self, people: Sequence[SubscriptionRecord]) -> Members:
        """The members of the list, at this moment, that the people's addresses name."""
        found = {
            field: find_on_list(self._client, self._list_id, field, _values(people, field))
            for field in CHANNELS.values()
        }
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


class Members(NamedTuple):
    """Members that were found.

    :param ids: of members, by identifier and its value.
    :param shown: what the list shows of members, by their ids.
    """

    ids: Mapping[str, Mapping[str, frozenset[str]]]
    shown: Mapping[str, Member]

    def have(self, record: SubscriptionRecord) -> bool:
        """Whether any address of somebody is a member's."""
        return any(self._found(record, field) for field in CHANNELS.values())

    def placed(self, record: SubscriptionRecord) -> tuple[SubscriptionRecord, list[str]]:
        """The person as the member that the identifier names, and the channels whose address is this member's.

        Another member's address, or nobody's, might be unsubscribed from everything. An address that is none of the
        person's may be its second one: it is, where the list shows nothing else of its owner that says otherwise.
        """
        person = self._found(record, record.matched_by)
        profile_id, channels = self._one_of(person, record)
        if channels:
            return record.known_as(profile_id), channels
        for channel in record.channels:
            profile_id, channels = self._one_of(self._nameless(record, channel), record)
            if channels:
                return record.matched_as(CHANNELS[channel]).known_as(profile_id), channels
        return record, []

    def _one_of(self, people: frozenset[str], record: SubscriptionRecord) -> tuple[str, list[str]]:
        """One of these members, and the channels whose address is this member's."""
        on_list = {channel: people & self._found(record, CHANNELS[channel]) for channel in record.channels}
        profile_id = min(frozenset[str]().union(*on_list.values()), default="")
        return profile_id, [channel for channel, found in on_list.items() if profile_id in found]

    def _nameless(self, record: SubscriptionRecord, channel: str) -> frozenset[str]:
        """Members that have a channel's address, and whose matched identifier the list does not show."""
        owners = self._found(record, CHANNELS[channel])
        return frozenset(owner for owner in owners if not getattr(self.shown[owner], record.matched_by))

    def known(self, profile_id: str) -> Who:
        """A member as notes know it: by every identifier by which another sync may."""
        member = self.shown[profile_id]
        shown = (
            ("email", member.email),
            ("phone_number", member.phone_number),
            ("external_id", member.external_id),
        )
        identifiers = [(field, comparable(field, value)) for field, value in shown if value]
        return who([("klaviyo_id", member.id), *identifiers])

    def _found(self, record: SubscriptionRecord, field: str) -> frozenset[str]:
        values = (comparable(field, value) for value in record.lookups(field))
        return frozenset[str]().union(*(self.ids[field].get(value, frozenset()) for value in values))


def noted_as(record: SubscriptionRecord) -> Who:
    """A row's person as notes know it."""
    return who(record.identifiers.items())


def _values(people: Iterable[SubscriptionRecord], field: str) -> list[str]:
    return list(dict.fromkeys(value for record in people for value in record.lookups(field)))
