"""What the fields of an event take, a column at a time, and Klaviyo's limits on an event's properties."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from typing import Any

from airflow_provider_klaviyo.records.events.currencies import CURRENCIES
from airflow_provider_klaviyo.records.events.mapping import METRIC_LIMIT
from airflow_provider_klaviyo.records.profiles.fields import Read, Values
from airflow_provider_klaviyo.records.values.columns import to_numbers_or_strings, to_strings

MAX_ID = 255
"""Characters of a ``unique_id`` (Klaviyo's guide to events)."""

MAX_PROPERTIES = 400
MAX_STRING_BYTES = 100_000
MAX_LIST = 4_000
"""Limits on an event's properties (Klaviyo's guide to events, Limitations)."""

NOTHING_TO_CHECK = 2 * MAX_LIST
"""An event of fewer bytes holds neither a list nor a text that is too long."""

_NUMBER = re.compile(r"[+-]?(\d{1,300}(\.\d{0,300})?|\.\d{1,300})([eE][+-]?\d{1,2})?")

_NO_NUMBER = "not a number"
_NO_CURRENCY = "not a currency code of ISO 4217 such as USD"
_EMPTY_METRIC = "the metric is empty: an event needs a name"
_LONG_METRIC = f"the metric's name has {METRIC_LIMIT} characters or more, which Klaviyo does not take"
_EMPTY_ID = "unique_id is empty: an event without one could be counted twice"
_LONG_ID = f"unique_id has more than {MAX_ID} characters, which Klaviyo does not take"
_LONG_TEXT = f"a text of more than {MAX_STRING_BYTES:,} bytes, which Klaviyo does not take in an event"
_LONG_LIST = f"a list of more than {MAX_LIST:,} values, which Klaviyo does not take in an event"


def read_values(column: Sequence[object], timezone: tzinfo) -> Read:
    """Amounts; text that is a plain number is one.

    :param column: as the driver gives it; blank text is no amount, without a reason.
    :param timezone: of timestamps that have none, which are refused here.
    """
    column = [_amount(value) if isinstance(value, str) else value for value in column]
    values, reasons = to_numbers_or_strings(column, timezone=timezone)
    texts = {index: _NO_NUMBER for index, value in enumerate(values) if isinstance(value, str)}
    return [None if index in texts else value for index, value in enumerate(values)], {**reasons, **texts}


def _amount(text: str) -> object:
    """The number that a text is, nothing for a blank one, and any other text as it is."""
    text = text.strip()
    return Decimal(text) if _NUMBER.fullmatch(text) else text or None


def read_currencies(column: Sequence[object], timezone: tzinfo) -> Read:
    """Currency codes of ISO 4217, in any letter case; Klaviyo names no other (description of ``value_currency``).

    :param column: as the driver gives it; blank text is no code, without a reason.
    :param timezone: of timestamps that have none; their text is no code.
    """
    values, reasons = to_strings(column, timezone=timezone)
    codes = [value.strip().upper() if isinstance(value, str) else None for value in values]
    bad = {index: _NO_CURRENCY for index, code in enumerate(codes) if code and code not in CURRENCIES}
    return [None if index in bad else code or None for index, code in enumerate(codes)], {**bad, **reasons}


def read_metrics(column: Sequence[object], timezone: tzinfo) -> Read:
    """Names of metrics; each event needs one, of fewer than 128 characters (description of ``bulk_create_events``).

    :param column: as the driver gives it; NULL and blank text have a reason, too.
    :param timezone: of timestamps that have none, where a column holds any.
    """
    return _required(to_strings(column, timezone=timezone), _EMPTY_METRIC, METRIC_LIMIT - 1, _LONG_METRIC)


def read_ids(column: Sequence[object], timezone: tzinfo) -> Read:
    """Ids of events; each event needs one, of at most 255 characters (Klaviyo's guide to events).

    :param column: as the driver gives it; NULL and blank text have a reason, too.
    :param timezone: of timestamps that have none, where a column holds any.
    """
    return _required(to_strings(column, timezone=timezone), _EMPTY_ID, MAX_ID, _LONG_ID)


def _required(read: Read, empty: str, longest: int, too_long: str) -> Read:
    values, reasons = read
    checked: Values = []
    for index, value in enumerate(values):
        text = value.strip() if isinstance(value, str) else ""
        if not text:
            reasons.setdefault(index, empty)
        elif len(text) > longest:
            reasons[index] = too_long
        checked.append(None if index in reasons else text)
    return checked, reasons


def properties_beyond_limits(properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The properties that Klaviyo would refuse the event for, and why (its guide to events, Limitations).

    :param properties: by name, as they are read back from the event's JSON.
    """
    for name, value in properties.items():
        if reason := _beyond_limits(value):
            yield name, reason


def _beyond_limits(value: object) -> str:
    if isinstance(value, str):
        return _LONG_TEXT if len(value.encode("utf-8", "surrogatepass")) > MAX_STRING_BYTES else ""
    if isinstance(value, list):
        return _LONG_LIST if len(value) > MAX_LIST else _first_beyond(value)
    return _first_beyond(value.values()) if isinstance(value, Mapping) else ""


def _first_beyond(values: Iterable[object]) -> str:
    return next(filter(None, map(_beyond_limits, values)), "")
