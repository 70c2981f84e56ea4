"""When an event happened: from what databases hold to the ISO 8601 that Klaviyo reads.

=======================  ============================================================================
timestamp with zone      as it is
timestamp without        in the ``timezone`` of the sync (a time that the clocks repeat: the first)
date                     midnight in that zone
ISO 8601 text            as a timestamp; without an offset in that zone
number, or digits        Unix seconds, or milliseconds; which of them is plain from the range, and a
                         number outside both (a date such as 20260131, microseconds) is refused
=======================  ============================================================================
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from airflow_provider_klaviyo.records.values.plain_types import plain
from airflow_provider_klaviyo.records.values.unsendable import Unsendable

EARLIEST = dt.datetime(1990, 1, 1, tzinfo=dt.UTC)
"""Klaviyo takes no event before (description of ``time`` in ``bulk_create_events``)."""

LONGEST_AHEAD = dt.timedelta(days=365)
"""Klaviyo takes no event further in the future (the same)."""

_PLAIN = (EARLIEST.timestamp(), dt.datetime(2100, 1, 1, tzinfo=dt.UTC).timestamp())
"""Seconds that plainly are Unix seconds; a thousandth of a number that plainly is milliseconds."""

Times = tuple[list[dt.datetime | None], dict[int, str]]
"""The times of a column, and why a value is none, by index."""

_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
"""Also with a decimal comma: Python would take a part of such a number for a date, another for the time."""

_EMPTY = "the time is empty: an event has to say when it happened"
_NOT_A_TIME = (
    "not a time: a timestamp, a date, ISO 8601 text (2026-01-31T10:00:00+01:00) or Unix seconds or "
    "milliseconds is needed"
)
_AMBIGUOUS = (
    "a number that is neither Unix seconds nor milliseconds of the years 1990 to 2099, so what it means is ambiguous: "
    "convert it to a timestamp in SQL"
)
_TOO_OLD = "before 1990, which Klaviyo does not take"
_TOO_FAR = "more than a year in the future, which Klaviyo does not take"


class EventTimes:
    """Reads times for one run.

    :param timezone: of times without an offset.
    :param now: when the run began.
    """

    def __init__(self, timezone: dt.tzinfo, now: dt.datetime) -> None:
        self._timezone = timezone
        self._latest = now + LONGEST_AHEAD
        self._readers: Mapping[type, Callable[..., dt.datetime]] = {
            dt.datetime: self._timestamp,
            dt.date: self._date,
            str: self._text,
            int: self._number,
            float: self._number,
            Decimal: self._number,
        }

    def read(self, column: Sequence[object]) -> Times:
        """The times of a column; Klaviyo takes them from 1990 to a year ahead (description of ``bulk_create_events``).

        :param column: as the driver gives it; NULL and blank text have a reason, too.
        :returns: as many times, each with an offset, and the reasons.
        """
        times: list[dt.datetime | None] = []
        reasons: dict[int, str] = {}
        for index, value in enumerate(column):
            try:
                times.append(self._checked(value))
            except Unsendable as refusal:
                times.append(None)
                reasons[index] = str(refusal)
        return times, reasons

    def _checked(self, value: object) -> dt.datetime:
        time = self._read(value)
        if time < EARLIEST:
            raise Unsendable(_TOO_OLD)
        if time > self._latest:
            raise Unsendable(_TOO_FAR)
        return time

    def _read(self, value: object) -> dt.datetime:
        value = plain(value)
        if value is None or (isinstance(value, str) and not value.strip()):
            raise Unsendable(_EMPTY)
        reader = self._readers.get(type(value))
        if reader is None:
            raise Unsendable(_NOT_A_TIME)
        return reader(value)

    def _timestamp(self, value: dt.datetime) -> dt.datetime:
        return value if value.utcoffset() is not None else value.replace(tzinfo=self._timezone)

    def _date(self, value: dt.date) -> dt.datetime:
        return dt.datetime(value.year, value.month, value.day, tzinfo=self._timezone)

    def _text(self, value: str) -> dt.datetime:
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return self._number(Decimal(text.replace(",", ".")))
        try:
            return self._timestamp(dt.datetime.fromisoformat(text))
        except ValueError:
            raise Unsendable(_NOT_A_TIME) from None

    def _number(self, value: float | Decimal) -> dt.datetime:
        try:
            for seconds in (Decimal(value), Decimal(value) / 1_000):
                if _PLAIN[0] <= seconds < _PLAIN[1]:
                    return dt.datetime.fromtimestamp(float(seconds), dt.UTC)
        except ArithmeticError:  # NaN, or an exponent beyond all measure
            pass
        raise Unsendable(_AMBIGUOUS)


def iso(time: dt.datetime | None) -> str | None:
    """As Klaviyo reads it; in UTC where the offset has seconds (local mean times), which RFC 3339 does not know.

    :param time: with an offset; None stays None.
    """
    if time is None:
        return None
    offset = time.utcoffset() or dt.timedelta()
    return (time.astimezone(dt.UTC) if offset % dt.timedelta(minutes=1) else time).isoformat()
