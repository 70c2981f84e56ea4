"""What the fields of a profile take: their names, and how a column becomes the values of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from functools import partial
from typing import Any

from airflow_provider_klaviyo.records.email import check_emails
from airflow_provider_klaviyo.records.mapping import PROPERTIES
from airflow_provider_klaviyo.records.values import to_json_values, to_numbers_or_strings, to_strings

TEXTS = ("first_name", "last_name", "organization", "title", "locale", "image", "_kx")
LOCATION = "location."
LOCATION_TEXTS = ("address1", "address2", "city", "country", "region", "zip", "timezone", "ip")
LOCATION_COORDINATES = ("latitude", "longitude")

Values = list[Any]
Read = tuple[Values, dict[int, str]]
"""A column's values in Klaviyo's form, and why a value has none, by place."""

Reader = Callable[[Sequence[object]], Read]

_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z]{4})?([-_]([A-Za-z]{2}|\d{3}))?")
_KLAVIYO_ID = re.compile(r"[0-9A-Za-z]+")


def reader(name: str, timezone: tzinfo) -> Reader:
    """What reads the column of a field; a phone number is only read here, not checked.

    :param timezone: of timestamps that have none.
    """
    if name.startswith(PROPERTIES):
        return partial(to_json_values, timezone=timezone)
    if name.removeprefix(LOCATION) in LOCATION_COORDINATES:
        return partial(to_numbers_or_strings, timezone=timezone)
    strings = partial(to_strings, timezone=timezone)
    check = _CHECKS.get(name)
    return strings if check is None else lambda column: _after(strings(column), check)


def _after(read: Read, check: Callable[[Values], Read]) -> Read:
    values, reasons = read
    checked, more = check(values)
    return checked, {**more, **reasons}


def _check_klaviyo_ids(values: Values) -> Read:
    checked, _ = _check_external_ids(values)
    reason = "not a Klaviyo profile id (letters and digits only); an id of your own belongs into external_id"
    reasons = {
        place: reason for place, value in enumerate(checked) if value and not _KLAVIYO_ID.fullmatch(value)
    }
    for place in reasons:
        checked[place] = None
    return checked, reasons


def _check_external_ids(values: Values) -> Read:
    """Blank ones name nobody; padding, as of a CHAR column, is not part of an id."""
    return [value and (value.strip() or None) for value in values], {}


def _check_locales(values: Values) -> Read:
    """BCP 47, such as ``en-US``; databases often hold ``en_US``."""
    reason = "not a locale like en-US (language, then region)"
    bad = {place: reason for place, value in enumerate(values) if value and not _LOCALE.fullmatch(value)}
    checked = [value.replace("_", "-") if value else None for value in values]
    for place in bad:
        checked[place] = None
    return checked, bad


_CHECKS: Mapping[str, Callable[[Values], Read]] = {
    "klaviyo_id": _check_klaviyo_ids,
    "email": check_emails,
    "external_id": _check_external_ids,
    "locale": _check_locales,
}
