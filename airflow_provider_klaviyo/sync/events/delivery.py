"""Delivery of events: bulk requests in which no id occurs twice, and what it means when Klaviyo knows an id."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from airflow_provider_klaviyo.client.endpoints import CREATE_EVENTS
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.responses import read_accepted
from airflow_provider_klaviyo.exceptions import ApiError, KlaviyoRequestError
from airflow_provider_klaviyo.records.events.bodies import EventRecord, group_body
from airflow_provider_klaviyo.records.events.mapper import NEVER_DROPPED
from airflow_provider_klaviyo.records.events.mapping import EVENT_FIELDS
from airflow_provider_klaviyo.records.record import Problem, Record, all_of
from airflow_provider_klaviyo.records.resources import field_at
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements
from airflow_provider_klaviyo.sync.delivery.mending import MendingDelivery
from airflow_provider_klaviyo.sync.delivery.pointers import FieldPath, pointed_at, within
from airflow_provider_klaviyo.sync.delivery.pool import InFlightBatch
from airflow_provider_klaviyo.sync.delivery.refusals import Located, RefusalHandler, SplitBatch
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict
from airflow_provider_klaviyo.wording import counted

log = logging.getLogger(__name__)

_PREFIX = CREATE_EVENTS.records.strip("/").split("/")
_PERSON, _EVENTS, _WHOLE = "profile", "events", "event"
_KEPT = (*NEVER_DROPPED, "properties")
"""What an event must have; of its properties, each may be left out."""

_ABOUT_IDS = re.compile(r"unique[ _-]?id", re.IGNORECASE)
_REPEATED = re.compile(r"already|duplicate|exist|repeat|conflict|known", re.IGNORECASE)
_MALFORMED = re.compile(
    r"character|length|long|short|format|blank|empty|type|string|valid|null|requir|missing", re.IGNORECASE
)
"""What Klaviyo may say of an id. Ours have a form that it takes: what is not about the form is about repeating."""

_ALREADY_RECORDED = (
    Problem(
        "unique_id",
        "already_recorded: Klaviyo has an event with this unique_id for the same person and metric, and counts it once",
    ),
)


class EventDelivery(MendingDelivery[EventRecord]):
    """Brings events into Klaviyo; the answer to a request is the verdict on its events.

    Klaviyo may refuse a whole request because it knows an id in it. Since no request of ours holds an id twice, it
    has that event already: from an earlier try of the same request, or of the same run before it was killed, and
    then the event was delivered. Otherwise the events that it names are set apart and sent without the others;
    those that it names again are not new, and are skipped. It may name one of many an answer, or none, so an event
    stays in doubt until it was named or taken, whichever request it is in by then.

    :param identifier: what identifies people; known once the query's columns are.
    :param drops_invalid: whether an event goes without a field that Klaviyo refuses.
    """

    _paced_by = CREATE_EVENTS

    def __init__(
        self,
        client: KlaviyoClient,
        state: Acknowledgements,
        *,
        identifier: Callable[[], str],
        drops_invalid: bool,
    ) -> None:
        super().__init__(client, state, identifier, drops_invalid=drops_invalid)
        self._refusals = RefusalHandler(
            CREATE_EVENTS.records,
            _located,
            name=_field_name,
            mend=self._mend,
            has_history=state.has_history,
        )
        self._named_before: set[int] = set()
        self._kinds: Counter[bool] = Counter()
        self._lock = threading.Lock()
        self._unsettled_of: dict[int, InFlightBatch] = {}

    @property
    def kinds(self) -> tuple[int, int]:
        """How many events were taken that may start flows, and how many that may not."""
        return self._kinds[False], self._kinds[True]

    def send(self, batch: Sequence[Record]) -> None:
        """Hand over a batch of events; blocks while enough requests are in flight.

        :raises KlaviyoError: when an earlier batch met an error that ends the run; this batch is then in doubt too.
        """
        super().send(all_of(EventRecord, batch))

    def _deliver(self, batch: Sequence[EventRecord], unsettled: InFlightBatch) -> None:
        for record in batch:
            self._unsettled_of[record.number] = unsettled
        with self._refusals_noted(unsettled) as refuse:
            for part in _apart(batch):
                self._refusals.deliver(part, lambda part: self._post(part, unsettled), refuse)
        for record in batch:
            del self._unsettled_of[record.number]

    def _post(self, part: Sequence[EventRecord], unsettled: InFlightBatch) -> None:
        ticket = self._state.mark_in_doubt(part)
        try:
            left_out = self._client.send(CREATE_EVENTS, body=events_body(part), read=read_accepted)
        except KlaviyoRequestError as error:
            self._sort_out_known(part, error)
            raise
        if left_out:
            log.warning(
                "Klaviyo took %s, but left out %s of some of the people, and does not say whose.",
                counted(len(part), "event"),
                left_out,
            )
        self._state.settle(ticket)
        self._accept(part, unsettled)

    def _accept(self, part: Sequence[EventRecord], unsettled: InFlightBatch) -> None:
        with self._lock:
            self._kinds.update(event.is_backfill for event in part)
        self._publish(Settled(accepted=len(part), verdicts=self._warnings(part)), part, unsettled)

    def _leave_out(self, event: EventRecord, paths: Sequence[FieldPath]) -> bool:
        """Take fields from an event or its person, as long as it is the same event of the same person."""
        found = [_field_at(event, path) for path in paths]
        of_person = {field for whose, field in found if whose == _PERSON}
        of_event = {field for whose, field in found if whose != _PERSON}
        is_needed = not of_person.isdisjoint(("", event.named(self._identifier()).field))
        if is_needed or not of_event.isdisjoint(_KEPT):
            return False
        event.leave_out(of_person)
        event.leave_out_of_event(of_event)
        return True

    def _sort_out_known(self, events: Sequence[EventRecord], error: KlaviyoRequestError) -> None:
        """Settle events that Klaviyo says it knows; nothing when it does not say so of any.

        :raises SplitBatch: with the others.
        """
        if error.was_repeated:
            for event in events:
                event.was_in_doubt = True
        groups = _groups(events)
        meant = [(_meant(groups, each.pointer), each) for each in error.errors]
        repeated = [indexes for (indexes, path), each in meant if _is_repeated(each, path)]
        if not repeated:
            return
        known = {0} if len(events) == 1 else {indexes[0] for indexes in repeated if len(indexes) == 1}
        if not known:
            raise SplitBatch(_halves(events), was_taken=True)
        named = [events[index] for index in sorted(known)]
        delivered, recorded, again = [], [], []
        for event in named:
            if event.was_in_doubt:
                delivered.append(event)
            elif len(events) == 1 or event.number in self._named_before:
                recorded.append(event)
            else:
                again.append(event)
        self._settle(delivered, recorded)
        self._named_before.update(event.number for event in again)
        rest = [event for index, event in enumerate(events) if index not in known]
        # Where one is named an answer, halves keep a thousand of them from going over the wire five hundred times.
        others = (again, *(_halves(rest) if len(known) == 1 else [rest]))
        raise SplitBatch([other for other in others if other], was_taken=True)

    def _settle(self, delivered: Sequence[EventRecord], recorded: Sequence[EventRecord]) -> None:
        if delivered:
            log.info(
                "Klaviyo had taken %s of a request whose answer was lost.", counted(len(delivered), "event")
            )
        if delivered or recorded:
            self._state.settle(self._state.mark_in_doubt([*delivered, *recorded]))
        for event in delivered:
            self._accept([event], self._unsettled_of[event.number])
        for event in recorded:
            verdict = Verdict(event.number, event.row, Outcome.SKIPPED, _ALREADY_RECORDED)
            self._publish(Settled(verdicts=[verdict]), [event], self._unsettled_of[event.number])


def events_body(events: Sequence[Record]) -> bytes:
    """The bulk request of some events, those of one person together."""
    records = all_of(EventRecord, events)
    groups = (
        group_body(records[indexes[0]].profile, [records[index] for index in indexes])
        for indexes in _groups(records)
    )
    return b"".join(
        (
            b'{"data":{"type":"event-bulk-create-job","attributes":{"events-bulk-create":{"data":[',
            b",".join(groups),
            b"]}}}}",
        )
    )


def _groups(events: Sequence[EventRecord]) -> list[list[int]]:
    """Which events share a group of the request: those of one person that start flows, and those that do not."""
    groups: dict[tuple[bytes, bool], list[int]] = {}
    for index, event in enumerate(events):
        groups.setdefault((event.profile, event.is_backfill), []).append(index)
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


def _located(part: Sequence[EventRecord], pointer: str) -> Located:
    """The events that a pointer means, and the field."""
    return _meant(_groups(part), pointer)


def _meant(groups: Sequence[Sequence[int]], pointer: str) -> Located:
    """One event of a group, or all of it when its person is meant.

    A group that is named without saying what of it may have one bad event only, so that is left to find out.
    """
    group, path = pointed_at(pointer, _PREFIX)
    if group is None:
        return Located([], _of_whom(path))
    if group >= len(groups):
        return Located([], ())
    indexes = groups[group]
    if path[:1] == (_PERSON,):
        return Located(indexes, _of_whom(path))
    if path[:1] != (_EVENTS,):
        return Located(indexes if len(indexes) == 1 else [], path)
    index = next((index for index, step in enumerate(path[:3]) if step.isdecimal()), None)
    if index is None:
        return Located([], ())
    inner = int(path[index])
    return Located([indexes[inner]] if inner < len(indexes) else [], within(path[index + 1 :]))


def _of_whom(path: FieldPath) -> FieldPath:
    """The field of the person or of the event; a bare name that no event has is the person's."""
    if path[:1] == (_PERSON,):
        inside = path[1:]
        return (_PERSON, *within(inside[1:] if inside[:1] == ("data",) else inside))
    is_of_event = not path or path[0] in (*EVENT_FIELDS, "properties")
    return path if is_of_event else (_PERSON, *path)


def _field_at(event: EventRecord, path: FieldPath) -> tuple[str, str]:
    """Whose field a path means, and its name; a property that the event has not may be meant of the person."""
    if path[:1] == (_PERSON,):
        return _PERSON, field_at(event.profile, path[1:])
    if field := field_at(event.body, path):
        return _EVENTS, field
    return _PERSON, field_at(event.profile, path)


def _halves(events: Sequence[EventRecord]) -> list[Sequence[EventRecord]]:
    half = len(events) // 2
    return [events[half:], events[:half]]


def _is_repeated(error: ApiError, path: FieldPath) -> bool:
    """Whether an error says that Klaviyo has an event of this id; its words for that are not documented."""
    if path != ("unique_id",) and not _ABOUT_IDS.search(error.message):
        return False
    return bool(_REPEATED.search(error.message)) or not _MALFORMED.search(error.message)


def _field_name(path: FieldPath) -> str:
    """As a mapping names it; identifiers and the like do without the prefix, properties would be the event's."""
    is_plain = path[:1] == (_PERSON,) and path[1:2] not in ((), ("properties",))
    return ".".join(path[1:] if is_plain else path) or _WHOLE
