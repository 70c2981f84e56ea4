"""When an event happened, from every form that databases keep a time in."""

from __future__ import annotations

import datetime as dt
import itertools
from datetime import UTC
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.values.times import EventTimes, iso
from airflow_provider_klaviyo.records.values.unsendable import Unreadable

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=UTC)
BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


def read(value: object, timezone: dt.tzinfo = UTC) -> tuple[str | None, str]:
    """The time as it is sent, and the reason why there is none."""
    times, reasons = EventTimes(timezone, NOW).read([value])
    assert (times[0] is None) == (0 in reasons)
    return iso(times[0]), reasons.get(0, "")


def sent(value: object, timezone: dt.tzinfo = UTC) -> str | None:
    text, reason = read(value, timezone)
    assert not reason
    return text


class Moment(dt.datetime):
    """As some drivers have: their own kind of datetime."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.datetime(2026, 1, 31, 10, tzinfo=UTC), "2026-01-31T10:00:00+00:00"),
        (dt.datetime(2026, 1, 31, 10, 0, 0, 250_000, tzinfo=UTC), "2026-01-31T10:00:00.250000+00:00"),
        (dt.datetime(2026, 7, 1, 10, tzinfo=NEW_YORK), "2026-07-01T10:00:00-04:00"),
        (dt.datetime(2026, 1, 31, 10), "2026-01-31T10:00:00+01:00"),
        (dt.datetime(2026, 7, 1, 10), "2026-07-01T10:00:00+02:00"),
        (dt.date(2026, 1, 31), "2026-01-31T00:00:00+01:00"),
        (Moment(2026, 1, 31, 10), "2026-01-31T10:00:00+01:00"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00+00:00"),
        ("2026-01-31T10:00:00-05:00", "2026-01-31T10:00:00-05:00"),
        ("2026-01-31 10:00:00", "2026-01-31T10:00:00+01:00"),
        (" 2026-01-31T10:00 ", "2026-01-31T10:00:00+01:00"),
        ("2026-01-31", "2026-01-31T00:00:00+01:00"),
        (1_769_853_600, "2026-01-31T10:00:00+00:00"),
        (1_769_853_600.0, "2026-01-31T10:00:00+00:00"),
        (Decimal("1769853600.5"), "2026-01-31T10:00:00.500000+00:00"),
        (1_769_853_600_000, "2026-01-31T10:00:00+00:00"),
        (Decimal("1769853600250"), "2026-01-31T10:00:00.250000+00:00"),
        ("1769853600", "2026-01-31T10:00:00+00:00"),
        ("1769853600000", "2026-01-31T10:00:00+00:00"),
        (" 1769853600.5 ", "2026-01-31T10:00:00.500000+00:00"),
        ("1769853600.0", "2026-01-31T10:00:00+00:00"),
        ("1769853600,5", "2026-01-31T10:00:00.500000+00:00"),
    ],
    ids=repr,
)
def test_every_form_of_a_time_is_read_in_the_zone_of_the_sync(value: object, expected: str) -> None:
    assert sent(value, BERLIN) == expected


def test_times_of_numpy_are_times() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    assert sent(numpy.datetime64("2026-01-31T10:00:00"), BERLIN) == "2026-01-31T10:00:00+01:00"
    assert sent(numpy.datetime64("2026-01-31T10:00:00", "ns"), BERLIN) == "2026-01-31T10:00:00+01:00"
    assert sent(numpy.int64(1_769_853_600)) == "2026-01-31T10:00:00+00:00"
    assert sent(numpy.float64(1_769_853_600_000)) == "2026-01-31T10:00:00+00:00"
    assert "empty" in read(numpy.datetime64("NaT", "s"))[1]


def test_times_of_pandas_are_times() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    assert sent(pandas.Timestamp("2026-01-31T10:00:00+02:00"), BERLIN) == "2026-01-31T10:00:00+02:00"
    assert sent(pandas.Timestamp("2026-01-31T10:00:00"), BERLIN) == "2026-01-31T10:00:00+01:00"
    assert "empty" in read(pandas.NaT)[1]
    assert "empty" in read(pandas.NA)[1]


@pytest.mark.parametrize(
    "value",
    [20260131, "20260131", 202601311000, 20260131100000, "20260131100000", 1_769_853_600_000_000, 0, -1, 46_053,
     "20260131.0", "20260131,0", "202601311100000,5", Decimal("20260131.0"),
     Decimal("NaN"), Decimal("sNaN"), float("nan"), float("inf"), Decimal("1E+9999999"), 10**5_000],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) or value < 10**20 else "huge",
)  # fmt: skip
def test_a_number_that_could_mean_anything_is_refused(value: object) -> None:
    assert "ambiguous" in read(value)[1]


@pytest.mark.parametrize(
    "value",
    ["yesterday", "31.01.2026", "01/31/2026", "2026-13-01", "2026-01-31T25:00", True, dt.time(10), [1], {}, object()],
    ids=lambda value: "an object" if type(value) is object else repr(value),
)  # fmt: skip
def test_what_is_no_time_is_refused(value: object) -> None:
    assert read(value)[0] is None


@pytest.mark.parametrize("value", [None, "", "  "], ids=repr)
def test_an_event_has_to_say_when_it_happened(value: object) -> None:
    assert "empty" in read(value)[1]


@pytest.mark.parametrize(
    "value", [b"2026", dt.timedelta(1), Unreadable("year 10000 is out of range")], ids=repr
)
def test_a_value_of_another_kind_keeps_its_own_reason(value: object) -> None:
    assert read(value)[1]


def test_the_bounds_are_klaviyos() -> None:
    second = dt.timedelta(seconds=1)
    first, last = dt.datetime(1990, 1, 1, tzinfo=UTC), NOW + dt.timedelta(days=365)
    assert read(first)[1] == ""
    assert "before 1990" in read(first - second)[1]
    assert "before 1990" in read(dt.date(1989, 12, 31))[1]
    assert "before 1990" in read(dt.datetime(1, 1, 1))[1]
    assert read(last)[1] == ""
    assert "future" in read(last + second)[1]
    assert "future" in read(dt.datetime(9999, 12, 31))[1]


def test_a_time_that_the_clocks_repeat_is_the_first_and_one_that_they_skip_is_sent() -> None:
    assert sent(dt.datetime(2026, 10, 25, 2, 30), BERLIN) == "2026-10-25T02:30:00+02:00"
    assert sent("2026-10-25 02:30", BERLIN) == "2026-10-25T02:30:00+02:00"
    assert sent(dt.datetime(2026, 3, 29, 2, 30), BERLIN) == "2026-03-29T02:30:00+01:00"


def test_an_offset_with_seconds_is_written_in_utc() -> None:
    odd = dt.timezone(dt.timedelta(hours=1, seconds=17))
    assert sent(dt.datetime(2026, 1, 31, 1, 0, 17, tzinfo=odd)) == "2026-01-31T00:00:00+00:00"


def test_a_zone_that_knows_no_offset_is_as_good_as_none() -> None:
    class Nowhere(dt.tzinfo):
        def utcoffset(self, _: object) -> None:
            return None

    assert sent(dt.datetime(2026, 1, 31, tzinfo=Nowhere()), BERLIN) == "2026-01-31T00:00:00+01:00"


def test_reasons_stand_at_their_places_and_hold_no_value() -> None:
    times, reasons = EventTimes(UTC, NOW).read(["2026-01-31", "tel. 5550100", None, 20260131])
    assert [time is None for time in times] == [False, True, True, True]
    assert sorted(reasons) == [1, 2, 3]
    assert "5550100" not in reasons[1]


def test_an_iso_text_is_what_klaviyo_reads_and_nothing_stays_nothing() -> None:
    assert iso(None) is None


ZONES = st.one_of(st.none(), st.timezones(), st.just(UTC))
ANYTHING: Any = st.one_of(
    st.datetimes(timezones=ZONES),
    st.dates(),
    st.times(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(),
    st.binary(),
    st.booleans(),
    st.none(),
    st.timedeltas(),
    st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9]([ T][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?(Z|[+-][0-9:]+))?"),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip


@settings(deadline=None)
@given(values=st.lists(ANYTHING, max_size=8), zone=st.timezones())
def test_whatever_comes_is_a_time_within_the_bounds_or_has_a_reason(
    values: list[object], zone: ZoneInfo
) -> None:
    times, reasons = EventTimes(zone, NOW).read(values)
    assert len(times) == len(values)
    assert {place for place, time in enumerate(times) if time is None} == set(reasons)
    for time in filter(None, times):
        text = iso(time)
        assert text is not None
        again = dt.datetime.fromisoformat(text)
        # In UTC: Python holds a time in the gap of a clock that was put forward for equal to none of another zone.
        assert again.astimezone(UTC) == time.astimezone(UTC)
        assert again.utcoffset() is not None
        assert not (again.utcoffset() or dt.timedelta()) % dt.timedelta(minutes=1)
        assert dt.datetime(1990, 1, 1, tzinfo=UTC) <= time <= NOW + dt.timedelta(days=365)


@settings(deadline=None)
@given(
    st.datetimes(
        min_value=dt.datetime(1990, 1, 2), max_value=dt.datetime(2026, 1, 1), timezones=st.timezones()
    )
)
def test_a_time_as_seconds_as_milliseconds_and_as_text_is_the_same_instant(time: dt.datetime) -> None:
    time = time.replace(microsecond=0)
    spellings = [time, time.isoformat(), int(time.timestamp()), int(time.timestamp()) * 1_000]
    read_times, reasons = EventTimes(UTC, NOW).read(spellings)
    assert not reasons
    for one, other in itertools.pairwise(read_times):
        assert one is not None
        assert other is not None
        assert one.timestamp() == other.timestamp()
