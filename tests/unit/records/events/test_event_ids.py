"""Ids of events. The values here are for ever: a change would count every event that is sent again a second time."""

from __future__ import annotations

import datetime as dt
import ipaddress
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.events.ids import DerivedIds
from airflow_provider_klaviyo.records.values.key_text import key_text, keyless_in, value_text
from airflow_provider_klaviyo.records.values.unsendable import Unsendable

ORDERS = DerivedIds(["order_id"])

GOLDEN: list[tuple[str, list[str], list[object], str]] = [
    ("Placed Order", ["order_id"], [7], "k1-57187e0e5031647a247f50ca82d661f0cf03eb0c"),
    ("Placed Order", ["order_id"], ["A-7"], "k1-57a4c84b4825218c38374bbb9cb58ac2933e515e"),
    ("Bestellung über 5 €", ["order_id"], [7], "k1-f608922e0c78ef65b7eec9503bde75e29e41fecc"),
    ("Placed Order", ["shop", "order_id"], ["DE", 7], "k1-438190c493f2762777928d104b1b893071f0a9b4"),
    (
        "Placed Order",
        ["at"],
        [dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)],
        "k1-497cc94639d631d2be28e6f96ff52c4e8df15a19",
    ),
    ("Placed Order", ["at"], [dt.datetime(2026, 7, 1, 12)], "k1-7c5f4c28db634805cfd2da9107b1674a4e890286"),
    ("Placed Order", ["on"], [dt.date(2026, 7, 1)], "k1-d5b3efe0bd787da83e2b59777c8009713e596989"),
    ("Placed Order", ["token"], [UUID(int=1)], "k1-3c9c7ecabb9f804a8619e442b906c2c12fdfbb07"),
    ("Placed Order", ["digest"], [b"\x00\xff"], "k1-4e055b2883c142461f15e2f47ac726d3cb4e6e68"),
    ("Placed Order", ["amount"], [Decimal("12.50")], "k1-14d8feeb01fced5383f267c4d092cd1ab3cb95d7"),
]


@pytest.mark.parametrize(
    ("metric", "names", "key", "expected"), GOLDEN, ids=[str(each[2]) for each in GOLDEN]
)
def test_an_id_never_changes(metric: str, names: list[str], key: list[object], expected: str) -> None:
    assert DerivedIds(names).of(metric, key) == expected


@pytest.mark.parametrize(
    "spelling",
    [7, 7.0, "7", Decimal(7), Decimal("7.00")],
    ids=lambda value: f"{type(value).__name__} {value}",
)
def test_a_number_is_the_same_key_whatever_the_driver_makes_of_it(spelling: object) -> None:
    assert ORDERS.of("Placed Order", [spelling]) == ORDERS.of("Placed Order", [7])


def test_a_moment_is_the_same_key_in_any_zone() -> None:
    utc = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
    berlin = utc.astimezone(dt.timezone(dt.timedelta(hours=2)))
    assert ORDERS.of("m", [utc]) == ORDERS.of("m", [berlin])


def test_the_case_and_the_order_of_the_columns_do_not_matter() -> None:
    expected = DerivedIds(["shop", "order_id"]).of("m", ["DE", 7])
    assert DerivedIds(["ORDER_ID", "SHOP"]).of("m", [7, "DE"]) == expected
    assert DerivedIds(["order_id", "shop"]).of("m", ["DE", 7]) != expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((["a", "b"], ["x", "yz"]), (["a", "b"], ["xy", "z"])),
        ((["a", "b"], ["1:x", ""]), (["a", "b"], ["", "1:x"])),
        ((["ab"], ["x"]), (["a"], ["x"])),
        ((["a"], ["DE"]), (["a"], ["de"])),
        ((["a"], [1]), (["a"], [2])),
    ],
)
def test_another_key_is_another_event(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    assert DerivedIds(one[0]).of("m", one[1]) != DerivedIds(other[0]).of("m", other[1])


def test_another_metric_is_another_event() -> None:
    assert ORDERS.of("Placed Order", [7]) != ORDERS.of("Cancelled Order", [7])


def test_keys_of_more_digits_than_python_calculates_with_stay_apart() -> None:
    """NUMBER(38) is what some warehouses make of every id."""
    digits = "12345678901234567890123456789012345678"
    one, other = Decimal(digits), Decimal(digits) + 1
    assert value_text(one) == value_text(int(one)) == digits
    assert ORDERS.of("m", [Decimal(digits)]) != ORDERS.of("m", [Decimal(digits[:-1] + "9")])
    assert value_text(other) != value_text(one) or one == other


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("-0.00"), "0"),
        (Decimal("1E+5"), "100000"),
        (Decimal("0.10"), "0.1"),
        (Decimal("100"), "100"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=2))), "0001-01-01T00:00:00+02:00"),
        (memoryview(b"\xff"), "ff"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, memoryview) else repr(value),
)
def test_the_text_of_a_value(value: object, text: str) -> None:
    assert value_text(value) == text


class Size(Enum):
    SMALL = 1


class Colour(str, Enum):  # noqa: UP042 - the older form has another text
    RED = "red"


class Pair(NamedTuple):
    shop: str
    number: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "True"),
        (dt.time(1, 2), "01:02:00"),
        (dt.timedelta(1, 2), "1 day, 0:00:02"),
        (ipaddress.ip_address("::1"), "::1"),
        (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
        (ipaddress.ip_interface("10.0.0.1/8"), "10.0.0.1/8"),
        (Size.SMALL, "Size.SMALL"),
        (Colour.RED, "Colour.RED"),
        (["a", 1, None, dt.date(2026, 1, 2)], "['a', 1, None, datetime.date(2026, 1, 2)]"),
        (("a", 1), "('a', 1)"),
        (Pair("a", 1), "Pair(shop='a', number=1)"),
        ({"a": [1, 2.5]}, "{'a': [1, 2.5]}"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_type_that_few_keys_have_keeps_its_text_too(value: object, text: str) -> None:
    assert value_text(value) == text
    assert keyless_in(["a key", value, None]) == {}


@pytest.mark.parametrize(
    ("library", "name", "given", "text"),
    [
        ("psycopg.types.range", "Range", (1, 5), "[1, 5)"),
        ("psycopg2.extras", "NumericRange", (1, 5), "[1, 5)"),
        ("numpy", "int64", (7,), "7"),
        ("numpy", "bool_", (True,), "True"),
        ("numpy", "datetime64", ("2026-01-02",), "2026-01-02"),
        ("pandas", "Timestamp", ("2026-01-02 03:04:05.123456789",), "2026-01-02 03:04:05.123456789"),
    ],
)
def test_so_does_a_type_of_a_library(library: str, name: str, given: tuple[object, ...], text: str) -> None:
    value = getattr(pytest.importorskip(library), name)(*given)
    assert value_text(value) == text
    assert keyless_in([value]) == {}


class Lob:
    """As a driver gives large objects: the text of one is its place in memory."""


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Lob(), "Lob"),
        ({"a", "b"}, "set"),
        (["a", Lob()], "Lob"),
        ({"a": [memoryview(b"")]}, "memoryview"),
    ],
    ids=["object", "set", "inside a list", "inside an object"],
)
def test_what_has_another_text_in_each_run_is_no_key(value: object, kind: str) -> None:
    """It would make another id of an event each time that it is sent."""
    reasons = keyless_in(["a key", None, value])
    assert list(reasons) == [2]
    assert f"of type {kind}," in reasons[2]
    assert "cast the column to text" in reasons[2]
    with pytest.raises(Unsendable, match=f"of type {kind},"):
        value_text(value)


def test_an_array_of_numpy_is_no_key() -> None:
    """Its text leaves out all but the ends of a long one."""
    assert list(keyless_in([pytest.importorskip("numpy").arange(2_000)])) == [0]


@settings(deadline=None)
@given(st.integers())
def test_any_integer_is_one_key_as_integer_decimal_and_text(number: int) -> None:
    assert value_text(number) == value_text(Decimal(number)) == value_text(f"{number}")


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 5))
def test_zeros_behind_the_point_do_not_matter(number: Decimal, zeros: int) -> None:
    text = format(number, "f")
    padded = f"{text}{'' if '.' in text else '.'}{'0' * zeros}"
    assert value_text(Decimal(padded)) == value_text(number)
    assert Decimal(value_text(number)) == number


PART = st.one_of(st.text(max_size=4), st.integers(-9, 9).map(str))


@settings(deadline=None)
@given(st.lists(PART, min_size=1, max_size=3), st.lists(PART, min_size=1, max_size=3))
def test_only_the_same_parts_are_the_same_key(one: list[str], other: list[str]) -> None:
    if len(one) == len(other):
        assert (key_text(one) == key_text(other)) == (one == other)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_an_id_fits_what_klaviyo_takes(metric: str, key: str) -> None:
    made = ORDERS.of(metric, [key])
    assert len(made) == 43
    assert made.startswith("k1-")
    assert made == DerivedIds(["Order_ID"]).of(metric, [key])
