"""Delivery of events: bulk requests in which no id occurs twice, and what it means when Klaviyo knows an id."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Sequence

from airflow_provider_klaviyo.client.answers import read_accepted
from airflow_provider_klaviyo.client.endpoints import CREATE_EVENTS
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import ApiError, KlaviyoRequestError
from airflow_provider_klaviyo.records.event_bodies import EventRecord, group_body
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.sync.acknowledgements import Acknowledgements
from airflow_provider_klaviyo.sync.delivery import Doubt, PooledDelivery
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict
from airflow_provider_klaviyo.sync.refusals import RefusalHandler, field_name, place_and_field, steps_of

log = logging.getLogger(__name__)

_PREFIX = CREATE_EVENTS.records.strip("/").split("/")
_WITHIN_GROUP = ["attributes", "events", "data"]
_REPEATED = re.compile(r"already|duplicate|exist|repeat|conflict|known", re.IGNORECASE)
_MALFORMED = re.compile(r"character|length|long|short|format|blank|empty|type|string|valid|null", re.IGNORECASE)
"""What Klaviyo may say of an id. Ours have a form that it takes: what is not about the form is about repeating."""

_ALREADY_RECORDED = (
    Problem(
        "unique_id",
        "already_recorded: Klaviyo has an event with this unique_id for the same person and metric, and counts it once",
    ),
)


class EventDelivery(PooledDelivery):
    """Brings events into Klaviyo; the answer to a request is the verdict on its events.

    Klaviyo may refuse a whole request because it knows an id in it. Since no request of ours holds an id twice, it
    has that event already: from an earlier try of the same request, or of the same run before it was killed, and
    then the event was delivered. Otherwise the events that it names are set apart and sent without the others;
    those that it names again are not new, and are skipped.
    """

    def __init__(self, client: KlaviyoClient, state: Acknowledgements) -> None:
        super().__init__(client, state)
        self._refusals = RefusalHandler(CREATE_EVENTS.records, _located, self._recall)
        self._named_before: set[int] = set()
        self._kinds: Counter[bool] = Counter()
        self._lock = threading.Lock()
        self._doubt_of: dict[int, Doubt] = {}

    @property
    def kinds(self) -> tuple[int, int]:
        """How many events were taken that may start flows, and how many that may not."""
        return self._kinds[False], self._kinds[True]

    def _deliver(self, batch: Sequence[Record], doubt: Doubt) -> None:
        for record in batch:
            self._doubt_of[record.number] = doubt
        with self._refusals_noted(doubt) as refuse:
            for part in _apart(_events(batch)):
                self._refusals.deliver(part, lambda part: self._post(_events(part), doubt), refuse)
        for record in batch:
            del self._doubt_of[record.number]

    def _post(self, part: Sequence[EventRecord], doubt: Doubt) -> None:
        ticket = self._state.send(part)
        self._client.send(CREATE_EVENTS, body=events_body(part), read=read_accepted)
        self._state.settle(ticket)
        self._take(part, doubt)

    def _take(self, part: Sequence[EventRecord], doubt: Doubt) -> None:
        with self._lock:
            self._kinds.update(event.is_backfill for event in part)
        self._tell(Settled(accepted=len(part)), part, doubt)

    def _recall(self, part: Sequence[Record], error: KlaviyoRequestError) -> list[Sequence[Record]] | None:
        """Sort out events that Klaviyo says it knows; None when it does not say so of any."""
        events = _events(part)
        known = _known(events, error.errors)
        if not known:
            return None
        named = [events[place] for place in sorted(known)]
        delivered = [event for event in named if error.was_repeated or event.was_in_doubt]
        recorded = [event for event in named if event not in delivered and event.number in self._named_before]
        self._settle(delivered, recorded)
        settled = {event.number for event in (*delivered, *recorded)}
        again = [event for event in named if event.number not in settled]
        self._named_before.update(event.number for event in again)
        rest = [event for place, event in enumerate(events) if place not in known]
        return [other for other in (again, rest) if other]

    def _settle(self, delivered: Sequence[EventRecord], recorded: Sequence[EventRecord]) -> None:
        if delivered:
            log.info("Klaviyo had taken %d events of a request whose answer was lost.", len(delivered))
        if delivered or recorded:
            self._state.settle(self._state.send([*delivered, *recorded]))
        for event in delivered:
            self._take([event], self._doubt_of[event.number])
        for event in recorded:
            verdict = Verdict(event.number, event.row, Outcome.SKIPPED, _ALREADY_RECORDED)
            self._tell(Settled(verdicts=[verdict]), [event], self._doubt_of[event.number])


def events_body(events: Sequence[Record]) -> bytes:
    """The bulk request of some events, those of one person together."""
    records = _events(events)
    groups = (
        group_body(records[places[0]].profile, [records[place] for place in places])
        for places in _groups(records)
    )
    return b"".join(
        (
            b'{"data":{"type":"event-bulk-create-job","attributes":{"events-bulk-create":{"data":[',
            b",".join(groups),
            b"]}}}}",
        )
    )


def _events(records: Sequence[Record]) -> list[EventRecord]:
    return [record for record in records if isinstance(record, EventRecord)]


def _groups(events: Sequence[EventRecord]) -> list[list[int]]:
    """Which events share a group of the request: those of one person that start flows, and those that do not."""
    groups: dict[tuple[bytes, bool], list[int]] = {}
    for place, event in enumerate(events):
        groups.setdefault((event.profile, event.is_backfill), []).append(place)
    return list(groups.values())


def _apart(events: Sequence[EventRecord]) -> list[list[EventRecord]]:
    """As few parts as it takes for no id to occur twice in one, whoever the people are: two may be one to Klaviyo."""
    parts: list[list[EventRecord]] = []
    times: Counter[tuple[str, str]] = Counter()
    for event in events:
        name = (event.metric, event.unique_id)
        if times[name] == len(parts):
            parts.append([])
        parts[times[name]].append(event)
        times[name] += 1
    return parts


def _located(part: Sequence[Record], pointer: str) -> tuple[Sequence[int], str]:
    """The events that a pointer means: one of a group, or all of it when its person is meant."""
    group, _ = place_and_field(pointer, _PREFIX)
    groups = _groups(_events(part))
    if group is None or group >= len(groups):
        return [], "event"
    steps = steps_of(pointer)
    within = steps[steps.index(str(group)) + 1 :]
    if within[:3] != _WITHIN_GROUP or len(within) < 4 or not within[3].isdecimal():
        return groups[group], _field_of(within)
    inner = int(within[3])
    return ([groups[group][inner]] if inner < len(groups[group]) else []), field_name(within[4:])


def _field_of(within: Sequence[str]) -> str:
    """The field of the person: ``attributes``, ``profile``, ``data``, ``attributes``, ``email`` is ``email``."""
    return field_name(within[3:] if list(within[:3]) == ["attributes", "profile", "data"] else within)


def _known(events: Sequence[EventRecord], errors: Sequence[ApiError]) -> set[int]:
    """The events whose id an answer says is known."""
    known: set[int] = set()
    for error in errors:
        places, field = _located(events, error.pointer)
        if _is_repeated(error, field):
            known.update(places or ([0] if len(events) == 1 else []))
    return known


def _is_repeated(error: ApiError, field: str) -> bool:
    """Whether an error says that Klaviyo has an event of this id; its words for that are not documented."""
    if _REPEATED.search(error.words):
        return field == "unique_id" or "unique_id" in error.words
    return field == "unique_id" and not _MALFORMED.search(error.words)
