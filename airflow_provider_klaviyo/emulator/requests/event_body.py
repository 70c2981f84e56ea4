"""The bodies that carry events: one by itself, or up to a thousand in groups of one profile each.

As with bulk imports a body of many is first read into structs, and only one with something unusual about it is read
by the rule, `check_event` and `check_profile`. The shortcut passes nothing that the rule refuses.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from airflow_provider_klaviyo.emulator.core.errors import ApiError, Problem, pointer_to
from airflow_provider_klaviyo.emulator.core.settings import Settings
from airflow_provider_klaviyo.emulator.requests import documents
from airflow_provider_klaviyo.emulator.requests.bulk_body import ProfileResource, are_plain, quick_change
from airflow_provider_klaviyo.emulator.requests.documents import (
    object_problems,
    resource_of,
    resource_problems,
)
from airflow_provider_klaviyo.emulator.requests.event_schema import (
    RULES,
    EventAttributes,
    NewEvent,
    backfill_problem,
    check_event,
    name_problem,
    new_event,
    property_problems,
    service_problem,
)
from airflow_provider_klaviyo.emulator.requests.profile_schema import (
    EVENT,
    EVENT_BULK,
    Change,
    Form,
    check_profile,
)

MAX_EVENTS = 1_000
GROUPS = "/data/attributes/events-bulk-create/data"
_JOB, _GROUP = "event-bulk-create-job", "event-bulk-create"


class EventGroup(Struct, gc=False):
    """Events of one profile; `place` is the entry's in a bulk request, None for an event that came by itself."""

    change: Change
    events: list[NewEvent]
    place: int | None = None

    @property
    def profile_pointer(self) -> str:
        """Where its profile stands in the request."""
        return f"{self._base}/profile/data"

    def event_pointer(self, index: int) -> str:
        """Where the attributes of one of its events stand in the request."""
        return self._base if self.place is None else f"{self._base}/events/data/{index}/attributes"

    @property
    def _base(self) -> str:
        return "/data/attributes" if self.place is None else f"{GROUPS}/{self.place}/attributes"


class _Event(Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["event"]
    attributes: EventAttributes


class _Events(Struct, forbid_unknown_fields=True, gc=False):
    data: list[_Event]


class _Profile(Struct, forbid_unknown_fields=True, gc=False):
    data: ProfileResource


class _GroupAttributes(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    profile: _Profile
    events: _Events
    backfill: bool | UnsetType | None = UNSET


class _GroupResource(Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["event-bulk-create"]
    attributes: _GroupAttributes


class _Groups(Struct, forbid_unknown_fields=True):
    data: list[_GroupResource]


class _JobAttributes(Struct, forbid_unknown_fields=True, rename={"groups": "events-bulk-create"}):
    groups: _Groups


class _JobData(Struct, forbid_unknown_fields=True):
    type: Literal["event-bulk-create-job"]
    attributes: _JobAttributes


class _Job(Struct, forbid_unknown_fields=True):
    data: _JobData


_decode_job = msgspec.json.Decoder(_Job).decode
_encode = msgspec.json.Encoder().encode


def read_event(body: bytes, now: float, settings: Settings) -> EventGroup:
    """The one event of a request and its profile, or the 400 that says what is wrong with them."""
    data = resource_of(documents.decode(body), "event", required=("type", "attributes"))
    event = check_event(data, "/data", now, is_backfill=False, further=("profile",))
    problems = [] if isinstance(event, NewEvent) else event
    change = _profile(data["attributes"], "/data/attributes", EVENT, settings, problems)
    if problems or change is None or not isinstance(event, NewEvent):
        raise ApiError(400, problems)
    return EventGroup(change, [event])


def read_events(body: bytes, now: float, settings: Settings) -> list[EventGroup]:
    """The groups of a bulk request, or the 400 that names every bad record: one sinks the whole request."""
    quick = _read_quickly(body, now, settings)
    return quick if quick is not None else _read_carefully(documents.decode(body), now, settings)


# ------------------------------------------------------------------------------------------------------------


def _read_quickly(body: bytes, now: float, settings: Settings) -> list[EventGroup] | None:
    """The same verdict as `_read_carefully` for a body that has nothing wrong, else None."""
    if b"\\u0000" in body or documents.may_hide_keys(body):
        return None
    try:
        job = _decode_job(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if documents.count_keys(_encode(job)) != documents.count_keys(body):
        return None
    resources = job.data.attributes.groups.data
    if not resources or sum(len(each.attributes.events.data) for each in resources) > MAX_EVENTS:
        return None
    groups: list[EventGroup] = []
    for place, resource in enumerate(resources):
        group = _quick_group(resource.attributes, place, now, settings)
        if group is None:
            return None
        groups.append(group)
    return groups


def _quick_group(
    attributes: _GroupAttributes, place: int, now: float, settings: Settings
) -> EventGroup | None:
    resources = attributes.events.data
    if not resources or not all(_is_fine(each.attributes, now) for each in resources):
        return None
    profile = attributes.profile.data
    change = quick_change(profile, _encode(profile), EVENT_BULK, settings)
    if change is None:
        return None
    is_backfill = attributes.backfill is True
    events = [new_event(each.attributes, now, is_backfill=is_backfill) for each in resources]
    return EventGroup(change, events, place)


def _is_fine(attributes: EventAttributes, now: float) -> bool:
    metric = attributes.metric.data.attributes
    if name_problem(metric.name) or (metric.service is not UNSET and service_problem(metric.service)):
        return False
    for name, rule in RULES.items():
        value = getattr(attributes, name)
        if value is not UNSET and value is not None and rule(value, now):
            return False
    return _has_plain_properties(attributes.properties) or not any(
        property_problems(attributes.properties, "")
    )


def _has_plain_properties(properties: dict[str, Any]) -> bool:
    compact = _encode(properties)
    is_odd = b'"$' in compact or b'"":' in compact or len(compact) > documents.MAX_TEXT_BYTES
    return not is_odd and are_plain(properties)


# ------------------------------------------------------------------------------------------------------------


def _read_carefully(document: Any, now: float, settings: Settings) -> list[EventGroup]:
    data = resource_of(document, _JOB, required=("type", "attributes"))
    attributes, base = data["attributes"], "/data/attributes"
    problems = [*object_problems(attributes, base, required=("events-bulk-create",), resource=_JOB)]
    groups: list[EventGroup] = []
    resources = documents.members_of(attributes, base, "events-bulk-create", MAX_EVENTS, problems)
    for place, resource in enumerate(resources):
        group = _group(resource, place, now, settings)
        if isinstance(group, EventGroup):
            groups.append(group)
        else:
            problems += group
    if sum(_count(resource) for resource in resources) > MAX_EVENTS:
        problems.append(Problem(f"A request takes up to {MAX_EVENTS} events.", pointer=GROUPS))
    if problems:
        raise ApiError(400, problems)
    return groups


def _count(resource: Any) -> int:
    """How many events a group holds, whatever else is wrong with it."""
    events = resource
    for name in ("attributes", "events", "data"):
        events = events.get(name) if isinstance(events, dict) else None
    return len(events) if isinstance(events, list) else 0


def _group(resource: Any, place: int, now: float, settings: Settings) -> EventGroup | list[Problem]:
    pointer = pointer_to(GROUPS, place)
    problems = [*resource_problems(resource, pointer, _GROUP)]
    if not isinstance(resource, dict) or "attributes" not in resource:
        return problems
    attributes, inside = resource["attributes"], pointer_to(pointer, "attributes")
    problems += object_problems(
        attributes, inside, required=("profile", "events"), optional=("backfill",), resource=_GROUP
    )
    backfill = attributes.get("backfill") if isinstance(attributes, dict) else None
    if backfill is not None and (detail := backfill_problem(backfill)):
        problems.append(Problem(detail, pointer=pointer_to(inside, "backfill")))
    change = _profile(attributes, inside, EVENT_BULK, settings, problems)
    events: list[NewEvent] = []
    for index, each in enumerate(documents.members_of(attributes, inside, "events", MAX_EVENTS, problems)):
        event = check_event(
            each, pointer_to(inside, "events", "data", index), now, is_backfill=backfill is True
        )
        if isinstance(event, NewEvent):
            events.append(event)
        else:
            problems += event
    return problems if problems or change is None else EventGroup(change, events, place)


def _profile(
    attributes: Any, pointer: str, form: Form, settings: Settings, problems: list[Problem]
) -> Change | None:
    resource = documents.data_of(attributes, pointer, "profile", problems)
    if resource is None:
        return None
    change = check_profile(resource, pointer_to(pointer, "profile", "data"), form, settings)
    if isinstance(change, Change):
        return change
    problems += change
    return None
