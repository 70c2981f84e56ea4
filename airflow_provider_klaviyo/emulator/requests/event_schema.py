"""Events as requests carry them: checked, and reduced to what is stored of them.

Source: OpenAPI 2026-07-15, `EventCreateQueryV2`, `EventsBulkCreateJob`; guide "Events API overview", Limitations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from airflow_provider_klaviyo.emulator.core.errors import Problem, pointer_to
from airflow_provider_klaviyo.emulator.requests import documents
from airflow_provider_klaviyo.emulator.requests.currencies import CURRENCIES
from airflow_provider_klaviyo.emulator.requests.documents import (
    INT64,
    object_problems,
    resource_problems,
)

MAX_UNIQUE_ID = 255
#: A metric's name must be shorter than this.
NAME_LIMIT = 128

# The schema says 1990, the guide 2000.
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_YEAR = 365 * 86_400
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII).fullmatch
_MEMBERS = ("properties", "metric")

_encode = msgspec.json.Encoder().encode


class MetricAttributes(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The metric of an event; it is made when the first event names it."""

    name: str
    service: str | UnsetType | None = UNSET


class _MetricResource(Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["metric"]
    attributes: MetricAttributes


class _Metric(Struct, forbid_unknown_fields=True, gc=False):
    data: _MetricResource


class EventAttributes(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The attributes of an event, its profile aside."""

    properties: dict[str, Any]
    metric: _Metric
    time: str | UnsetType | None = UNSET
    value: float | int | UnsetType | None = UNSET
    value_currency: str | UnsetType | None = UNSET
    unique_id: str | UnsetType | None = UNSET
    backfill: bool | UnsetType | None = UNSET


class NewEvent(Struct, gc=False):
    """What a request asks to be recorded; `time` is in whole seconds since 1970, `properties` are JSON."""

    metric: str
    time: int
    value: float | int | None
    value_currency: str | None
    unique_id: str | None
    properties: bytes
    is_backfill: bool

    @property
    def identity(self) -> str:
        """What tells it from the other events of its profile and metric."""
        return str(self.time) if self.unique_id is None else self.unique_id


def new_event(attributes: EventAttributes, now: float, *, is_backfill: bool) -> NewEvent:
    """What is stored of an event that is in order; `is_backfill` is for one that does not say."""
    time, currency, backfill = attributes.time, attributes.value_currency, attributes.backfill
    seconds = seconds_of(time) if isinstance(time, str) else None
    return NewEvent(
        metric=attributes.metric.data.attributes.name,
        time=math.floor(now if seconds is None else seconds),
        value=None if attributes.value is UNSET else attributes.value,
        value_currency=intern(currency) if isinstance(currency, str) else None,
        unique_id=None if attributes.unique_id is UNSET else attributes.unique_id,
        properties=_encode(attributes.properties),
        is_backfill=backfill if isinstance(backfill, bool) else is_backfill,
    )


def check_event(
    resource: Any, pointer: str, now: float, *, is_backfill: bool, further: tuple[str, ...] = ()
) -> NewEvent | list[Problem]:
    """The event that a resource stands for, or everything that is wrong with it.

    `further` are required attributes that are somebody else's to check.
    """
    problems = [*resource_problems(resource, pointer, "event")]
    attributes = resource.get("attributes") if isinstance(resource, dict) else None
    if attributes is not None:
        problems += _attribute_problems(attributes, pointer_to(pointer, "attributes"), now, further)
    if problems:
        return problems
    own = {name: value for name, value in resource["attributes"].items() if name not in further}
    return new_event(msgspec.convert(own, EventAttributes), now, is_backfill=is_backfill)


def _attribute_problems(
    attributes: Any, pointer: str, now: float, further: tuple[str, ...]
) -> Iterator[Problem]:
    required = (*_MEMBERS, *further)
    yield from object_problems(
        attributes, pointer, required=required, optional=tuple(RULES), resource="event"
    )
    if not isinstance(attributes, dict):
        return
    for name, rule in RULES.items():
        value = attributes.get(name)
        if value is not None and (detail := rule(value, now)):
            yield Problem(detail, pointer=pointer_to(pointer, name))
    if "properties" in attributes:
        yield from property_problems(attributes["properties"], pointer_to(pointer, "properties"))
    if "metric" in attributes:
        yield from _metric_problems(attributes["metric"], pointer_to(pointer, "metric"))


def _metric_problems(metric: Any, pointer: str) -> Iterator[Problem]:
    yield from object_problems(metric, pointer, required=("data",), resource="metric")
    if not isinstance(metric, dict) or "data" not in metric:
        return
    inside = pointer_to(pointer, "data")
    yield from resource_problems(metric["data"], inside, "metric")
    if not isinstance(metric["data"], dict) or "attributes" not in metric["data"]:
        return
    attributes, inside = metric["data"]["attributes"], pointer_to(inside, "attributes")
    yield from object_problems(
        attributes, inside, required=("name",), optional=("service",), resource="metric"
    )
    if isinstance(attributes, dict):
        if "name" in attributes and (detail := name_problem(attributes["name"])):
            yield Problem(detail, pointer=pointer_to(inside, "name"))
        if detail := service_problem(attributes.get("service")):
            yield Problem(detail, pointer=pointer_to(inside, "service"))


def name_problem(name: Any) -> str | None:
    """What is wrong with the name of a metric."""
    if isinstance(name, str) and 0 < len(name) < NAME_LIMIT and name.strip() and "\x00" not in name:
        return None
    return f"'name' must be a text of less than {NAME_LIMIT} characters."


def service_problem(service: Any) -> str | None:
    """What is wrong with the service of a metric; metrics of other integrations are not emulated."""
    return None if service in (None, "api") else "'service' must be 'api'."


# ------------------------------------------------------------------------------------------------------------


def _time_problem(value: Any, now: float) -> str | None:
    seconds = seconds_of(value) if isinstance(value, str) else None
    if seconds is not None and _EARLIEST <= seconds <= now + _YEAR:
        return None
    form = "'time' must be an ISO 8601 date and time with an offset from UTC"
    return f"{form}, not before the year 2000 and not more than a year ahead."


@lru_cache(maxsize=4_096)
def seconds_of(text: str) -> float | None:
    """A time stamp in seconds since 1970, or None when it is not one or has no offset."""
    if not _INSTANT(text):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _value_problem(value: Any, _: float) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "'value' must be a number."
    is_fine = math.isfinite(value) if isinstance(value, float) else -INT64 <= value < INT64
    return None if is_fine else "Integers must fit into 64 bits."


def _currency_problem(value: Any, _: float) -> str | None:
    is_known = isinstance(value, str) and value in CURRENCIES
    return None if is_known else "'value_currency' must be an ISO 4217 currency code."


def _unique_id_problem(value: Any, _: float) -> str | None:
    if isinstance(value, str) and 0 < len(value) <= MAX_UNIQUE_ID and "\x00" not in value:
        return None
    return f"'unique_id' must be a text of 1 to {MAX_UNIQUE_ID} characters."


def backfill_problem(value: Any, _: float = 0.0) -> str | None:
    """What is wrong with the `backfill` of an event or of a group."""
    return None if isinstance(value, bool) else "'backfill' must be true or false."


#: What is wrong with a simple attribute that is there, at a moment; null is as good as absent.
RULES: dict[str, Callable[[Any, float], str | None]] = {
    "time": _time_problem,
    "value": _value_problem,
    "value_currency": _currency_problem,
    "unique_id": _unique_id_problem,
    "backfill": backfill_problem,
}


def property_problems(properties: Any, pointer: str) -> Iterator[Problem]:
    """Problems of an event's properties.

    Klaviyo keeps `$value`, `$event_id` and others among them itself; of a client's own it explains `$extra` only.
    """
    return documents.property_problems(properties, pointer, resource="event", reserved_but=("$extra",))
