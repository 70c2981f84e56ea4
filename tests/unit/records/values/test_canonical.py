"""The same meaning has one spelling however it is written, and another meaning has another: against a plain model."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.values.canonical import canonical
from airflow_provider_klaviyo.records.values.columns import to_json_values

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [dt.UTC, BERLIN, ZoneInfo("America/St_Johns"), dt.timezone(dt.timedelta(hours=14))]
INSTANTS = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2090, 1, 1)).map(
    lambda at: at.replace(tzinfo=dt.UTC)
)

encode = msgspec.json.Encoder(decimal_format="number").encode


def meaning(value: object) -> bytes:
    """The one spelling of a value, as a custom property is read and sent."""
    sent, reasons = to_json_values([value], timezone=BERLIN)
    assert not reasons, reasons
    return encode(canonical(sent, [value], BERLIN)[0])


# --- a plain model ---------------------------------------------------------------------------------------------------


def model(value: Any) -> object:
    """What a value means: numbers are fractions, timestamps seconds, objects and sets have no order."""
    if isinstance(value, bool) or value is None:
        return value.__class__.__name__, value
    if isinstance(value, (int, float, Decimal)):
        return "number", Fraction(Decimal(repr(value)) if isinstance(value, float) else value)
    if isinstance(value, dt.datetime):
        return "instant", value.astimezone(dt.UTC).replace(tzinfo=None)
    if isinstance(value, (set, frozenset)):
        return "list", tuple(sorted(map(model, value), key=repr))
    if isinstance(value, (list, tuple)):
        return "list", tuple(map(model, value))
    if isinstance(value, dict):
        return "object", frozenset((str(name), model(part)) for name, part in value.items())
    return "text", str(value)


NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals("-1000", "1000", places=3),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40).filter(
        lambda number: (
            abs(number.adjusted()) < 300 and (abs(number) < 2**62 or number.as_tuple().exponent != 0)
        )
    ),
    st.sampled_from(
        [0, -0.0, Decimal("-0.0"), Decimal("1E+2"), 100.0, 1e23, Decimal("1E+23"), 1e-7, Decimal("1E-7")]
    ),
)
WORDS = st.one_of(
    st.text(max_size=3), st.sampled_from(["5", "5.00", "true", "null", "", "2026-01-01T00:00:00Z"])
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, INSTANTS, st.dates())
NAMES = st.text("abc", max_size=2)
PARTS = st.recursive(
    SCALARS,
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(NAMES, part, max_size=3)),
    max_leaves=6,
)
VALUES = PARTS.filter(lambda value: value is not None)


def written_otherwise(value: Any, pick: Callable[[list[Any]], Any]) -> Any:
    """The same value as another driver, session or column type hands it out."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float, Decimal)):
        return pick(_numbers_like(value))
    if isinstance(value, dt.datetime):
        return value.astimezone(pick(ZONES))
    if isinstance(value, (list, tuple)):
        return pick([list, tuple])(written_otherwise(part, pick) for part in value)
    if isinstance(value, dict):
        names = sorted(value, reverse=pick([True, False]))
        return {name: written_otherwise(value[name], pick) for name in names}
    return value


def _numbers_like(value: Any) -> list[Any]:
    digits = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    same: list[Any] = [value]
    if -300 < digits.adjusted() < 300:
        same.append(digits.scaleb(0) if abs(digits) >= 2**62 else digits + Decimal("0.00000000"))
    if digits == digits.to_integral_value() and abs(digits) < 2**63:
        same.append(int(digits))
    if Decimal(repr(float(digits))) == digits:
        same.append(float(digits))
    return [each for each in same if model(each) == model(value)]


@settings(max_examples=200)
@given(value=VALUES, data=st.data())
def test_the_same_meaning_written_otherwise_is_the_same(value: Any, data: st.DataObject) -> None:
    otherwise = written_otherwise(value, lambda choices: data.draw(st.sampled_from(choices)))
    assert model(otherwise) == model(value)
    assert meaning(otherwise) == meaning(value)


@settings(max_examples=200)
@given(one=VALUES, other=VALUES)
def test_another_meaning_is_another(one: Any, other: Any) -> None:
    assert (meaning(one) == meaning(other)) == (model(one) == model(other))


@given(value=VALUES)
def test_the_one_spelling_is_the_same_json_but_for_order_zones_and_zeros(value: Any) -> None:
    sent, _ = to_json_values([value], timezone=BERLIN)
    read = msgspec.json.Decoder(float_hook=Decimal).decode
    assert _read_as_instants(read(meaning(value))) == _read_as_instants(read(encode(sent[0])))


def _read_as_instants(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _read_as_instants(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_read_as_instants(part) for part in value]
    try:
        return dt.datetime.fromisoformat(value).astimezone(dt.UTC)
    except (TypeError, ValueError, OverflowError):
        return value


# --- in words --------------------------------------------------------------------------------------------------------

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "alike",
    [
        (5, 5.0, Decimal(5), Decimal("5.00"), Decimal("5E+0")),
        (100, Decimal("1E+2"), Decimal("100.0"), 1e2),
        (0, 0.0, -0.0, Decimal("-0.00"), Decimal("0E-10"), Decimal("0E+5")),
        (0.1, Decimal("0.1"), Decimal("0.10")),
        (1e-7, Decimal("1E-7"), Decimal("0.00000010")),
        (1e23, Decimal("1E+23"), Decimal("1.0E+23")),
        (2**53, float(2**53), Decimal(2**53)),
        (12_300, 12_300.0, Decimal("1.23E+4")),
        (NOON, NOON.astimezone(BERLIN), dt.datetime(2026, 7, 1, 14)),
        ({"a": 1, "b": [2.0, {"d": 3, "c": 4}]}, {"b": (2, {"c": Decimal("4.0"), "d": 3}), "a": 1.0}),
        ([NOON, {"at": NOON}], [NOON.astimezone(BERLIN), {"at": NOON.astimezone(ZONES[2])}]),
        ({Decimal("1.5"), 2, "x"}, {2.0, "x", 1.5}),
        (MappingProxyType({"a": 5}), {"a": Decimal("5.0")}),
        (dt.date(2026, 7, 1), "2026-07-01"),
    ],
)
def test_these_are_one(alike: tuple[object, ...]) -> None:
    assert len(set(map(meaning, alike))) == 1


def test_these_are_all_different() -> None:
    values = [
        *(5, "5", "5.00", "5.0", 5.000001, -5, 50, True, 1, "True", False, 0, "", "0"),
        *(0.1, Decimal("0.1000000000000000055511151231257827"), 2**53 + 1, 9007199254740993.5),
        *([], {}, [None], [5], ["5"], [[5]], {"a": 5}, {"a": "5"}, {"a": None}, {"A": 5}, [1, 2], [2, 1]),
        *(NOON, NOON.isoformat() + "Z", "2026-07-01T14:00:00+02:00", dt.date(2026, 7, 1), dt.time(12)),
        NOON + dt.timedelta(microseconds=1),
    ]
    assert len(set(map(meaning, values))) == len(values)


def test_what_is_left_out_stays_left_out() -> None:
    column = [NOON.astimezone(BERLIN), None, NOON]
    assert canonical([None, None, "2026-07-01T12:00:00+00:00"], column, BERLIN) == [
        None,
        None,
        column[2].isoformat(),
    ]  # type: ignore[union-attr]


@pytest.mark.parametrize(("edge", "hours"), [("0001-01-01", 14), ("9999-12-31T23:59", -11)])
def test_the_ends_of_the_calendar_are_no_error(edge: str, hours: int) -> None:
    assert meaning(dt.datetime.fromisoformat(edge).replace(tzinfo=dt.timezone(dt.timedelta(hours=hours))))
