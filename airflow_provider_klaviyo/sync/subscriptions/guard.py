"""The guard: reads everybody's consent right before they are subscribed, and lets through whom nothing stands against.

It fails closed. Nobody passes because something could not be read: an answer that cannot be read ends the run, and a
person whose consent cannot be read waits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

from airflow_provider_klaviyo.client.endpoints import GET_LIST_PROFILES, GET_PROFILES, SUBSCRIBE
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.people import Ask, Found, ValueSearch
from airflow_provider_klaviyo.client.responses import Document, attributes_of
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.sync.subscriptions.looks import Looks, Seen
from airflow_provider_klaviyo.sync.subscriptions.standing import FREE, Judged, Rules, all_channels

_NUMBER = "phone_number"
_AT_ONCE = {"klaviyo_id": "id", "external_id": "external_id", "email": "email"}
"""What is asked for side by side, and as what. Numbers come later: most profiles that were found by then show theirs,
and nobody else has it."""


class Guard:
    """Judges people by what Klaviyo knows of them at this moment.

    :param list_id: the list to subscribe to; whoever is subscribed but not on it is not done yet.
    :param look_seconds: what a look may take.
    """

    def __init__(
        self, client: KlaviyoClient, list_id: str | None, rules: Rules, *, look_seconds: float
    ) -> None:
        self._client = client
        self._rules = rules
        self._looks: Looks[SubscriptionRecord, Judged] = Looks(
            client,
            lambda records: GuardSight(records, rules, list_id),
            [GET_PROFILES, GET_LIST_PROFILES],
            most=SUBSCRIBE.max_records,
            seconds=look_seconds,
        )

    @property
    def looks_at_once(self) -> int:
        """How many requests there is a use for at once."""
        return self._looks.width

    @property
    def takes(self) -> float:
        """Seconds that a look takes."""
        return self._looks.takes

    def room(self, records: Sequence[SubscriptionRecord]) -> AbstractContextManager[None]:
        """Entered before the turn is waited for, and left after the look."""
        return self._looks.room(len(records)) if self._must_look(records) else nullcontext()

    def look(self, records: Sequence[SubscriptionRecord]) -> Seen[SubscriptionRecord, Judged]:
        """What was found of as many people as there is time to look at."""
        if self._must_look(records):
            return self._looks.at(records)
        return Seen([all_channels(record, FREE) for record in records], [], self._client.clock.monotonic())

    def close(self) -> None:
        """Give the threads back."""
        self._looks.close()

    def _must_look(self, records: Sequence[SubscriptionRecord]) -> bool:
        return any(map(self._rules.must_know, records))


class GuardSight:
    """What one look of the guard has shown so far: a person is judged when all their identifiers were looked up.

    Every identifier is looked up once, however many of the people have it.
    """

    def __init__(self, records: Sequence[SubscriptionRecord], rules: Rules, list_id: str | None) -> None:
        self._records = records
        self._rules = rules
        self._by_field = {
            **{field: ValueSearch(name) for field, name in _AT_ONCE.items()},
            _NUMBER: ValueSearch(_NUMBER),
        }
        self._on_list = {name: ValueSearch(name, list_id) for name in CHANNELS.values()} if list_id else {}
        self._members: dict[str, set[str]] = {name: set() for name in self._on_list}
        self._numbers: Found = {}
        self._judged: dict[int, Judged] = {}
        self._shown: dict[int, Judged] = {}
        self._whose: dict[tuple[str, str], list[int]] = {}
        for index, record in enumerate(records):
            for field in record.identifiers:
                for value in record.lookups(field):
                    self._whose.setdefault((field, value), []).append(index)
        for field in _AT_ONCE:
            self._by_field[field].want(value for record in records for value in record.lookups(field))
        self._see([index for index, record in enumerate(records) if not any(map(record.lookups, _AT_ONCE))])

    def asks(self, *, whole_only: bool) -> list[Ask]:
        """What is to be asked next, side by side."""
        searches = (*self._by_field.values(), *self._on_list.values())
        return [ask for search in searches for ask in search.asks(whole_only=whole_only)]

    def take(self, ask: Ask, profiles: Sequence[Document]) -> None:
        """Take an answer in, and see whom it shows."""
        field = "klaviyo_id" if ask.field == "id" else ask.field
        if ask.list_id:
            self._on_list[field].take(ask, profiles)
            self._members[field].update(str(each["id"]) for each in profiles)
        else:
            self._by_field[field].take(ask, profiles)
            self._note_numbers(profiles)
        self._see({index for value in ask.values for index in self._whose[field, value]})

    def shown(self) -> list[Judged | None]:
        """Everybody who was judged, each in their place."""
        return [self._shown.get(index) for index in range(len(self._records))]

    def _see(self, indexes: Collection[int]) -> None:
        for index in indexes:
            if index in self._shown:
                continue
            judged = self._judged.get(index) or self._judge(index)
            if judged and self._is_membership_known(judged):
                self._shown[index] = judged.among(self._members) if self._on_list else judged

    def _judge(self, index: int) -> Judged | None:
        record = self._records[index]
        for field in record.identifiers:
            if field in _AT_ONCE and not self._is_looked_up(record, field):
                return None
        hidden = [number for number in record.lookups(_NUMBER) if number not in self._numbers]
        self._by_field[_NUMBER].want(hidden)
        if not all(map(self._by_field[_NUMBER].knows, hidden)):
            return None
        found = {field: self._found(record, field) for field in record.identifiers}
        self._judged[index] = self._rules.judge(record, found)
        return self._judged[index]

    def _is_looked_up(self, record: SubscriptionRecord, field: str) -> bool:
        search = self._by_field[field]
        return all(map(search.knows, record.lookups(field)))

    def _found(self, record: SubscriptionRecord, field: str) -> dict[str, Document]:
        """The profiles that an identifier of a person found."""
        found: dict[str, Document] = {}
        for value in record.lookups(field):
            if field == _NUMBER:
                found.update((str(profile["id"]), profile) for profile in self._numbers.get(value, ()))
            for profile in self._by_field[field].of(value):
                found[str(profile["id"])] = profile
        return found

    def _is_membership_known(self, judged: Judged) -> bool:
        if not self._on_list:
            return True
        is_known = True
        for name in {judged.contact(channel) for channel in judged.done}:
            values = judged.record.lookups(name)
            self._on_list[name].want(values)
            is_known = is_known and all(map(self._on_list[name].knows, values))
        return is_known

    def _note_numbers(self, profiles: Sequence[Document]) -> None:
        """Whose number a profile shows need not be looked up."""
        for profile in profiles:
            number = attributes_of(profile).get(_NUMBER)
            if isinstance(number, str):
                self._numbers.setdefault(number, []).append(profile)
