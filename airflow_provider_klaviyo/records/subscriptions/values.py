"""What tells of consent in a row, a column at a time: whether, since when, and how old the person is.

No reason holds any part of the value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from functools import partial

from airflow_provider_klaviyo.records.profiles.fields import Read, Values
from airflow_provider_klaviyo.records.values.plain_types import plain
from airflow_provider_klaviyo.records.values.times import EventTimes, Times
from airflow_provider_klaviyo.records.values.truth import FALSE, TRUE
from airflow_provider_klaviyo.records.values.unsendable import Unsendable

_NOT_A_BOOLEAN = "neither true nor false: no consent is read from it"
_NO_DATE = "not a date of birth: write it as 1990-01-31, or use the database's own type"
_NOT_PAST = "not in the past: consent that is still to come cannot be imported"
_NO_CONSENTED_AT = "empty, and a historical import needs the moment of consent for every row"


def read_consent_flags(column: Sequence[object]) -> Read:
    """Whether rows consent, as true or false.

    :param column: booleans, 0 and 1, or words for them; NULL and blank text are None, without a reason.
    """
    return _each(column, _boolean)


def read_dates_of_birth(column: Sequence[object], today: date) -> Read:
    """Dates of birth as Klaviyo takes them: ``YYYY-MM-DD`` (schema of ``bulk_subscribe_profiles``).

    :param column: dates, timestamps or text; NULL and blank text are None, without a reason.
    :param today: every date of birth lies before it.
    """
    return _each(column, partial(_born, today=today))


def read_timestamps(column: Sequence[object], timezone: tzinfo, now: datetime, *, is_required: bool) -> Times:
    """Moments of consent, with reasons for those that are none.

    :param column: what ``EventTimes`` reads; NULL and blank text are None.
    :param timezone: of those without an offset, and of dates.
    :param now: Klaviyo takes none that is not in the past (description of ``bulk_subscribe_profiles``).
    :param is_required: whether an empty one has a reason, too.
    """
    timestamps, reasons = EventTimes(timezone, now).read(column)
    for index, value in enumerate(column):
        if value is None or (isinstance(value, str) and not value.strip()):
            reasons.pop(index, None)
            if is_required:
                reasons[index] = _NO_CONSENTED_AT
        elif (timestamp := timestamps[index]) and timestamp >= now:
            timestamps[index], reasons[index] = None, _NOT_PAST
    return timestamps, reasons


def _each(column: Sequence[object], convert: Callable[[object], object]) -> Read:
    values: Values = []
    reasons: dict[int, str] = {}
    for index, given in enumerate(column):
        try:
            value = plain(given)
            is_empty = value is None or (isinstance(value, str) and not value.strip())
            values.append(None if is_empty else convert(value))
        except Unsendable as refusal:
            values.append(None)
            reasons[index] = str(refusal)
    return values, reasons


def _boolean(value: object) -> bool:
    """True or false as databases give them; SQLite's and MySQL's are numbers."""
    if isinstance(value, (bool, int, float, Decimal)) and value in (0, 1):
        return bool(value)
    word = str(value).strip().lower()
    if word not in TRUE | FALSE:
        raise Unsendable(_NOT_A_BOOLEAN)
    return word in TRUE


def _born(value: object, today: date) -> str:
    try:
        date_of_birth = _date_of(value.strip()) if isinstance(value, str) else value
    except ValueError:
        raise Unsendable(_NO_DATE) from None
    day = date_of_birth.date() if isinstance(date_of_birth, datetime) else date_of_birth
    if not isinstance(day, date) or day >= today:
        raise Unsendable(_NO_DATE)
    return day.isoformat()


def _date_of(text: str) -> date:
    """A date, which some databases write as the midnight that it begins with.

    :raises ValueError: for anything else.
    """
    timestamp = datetime.fromisoformat(text)
    if timestamp.time() != time.min:
        raise ValueError(text)
    return timestamp.date()
