"""What the fields of a profile take: their names, and how a column becomes the values of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from airflow_provider_klaviyo.records.contacts.email import check_emails
from airflow_provider_klaviyo.records.mapping import JSON_TEXT, PROPERTIES
from airflow_provider_klaviyo.records.profiles.mapping import LOCATION, LOCATION_COORDINATES
from airflow_provider_klaviyo.records.profiles.placeholders import without_placeholders
from airflow_provider_klaviyo.records.values.columns import to_json_values, to_numbers_or_strings, to_strings

MAX_EXTERNAL_ID = 255
"""Characters of an ``external_id``; Klaviyo names no limit, other clients of its API keep to this one."""

Values = list[Any]
Read = tuple[Values, dict[int, str]]
"""A column's values in Klaviyo's form, and why a value has none, by index."""

Reader = Callable[[Sequence[object]], Read]

_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z]{4})?([-_]([A-Za-z]{2}|\d{3}))?")
_KLAVIYO_ID = re.compile(r"[0-9A-Za-z]+")

_decode = msgspec.json.Decoder(float_hook=Decimal).decode

_NO_JSON = f"not JSON, which the mapping says it is ({JSON_TEXT})"
_NO_LOCALE = "not a locale like en-US (language, then region)"
_NO_KLAVIYO_ID = (
    "not a Klaviyo profile id (letters and digits only); an id of your own belongs into external_id"
)
_NUL = "it holds a NUL character, which cannot be part of an id: remove that in SQL"
_LONG = f"more than {MAX_EXTERNAL_ID} characters, which Klaviyo does not take as an id"


def reader(name: str, timezone: tzinfo, *, is_json: bool = False) -> Reader:
    """What reads the column of a field; a phone number is only read here, not checked.

    :param name: the field's, as a mapping has it.
    :param timezone: of timestamps that have none.
    :param is_json: whether text of the column is JSON.
    """
    if is_json:
        return lambda column: _parsed(column, timezone)
    if name.startswith(PROPERTIES):
        return partial(to_json_values, timezone=timezone)
    if name.removeprefix(LOCATION) in LOCATION_COORDINATES:
        return partial(to_numbers_or_strings, timezone=timezone)
    strings = partial(to_strings, timezone=timezone)
    check = _CHECKS.get(name)
    return strings if check is None else lambda column: _after(strings(column), check)


def _parsed(column: Sequence[object], timezone: tzinfo) -> Read:
    """What JSON in text stands for; what the driver has read already stays."""
    values = list(column)
    reasons = {}
    for index, value in enumerate(values):
        if isinstance(value, str):
            try:
                values[index] = _decode(value) if value.strip() else None
            except (msgspec.DecodeError, RecursionError):
                values[index], reasons[index] = None, _NO_JSON
    return _after((values, reasons), partial(to_json_values, timezone=timezone))


def _after(read: Read, check: Callable[[Values], Read]) -> Read:
    values, reasons = read
    checked, more = check(values)
    return checked, {**more, **reasons}


def _check_klaviyo_ids(ids: Values) -> Read:
    return _checked(ids, _KLAVIYO_ID.fullmatch, _NO_KLAVIYO_ID)


def _check_external_ids(ids: Values) -> Read:
    present = list(filter(None, ids))
    if not present or (max(map(len, present)) <= MAX_EXTERNAL_ID and "\0" not in "".join(present)):
        return ids, {}
    return _after(
        _checked(ids, lambda value: "\0" not in value, _NUL),
        lambda checked: _checked(checked, lambda value: len(value) <= MAX_EXTERNAL_ID, _LONG),
    )


def _check_locales(values: Values) -> Read:
    """BCP 47, such as ``en-US``; databases often hold ``en_US``."""
    checked, reasons = _checked(values, _LOCALE.fullmatch, _NO_LOCALE)
    return [value.replace("_", "-") if value else None for value in checked], reasons


def _checked(values: Values, is_good: Callable[[str], object], reason: str) -> Read:
    """The values without the bad ones, for which there is one reason."""
    reasons = {index: reason for index, value in enumerate(values) if value and not is_good(value)}
    if not reasons:
        return values, {}
    return [None if index in reasons else value for index, value in enumerate(values)], reasons


_CHECKS: Mapping[str, Callable[[Values], Read]] = {
    "klaviyo_id": lambda values: _after(without_placeholders(values), _check_klaviyo_ids),
    "email": check_emails,
    "external_id": lambda values: _after(without_placeholders(values), _check_external_ids),
    "locale": _check_locales,
}
