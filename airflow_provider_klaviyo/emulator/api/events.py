"""`/api/events` and `/api/event-bulk-create-jobs`: events one by one or a thousand at a time, and reading them.

Klaviyo answers 202 once a request was validated and processes it a little later, which nothing tells about; here it
is processed at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.account.agenda import spared
from airflow_provider_klaviyo.emulator.account.event_store import Event
from airflow_provider_klaviyo.emulator.account.import_jobs import identifiers_of
from airflow_provider_klaviyo.emulator.account.profile_store import Conflict
from airflow_provider_klaviyo.emulator.account.rehearsal import Rehearsal
from airflow_provider_klaviyo.emulator.api.event_resources import (
    EVENT_FIELDS,
    METRIC_FIELDS,
    PROFILE_FIELDS,
    event_resource,
    metric_resource,
)
from airflow_provider_klaviyo.emulator.api.operations import XL, Answer, Call, M, Operation
from airflow_provider_klaviyo.emulator.api.profile_resources import profile_resource
from airflow_provider_klaviyo.emulator.api.refusals import problem_on_order
from airflow_provider_klaviyo.emulator.api.resources import after_cursor, page
from airflow_provider_klaviyo.emulator.core.errors import ApiError, Problem, pointer_to
from airflow_provider_klaviyo.emulator.requests import documents
from airflow_provider_klaviyo.emulator.requests.event_body import EventGroup, read_event, read_events
from airflow_provider_klaviyo.emulator.requests.event_schema import NewEvent
from airflow_provider_klaviyo.emulator.requests.filters import Comparison, Filterable
from airflow_provider_klaviyo.emulator.requests.query import Page, QueryRules

_DUPLICATE = "duplicate_profile"


def _create_event(call: Call) -> Answer:
    account = call.account
    return _recorded(call, [read_event(call.body, account.clock.now(), account.settings)])


def _bulk_create_events(call: Call) -> Answer:
    account = call.account
    return _recorded(call, read_events(call.body, account.clock.now(), account.settings))


def _recorded(call: Call, groups: list[EventGroup]) -> Answer:
    """Store all events or, with an `ApiError`, none of them."""
    account = call.account
    with account.lock:
        now = account.settle()
        problems = [*_ordered_problems(call, groups)] or [*_problems(account, groups)]
        if problems:
            is_conflict = groups[0].place is None and problems[0].code == _DUPLICATE
            raise ApiError(409 if is_conflict else 400, problems)
        for group in _left_by_faults(call, groups):
            if not account.is_fake(group.change.email):
                _store(account, group, now)
    return Answer(202, records=sum(len(group.events) for group in groups))


def _store(account: Account, group: EventGroup, now: float) -> None:
    profile = account.profiles.owner(group.change)
    if profile is None:
        profile = account.profiles.create(group.change, now)
    else:
        account.profiles.update(profile, group.change, now)
    for event in group.events:
        account.events.add(profile, event, now)


# ------------------------------------------------------------------------------------------------------------


def _problems(account: Account, groups: list[EventGroup]) -> Iterator[Problem]:
    """What speaks against a request in the light of what is stored already, and of its own other records."""
    rehearsal = Rehearsal(account.profiles)
    seen: set[tuple[int, str, str]] = set()
    for group in groups:
        if account.is_fake(group.change.email):
            continue
        try:
            number = rehearsal.number_of(group.change)
        except Conflict as conflict:
            yield _conflict(account, conflict, group.profile_pointer)
        else:
            if group.place is not None:
                yield from _repeats(account, group, number, seen)


def _conflict(account: Account, conflict: Conflict, pointer: str) -> Problem:
    """What Klaviyo answers to identifiers of several profiles is not known for events; here they refuse the request."""
    if conflict.field == "id":
        return Problem(conflict.detail, pointer=pointer_to(pointer, "id"))
    profile = conflict.profile
    return Problem(
        conflict.detail,
        pointer=pointer_to(pointer, "attributes"),
        code=_DUPLICATE,
        title="Conflict.",
        meta={} if profile is None else {"duplicate_profile_id": account.profiles.id_of(profile)},
    )


def _repeats(
    account: Account, group: EventGroup, number: int, seen: set[tuple[int, str, str]]
) -> Iterator[Problem]:
    """Events of a bulk request that repeat one of the request or, where the account refuses that, a stored one.

    Only ids that were given count: events that go by the second they happened in fall together in silence.
    """
    for index, event in enumerate(group.events):
        if event.unique_id is None:
            continue
        identity = (number, event.metric, event.unique_id)
        detail = ""
        if identity in seen:
            detail = "The unique_id is repeated for the same profile and metric."
        elif account.settings.refuses_known_events and account.events.knows(number, event):
            detail = "There is an event with this unique_id for the same profile and metric."
        if detail:
            yield Problem(detail, pointer=pointer_to(group.event_pointer(index), "unique_id"))
        seen.add(identity)


def _ordered_problems(call: Call, groups: list[EventGroup]) -> Iterator[Problem]:
    """The refusals that faults have on order."""
    refusing = [fault for fault in call.faults if fault.kind.is_of_records]
    document = documents.decode(call.body) if refusing else None
    for group in groups if refusing else ():
        for index, event in enumerate(group.events):
            for fault in refusing:
                if fault.strikes_record(_identifiers((group, event))):
                    places = (group.event_pointer(index), f"{group.profile_pointer}/attributes")
                    found = (problem_on_order(fault, document, place) for place in places)
                    yield from islice(filter(None, found), 1)


def _left_by_faults(call: Call, groups: list[EventGroup]) -> list[EventGroup]:
    """The groups without the events that are accepted and then lost because a fault has it so."""
    losing = [fault for fault in call.faults if fault.kind.is_of_jobs]
    if not losing:
        return groups
    records = [(group, event) for group in groups for event in group.events]
    left = spared(records, losing, _identifiers)
    return [EventGroup(group.change, [event], group.place) for group, event in left]


def _identifiers(record: tuple[EventGroup, NewEvent]) -> str:
    """An event's identifiers in one text, for faults to be matched with."""
    group, event = record
    return f"{identifiers_of(group.change)} {event.unique_id}"


# ------------------------------------------------------------------------------------------------------------


def _get_events(call: Call) -> Answer:
    is_descending = (call.query.sort or "").startswith("-")
    first = heapq.nlargest if is_descending else heapq.nsmallest
    with call.account.lock:
        call.account.settle()
        rows = after_cursor(call, _matching(call), _place, is_descending=is_descending)
        found = first(call.query.size + 1, rows, key=_place)
        document = page(
            call,
            found,
            resource=lambda event: event_resource(call, event),
            position=_place,
            is_descending=is_descending,
        )
        if call.query.include:
            document["included"] = _included(call, found[: call.query.size])
    return Answer(200, document)


def _place(event: Event) -> int:
    """Where an event stands among all: by time, and then in the order of processing."""
    return event.time << 40 | event.number


def _matching(call: Call) -> Iterator[Event]:
    tests = [_test(call.account, condition) for condition in call.query.filter]
    for event in call.account.events:
        if all(test(event) for test in tests):
            yield event


def _test(account: Account, condition: Comparison) -> Callable[[Event], bool]:
    """A condition on a whole event; ids are looked up once."""
    value = condition.values[0]
    if condition.field == "metric_id":
        metrics = [each.number for each in account.events.metrics if each.id == value]
        return lambda event: event.metric in metrics
    if condition.field == "profile_id":
        profile = account.profiles.with_id(str(value))
        return lambda event: profile is not None and event.profile == profile.number
    return lambda event: condition.matches(float(event.time))


def _included(call: Call, events: list[Event]) -> list[dict[str, Any]]:
    account, included = call.account, call.query.include
    metrics = sorted({event.metric for event in events}) if "metric" in included else []
    profiles = sorted({event.profile for event in events}) if "profile" in included else []
    return [metric_resource(call, account.events.metrics[number]) for number in metrics] + [
        profile_resource(call, account.profiles[number]) for number in profiles
    ]


JOBS = "/api/event-bulk-create-jobs"
_WRITES = ("events:write",)
_INSTANTS = ("greater-or-equal", "greater-than", "less-or-equal", "less-than")

OPERATIONS = (
    Operation("create_event", "POST", "/api/events", _WRITES, XL, _create_event, has_body=True),
    Operation("bulk_create_events", "POST", JOBS, _WRITES, M, _bulk_create_events, has_body=True),
    Operation(
        "get_events",
        "GET",
        "/api/events",
        ("events:read",),
        XL,
        _get_events,
        QueryRules(
            fields={"event": EVENT_FIELDS, "metric": METRIC_FIELDS, "profile": PROFILE_FIELDS},
            include=frozenset(("metric", "profile")),
            sort=("datetime", "-datetime", "timestamp", "-timestamp"),
            filters={
                "metric_id": Filterable(("equals",)),
                "profile_id": Filterable(("equals",)),
                "datetime": Filterable(_INSTANTS, "datetime"),
                "timestamp": Filterable(_INSTANTS, "number"),
            },
            page=Page(default=200, largest=1_000),
        ),
    ),
)
