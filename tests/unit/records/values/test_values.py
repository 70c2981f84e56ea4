from __future__ import annotations

import datetime as dt
import enum
import ipaddress
import json
import math
import uuid
from collections import OrderedDict, namedtuple
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.values.columns import to_json_values, to_numbers_or_strings, to_strings
from airflow_provider_klaviyo.records.values.scalars import SCALARS
from airflow_provider_klaviyo.records.values.unsendable import Unreadable

BERLIN = ZoneInfo("Europe/Berlin")
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
ENCODER = msgspec.json.Encoder(decimal_format="number")
BEYOND = 2**63


class Size(enum.Enum):
    SMALL = "small"
    COUNT = 3


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.StrEnum):
    RED = "red"


class Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not the name"


Address = namedtuple("Address", ["street", "number"])


class Point:
    def __repr__(self) -> str:
        return "Point(secret@example.com)"


def local(*parts: int) -> dt.datetime:
    """A timestamp without a zone."""
    return dt.datetime(*parts)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def as_json(value: object, timezone: dt.tzinfo = dt.UTC) -> object:
    """The value that Klaviyo would read."""
    converted, reasons = to_json_values([value], timezone=timezone)
    assert not reasons
    return json.loads(ENCODER.encode(converted[0]))


def refusal(convert: Any, value: object) -> str:
    converted, reasons = convert([None, value], timezone=dt.UTC)
    assert converted == [None, None]
    assert list(reasons) == [1]
    return str(reasons[1])


UNCHANGED = {
    "text": "Zoë 🙂",
    "empty text": "",
    "a zero character": "a\x00b",
    "true": True,
    "false": False,
    "zero": 0,
    "largest integer": 2**63 - 1,
    "smallest integer": -(2**63),
    "float": -0.25,
    "large float": 1.5e300,
    "null": None,
    "list": ["a", 1, None, [True]],
    "object": {"a": {"b": [1]}, "c": None},
    "empty list": [],
    "empty object": {},
    "ten levels": nested(10),
}


@pytest.mark.parametrize("value", UNCHANGED.values(), ids=UNCHANGED)
def test_a_value_of_json_stays_as_it_is(value: object) -> None:
    assert as_json(value) == value


WRITTEN = {
    "aware timestamp": (
        dt.datetime(2024, 5, 1, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30))),
        "2024-05-01T12:30:00-03:30",
    ),
    "timestamp in UTC": (dt.datetime(2024, 5, 1, 12, 30, tzinfo=dt.UTC), "2024-05-01T12:30:00+00:00"),
    "timestamp in a zone": (dt.datetime(2024, 5, 1, 12, 30, tzinfo=BERLIN), "2024-05-01T12:30:00+02:00"),
    "microseconds": (
        dt.datetime(2024, 5, 1, 0, 0, 0, 120000, tzinfo=dt.UTC),
        "2024-05-01T00:00:00.120000+00:00",
    ),
    "local mean time": (dt.datetime(1850, 1, 1, tzinfo=AMSTERDAM), "1849-12-31T23:40:28+00:00"),
    "offset with seconds": (
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=30))),
        "2023-12-31T23:59:30+00:00",
    ),
    "year 44": (dt.datetime(44, 3, 15, tzinfo=dt.UTC), "0044-03-15T00:00:00+00:00"),
    "last timestamp": (dt.datetime.max.replace(tzinfo=dt.UTC), "9999-12-31T23:59:59.999999+00:00"),
    "date": (dt.date(2024, 5, 1), "2024-05-01"),
    "first date": (dt.date.min, "0001-01-01"),
    "time": (dt.time(12, 30), "12:30:00"),
    "uuid": (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    "address": (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
    "address with mask": (ipaddress.ip_interface("10.0.0.1/8"), "10.0.0.1/8"),
    "IPv6 network": (ipaddress.ip_network("fe80::/64"), "fe80::/64"),
    "tuple": ((1, "a"), [1, "a"]),
    "row type": (Address("Main St", 5), ["Main St", 5]),
    "set": ({"b", "a", "c"}, ["a", "b", "c"]),
    "set of many types": (frozenset({1, "b", None, "a"}), [None, 1, "a", "b"]),
    "integer keys": ({1: "a"}, {"1": "a"}),
    "other mapping": (OrderedDict(a=Decimal("1.5")), {"a": 1.5}),
    "array of timestamps": ([local(2024, 5, 1), None], ["2024-05-01T00:00:00+00:00", None]),
    "enum": (Size.SMALL, "small"),
    "number of an enum": ([Size.COUNT, Level.LOW, Colour.RED], [3, 1, "red"]),
    "kind of text": ({Name("k"): Name("v")}, {"k": "v"}),
}


@pytest.mark.parametrize(("value", "expected"), WRITTEN.values(), ids=WRITTEN)
def test_a_value_of_sql_is_written_as_klaviyo_reads_it(value: object, expected: object) -> None:
    assert as_json(value) == expected


NAIVE = {
    "summer": (local(2024, 7, 1, 12), "2024-07-01T12:00:00+02:00"),
    "winter": (local(2024, 1, 1, 12), "2024-01-01T12:00:00+01:00"),
    "skipped in spring": (local(2024, 3, 31, 2, 30), "2024-03-31T02:30:00+01:00"),
    "repeated in autumn": (local(2024, 10, 27, 2, 30), "2024-10-27T02:30:00+02:00"),
    "local mean time": (local(1850, 1, 1), "1849-12-31T23:06:32+00:00"),
}


@pytest.mark.parametrize(("value", "expected"), NAIVE.values(), ids=NAIVE)
def test_a_timestamp_without_zone_is_taken_in_the_given_one(value: dt.datetime, expected: str) -> None:
    assert as_json(value, BERLIN) == expected


@pytest.mark.parametrize(
    "text", ["0", "-0", "1.50", "123", "0.1", "12345678901234567.25", "9223372036854775807", "1E-7", "1E+300"]
)
def test_a_decimal_is_encoded_digit_by_digit(text: str) -> None:
    (value,), reasons = to_json_values([Decimal(text)], timezone=dt.UTC)
    assert not reasons
    assert ENCODER.encode(value) == text.encode()


REFUSED = {
    "NaN": (math.nan, "NaN and Infinity"),
    "Infinity": (-math.inf, "NaN and Infinity"),
    "decimal NaN": (Decimal("NaN"), "NaN and Infinity"),
    "signalling NaN": (Decimal("sNaN"), "NaN and Infinity"),
    "decimal Infinity": (Decimal("-Infinity"), "NaN and Infinity"),
    "too large a decimal": (Decimal("1E+400"), "cast it to text"),
    "too small a decimal": (Decimal("1E-400"), "cast it to text"),
    "integer beyond 64 bits": (BEYOND, "64 bits"),
    "negative beyond 64 bits": (-BEYOND - 1, "64 bits"),
    "whole decimal beyond 64 bits": (Decimal(BEYOND), "64 bits"),
    "bytes": (b"secret", "encode it as text"),
    "bytearray": (bytearray(b"secret"), "encode it as text"),
    "memoryview": (memoryview(b"secret"), "encode it as text"),
    "interval": (dt.timedelta(days=1), "seconds or to text"),
    "half a character": ("secret\ud800", "surrogate"),
    "half a character in a key": ({"secret\ud800": 1}, "surrogate"),
    "eleven levels": (nested(11), "10 levels"),
    "NaN in a list": ([1.0, [math.nan]], "NaN and Infinity"),
    "bytes in an object": ({"a": b"secret"}, "encode it as text"),
    "key that is no text": ({1.5: 1}, "keys are not text"),
    "true as a key": ({True: 1}, "keys are not text"),
    "one key twice": ({1: "a", "1": "b"}, "key twice"),
    "unknown type": (Point(), "type Point"),
    "complex number": (1j, "type complex"),
    "unreadable": (Unreadable("the driver cannot read it"), "the driver cannot read it"),
    "timestamp before year 1 in UTC": (
        dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, seconds=1))),
        "years 1 to 9999",
    ),
}


@pytest.mark.parametrize(("value", "words"), REFUSED.values(), ids=REFUSED)
def test_what_json_cannot_hold_has_a_reason_that_does_not_show_it(value: object, words: str) -> None:
    reason = refusal(to_json_values, value)
    assert words in reason
    assert "secret" not in reason


def test_one_bad_value_leaves_the_rest_of_its_column_alone() -> None:
    values = [1.5, math.nan, None, 0.0, math.inf]
    converted, reasons = to_json_values(values, timezone=dt.UTC)
    assert converted == [1.5, None, None, 0.0, None]
    assert list(reasons) == [1, 4]


def test_a_sum_that_overflows_refuses_nothing() -> None:
    assert to_json_values([1e308, 1e308, -1e308], timezone=dt.UTC) == ([1e308, 1e308, -1e308], {})


def test_a_column_may_hold_many_types() -> None:
    values = (1, "a", None, 1.5, dt.date(2024, 5, 1), b"x", [1])
    converted, reasons = to_json_values(values, timezone=dt.UTC)
    assert converted == [1, "a", None, 1.5, "2024-05-01", None, [1]]
    assert list(reasons) == [5]


def test_timestamps_with_and_without_zone_may_share_a_column() -> None:
    values = [local(2024, 5, 1), None, dt.datetime(2024, 5, 1, tzinfo=dt.UTC)]
    converted, _ = to_json_values(values, timezone=BERLIN)
    assert converted == ["2024-05-01T00:00:00+02:00", None, "2024-05-01T00:00:00+00:00"]


@pytest.mark.parametrize("convert", [to_json_values, to_strings, to_numbers_or_strings])
def test_a_column_of_nulls_or_nothing_stays_so(convert: Any) -> None:
    assert convert([None, None], timezone=dt.UTC) == ([None, None], {})
    assert convert((), timezone=dt.UTC) == ([], {})


# --- text fields ---

TEXTS = {
    "text": ("  as it is ", "  as it is "),
    "empty": ("", ""),
    "integer": (12345678901234567890, "12345678901234567890"),
    "leading zeros": ("00123", "00123"),
    "numeric without places": (Decimal("12345678901234567890"), "12345678901234567890"),
    "numeric, whole": (Decimal("123.00"), "123"),
    "numeric with an exponent": (Decimal("1.2E+3"), "1200"),
    "numeric zero": (Decimal("-0.00"), "0"),
    "numeric with places": (Decimal("12.50"), "12.50"),
    "small numeric": (Decimal("1E-7"), "0.0000001"),
    "double, whole": (12345.0, "12345"),
    "negative zero": (-0.0, "0"),
    "double with places": (12.5, "12.5"),
    "small double": (1e-7, "0.0000001"),
    "largest exact double": (float(2**53 - 1), "9007199254740991"),
    "date": (dt.date(2024, 5, 1), "2024-05-01"),
    "timestamp": (local(2024, 5, 1, 1), "2024-05-01T01:00:00+00:00"),
    "uuid": (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    "address": (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
    "enum": (Size.SMALL, "small"),
    "enum of numbers": (Level.LOW, "1"),
}


@pytest.mark.parametrize(("value", "expected"), TEXTS.values(), ids=TEXTS)
def test_a_text_field_takes_what_has_one_plain_spelling(value: object, expected: str) -> None:
    assert to_strings([value, None], timezone=dt.UTC) == ([expected, None], {})


NO_TEXTS = {
    "true": (True, "cast the column to text"),
    "list": (["a"], "cast the column to text"),
    "object": ({"a": 1}, "cast the column to text"),
    "set": ({"a"}, "cast the column to text"),
    "bytes": (b"a", "encode it as text"),
    "interval": (dt.timedelta(1), "to text"),
    "NaN": (math.nan, "NaN"),
    "decimal Infinity": (Decimal("Infinity"), "NaN"),
    "inexact double": (float(2**53), "lost digits"),
    "absurd decimal": (Decimal("1E+100000"), "large"),
    "absurd integer": (10**5000, "thousands of digits"),
    "half a character": ("\ud800", "surrogate"),
}


@pytest.mark.parametrize(("value", "words"), NO_TEXTS.values(), ids=NO_TEXTS)
def test_a_text_field_refuses_the_rest(value: object, words: str) -> None:
    assert words in refusal(to_strings, value)


ONE_OF_EACH_TYPE: tuple[object, ...] = (
    *("a", True, 1, 1.5, Decimal("1.5")),
    *(local(2026, 1, 2), dt.date(2026, 1, 2), dt.time(1), uuid.UUID(int=1)),
)


def test_no_type_enters_a_text_field_as_anything_but_text() -> None:
    """A type that is new in the table must be here, too."""
    assert set(map(type, ONE_OF_EACH_TYPE)) == SCALARS.keys()
    for value in ONE_OF_EACH_TYPE:
        (sent,), reasons = to_strings([value], timezone=dt.UTC)
        assert isinstance(sent, str) or list(reasons) == [0]


@pytest.mark.parametrize("value", ["52.5", "", 52, -0.125, Decimal("13.4050")])
def test_a_coordinate_is_a_number_or_text(value: object) -> None:
    assert to_numbers_or_strings([value, None], timezone=dt.UTC) == ([value, None], {})


@pytest.mark.parametrize("value", [True, dt.date(2024, 5, 1), [1.5], {"lat": 1}, uuid.UUID(int=1)], ids=str)
def test_a_coordinate_is_nothing_else(value: object) -> None:
    assert "only a number or text" in refusal(to_numbers_or_strings, value)


def test_a_coordinate_is_finite() -> None:
    assert "NaN" in refusal(to_numbers_or_strings, math.nan)


# --- NumPy and pandas ---


def test_numpy_scalars_and_arrays_become_their_plain_values() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    values = {
        "int": (numpy.int64(5), 5),
        "float": (numpy.float64(1.5), 1.5),
        "single": (numpy.float32(0.5), 0.5),
        "bool": (numpy.bool_(True), True),
        "text": (numpy.str_("a"), "a"),
        "nanoseconds": (
            numpy.datetime64("2024-05-01T01:02:03.000004005"),
            "2024-05-01T01:02:03.000004+00:00",
        ),
        "day": (numpy.datetime64("2024-05-01"), "2024-05-01T00:00:00+00:00"),
        "no time": (numpy.datetime64("NaT", "us"), None),
        "array": (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        "single element": (numpy.array(7), 7),
    }
    for value, expected in values.values():
        assert as_json(value) == expected


def test_numpy_values_without_json_are_refused() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    for value in (numpy.float64("nan"), numpy.timedelta64(1, "D"), numpy.longdouble(1), numpy.bytes_(b"a")):
        assert refusal(to_json_values, value)


def test_pandas_values_become_their_plain_values() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    assert as_json(pandas.NaT) is None
    assert as_json(pandas.NA) is None
    assert as_json(pandas.Timestamp("2024-05-01 01:02:03.000004005")) == "2024-05-01T01:02:03.000004+00:00"
    assert as_json(pandas.Timestamp("2024-05-01", tz="Europe/Berlin")) == "2024-05-01T00:00:00+02:00"
    assert "interval" in refusal(to_json_values, pandas.Timedelta(1))
    assert "type Interval" in refusal(to_json_values, pandas.Interval(1, 2))


# --- any value ---

zones = st.sampled_from(
    [None, dt.UTC, BERLIN, AMSTERDAM, ZoneInfo("America/St_Johns"), ZoneInfo("Asia/Kathmandu")]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(st.characters(exclude_categories=[])),
    st.dates(),
    st.times(),
    st.datetimes(timezones=zones),
    st.timedeltas(),
    st.uuids(),
    st.ip_addresses(),
    st.binary(max_size=5),
    st.sampled_from(
        [Size.SMALL, Level.LOW, Colour.RED, Name("n"), Address("a", 1), Point(), 1j, Unreadable("-")]
    ),
)
keys = st.one_of(st.text(st.characters(exclude_categories=[])), st.integers(), st.booleans(), st.none())
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
    ),
    max_leaves=12,
)
uniform = st.sampled_from(
    [
        st.text(st.characters(exclude_categories=[])),
        st.integers(-(2**64), 2**64),
        st.floats(),
        st.decimals(),
        st.datetimes(timezones=zones),
        st.dates(),
        st.uuids(),
    ]
).flatmap(lambda one: st.lists(st.one_of(st.none(), one), max_size=8))
columns = st.one_of(st.lists(anything, max_size=8), uniform)
target_zones = st.sampled_from([dt.UTC, BERLIN, AMSTERDAM])


@pytest.mark.parametrize("convert", [to_json_values, to_strings, to_numbers_or_strings])
@given(values=columns, timezone=target_zones)
def test_every_value_is_encoded_or_has_a_reason(
    convert: Any, values: list[object], timezone: dt.tzinfo
) -> None:
    converted, reasons = convert(values, timezone=timezone)
    read = json.loads(ENCODER.encode(converted), parse_constant=pytest.fail)
    assert len(read) == len(values)
    for index, value in enumerate(read):
        assert (value is None) == (index in reasons or values[index] is None)


@given(values=uniform, timezone=target_zones)
def test_a_value_reads_the_same_alone_and_in_its_column(values: list[object], timezone: dt.tzinfo) -> None:
    """Columns of one type take other ways than mixed ones; what is sent must not depend on the neighbours."""
    together, reasons = to_json_values(values, timezone=timezone)
    mixed, mixed_reasons = to_json_values([*values, b""], timezone=timezone)
    assert ENCODER.encode(together) == ENCODER.encode(mixed[:-1])
    assert {**reasons, len(values): mixed_reasons[len(values)]} == mixed_reasons


@given(st.datetimes(timezones=st.sampled_from([dt.UTC, BERLIN, AMSTERDAM])))
def test_a_timestamp_names_its_instant(moment: dt.datetime) -> None:
    (text,), reasons = to_json_values([moment], timezone=dt.UTC)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert reasons or dt.datetime.fromisoformat(str(text)) - epoch == moment - epoch


@given(st.one_of(st.decimals(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False)))
def test_a_number_as_text_has_no_exponent_and_keeps_its_value(number: Decimal | float) -> None:
    (text,), reasons = to_strings([number], timezone=dt.UTC)
    assert reasons or ("e" not in str(text).lower() and Decimal(str(text)) == Decimal(str(number)))
