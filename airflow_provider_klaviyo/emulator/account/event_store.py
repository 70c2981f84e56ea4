"""The account's events and metrics: stored compactly, and no event twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from airflow_provider_klaviyo.emulator.account.profile_store import Profile
from airflow_provider_klaviyo.emulator.core.ids import Ids
from airflow_provider_klaviyo.emulator.requests.event_schema import NewEvent

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(slots=True)
class Metric:
    """What events are of; `updated` is when the last of them came in."""

    number: int
    id: str
    name: str
    created: float
    updated: float


class Event(msgspec.Struct, gc=False):
    """A stored event; `properties` are JSON, `profile` and `metric` are numbers.

    `key` tells the event from all others: profile, metric and unique id. It is the one in the store's set of keys,
    so that a unique id is held once.
    """

    number: int
    profile: int
    metric: int
    key: str
    time: int
    value: float | int | None
    value_currency: str | None
    properties: bytes
    is_backfill: bool

    @property
    def unique_id(self) -> str:
        """The id that the client gave it, or else its time in seconds."""
        return self.key.split(" ", 2)[2]

    def given_properties(self) -> dict[str, Any]:
        """The properties as they were sent."""
        return _decode(self.properties)


class EventStore:
    """Events in the order in which they were processed."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._events: list[Event] = []
        self._keys: set[str] = set()
        self._by_name: dict[str, Metric] = {}
        #: The metrics by their numbers.
        self.metrics: list[Metric] = []
        #: How many events would have started flows: those that are no backfill.
        self.flow_starts = 0

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, number: int) -> Event:
        return self._events[number]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def knows(self, profile_number: int, event: NewEvent) -> bool:
        """Whether there is an event of this profile, metric and unique id."""
        metric = self._by_name.get(event.metric)
        return metric is not None and _key(profile_number, metric, event) in self._keys

    def add(self, profile: Profile, event: NewEvent, now: float) -> bool:
        """Keep an event; False for one that is known, of which only the first counts."""
        metric = self._by_name.get(event.metric) or self._new_metric(event.metric, now)
        key = _key(profile.number, metric, event)
        if key in self._keys:
            return False
        self._keys.add(key)
        metric.updated = now
        self.flow_starts += not event.is_backfill
        self._events.append(
            Event(
                number=len(self._events),
                profile=profile.number,
                metric=metric.number,
                key=key,
                time=event.time,
                value=event.value,
                value_currency=event.value_currency,
                properties=event.properties,
                is_backfill=event.is_backfill,
            )
        )
        return True

    def _new_metric(self, name: str, now: float) -> Metric:
        metric = Metric(len(self.metrics), self._ids.metric(), name, now, now)
        self._by_name[name] = metric
        self.metrics.append(metric)
        return metric

    def id_of(self, event: Event) -> str:
        """Klaviyo's id of an event."""
        return self._ids.event(event.number)


def _key(profile_number: int, metric: Metric, event: NewEvent) -> str:
    return f"{profile_number} {metric.number} {event.identity}"
