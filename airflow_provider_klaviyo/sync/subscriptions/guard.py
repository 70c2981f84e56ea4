"""The guard: reads everybody's consent right before they are subscribed, and lets through whom nothing stands against.

It fails closed. Nobody passes because something could not be read: an answer that cannot be read ends the run, and a
person whose consent cannot be read waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_provider_klaviyo.client.endpoints import SUBSCRIBE
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.people import Found, find_on_list, find_people
from airflow_provider_klaviyo.client.responses import attributes_of
from airflow_provider_klaviyo.identity import comparable
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.sync.subscriptions.looks import Look, Looks, Seen
from airflow_provider_klaviyo.sync.subscriptions.standing import FREE, Judged, Profiles, Rules, all_channels

_NUMBER = "phone_number"
_IN_ORDER = ("klaviyo_id", "external_id", "email", _NUMBER)
"""Numbers come last: most profiles that were found by then show theirs, and nobody else has it."""


class Guard:
    """Judges people by what Klaviyo knows of them at this moment.

    :param list_id: the list to subscribe to; whoever is subscribed but not on it is not done yet.
    :param look_seconds: what a look may take.
    """

    def __init__(
        self, client: KlaviyoClient, list_id: str | None, rules: Rules, *, look_seconds: float
    ) -> None:
        self._client = client
        self._list_id = list_id
        self._rules = rules
        self._looks = Looks(client, self._see, most=SUBSCRIBE.max_records, seconds=look_seconds)

    def look(self, records: Sequence[SubscriptionRecord]) -> Seen[SubscriptionRecord, Judged]:
        """What was found of as many people as there is time to look at."""
        if not any(map(self._rules.must_know, records)):
            return Seen(
                [all_channels(record, FREE) for record in records], [], self._client.clock.monotonic()
            )
        return self._looks.at(records)

    def close(self) -> None:
        """Give the threads back."""
        self._looks.close()

    def _see(self, records: Sequence[SubscriptionRecord], look: Look) -> list[Judged]:
        known = self._look_up(records, look)
        judged = [self._rules.judge(record, _profiles_of(record, known)) for record in records]
        return judged if self._list_id is None else self._with_membership(judged, self._list_id, look)

    def _look_up(self, records: Sequence[SubscriptionRecord], look: Look) -> Mapping[str, Found]:
        known: dict[str, Found] = {}
        for field in _IN_ORDER:
            values = _values_of(records, field)
            shown = _numbers(known, values) if field == _NUMBER else {}
            missing = [value for value in values if value not in shown]
            name = "id" if field == "klaviyo_id" else field
            known[field] = shown | find_people(self._client, name, missing, look.request)
        return known

    def _with_membership(self, judged: Sequence[Judged], list_id: str, look: Look) -> list[Judged]:
        wanted: dict[str, list[str]] = {name: [] for name in CHANNELS.values()}
        for each in judged:
            for name in {each.contact(channel) for channel in each.done}:
                wanted[name] += each.record.lookups(name)
        members = {
            name: self._members(list_id, name, list(dict.fromkeys(values)), look)
            for name, values in wanted.items()
        }
        return [each.among(members) for each in judged]

    def _members(self, list_id: str, field: str, values: Sequence[str], look: Look) -> set[str]:
        found = find_on_list(self._client, list_id, field, values, look.request)
        return {str(profile["id"]) for profiles in found.values() for profile in profiles}


def _values_of(records: Sequence[SubscriptionRecord], field: str) -> list[str]:
    """All values to look up by an identifier."""
    return list(dict.fromkeys(value for record in records for value in record.lookups(field)))


def _numbers(known: Mapping[str, Found], values: Sequence[str]) -> Found:
    """The profiles found so far by the numbers that they show, of those that are asked for."""
    wanted = frozenset(values)
    profiles = {
        str(each["id"]): each for found in known.values() for profiles in found.values() for each in profiles
    }
    shown: Found = {}
    for profile in profiles.values():
        number = attributes_of(profile).get(_NUMBER)
        if isinstance(number, str) and number in wanted:
            shown.setdefault(number, []).append(profile)
    return shown


def _profiles_of(record: SubscriptionRecord, known: Mapping[str, Found]) -> dict[str, Profiles]:
    """The profiles that each identifier of a person found; none where nobody has it."""
    found: dict[str, Profiles] = {}
    for field in record.identifiers:
        values = {comparable(field, value) for value in record.lookups(field)}
        profiles = [profile for value in values for profile in known[field].get(value, ())]
        found[field] = {str(profile["id"]): profile for profile in profiles}
    return found
