"""Hashes that must never change: a release that changes one sends everything again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.state.keys import (
    asked_hashes,
    fingerprints,
    key_hashes,
    person_hash,
    person_hashes,
)

GOLDEN = [
    ((1,), 8518482412311870710),
    (("a",), 3405396810240292928),
    (("a", "bc"), 8705096115316317640),
    ((datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),), 2273079115226445466),
    ((UUID("00000000-0000-0000-0000-000000000005"),), 4562198660368481089),
    ((b"\x00\xff",), 7922098834054209858),
]


@pytest.mark.parametrize(("key", "digest"), GOLDEN)
def test_pinned_for_ever(key: tuple[object, ...], digest: int) -> None:
    assert key_hashes([key]) == [digest]


def test_people_and_fingerprints_are_pinned_too() -> None:
    assert person_hash(Identity("email", "jane@shop.io")) == -968931634117375985
    assert person_hashes(["email\0jane@shop.io"]) == [-968931634117375985]
    assert asked_hashes([("email", "jane@shop.io")]) == [-128655537798688589]
    assert fingerprints([b'{"type":"profile"}']) == [7366526884393656808]


@pytest.mark.parametrize(
    "alike",
    [
        (7, "7", Decimal(7), Decimal("7.00"), 7.0),
        (UUID(int=5), str(UUID(int=5))),
        (b"\x01", bytearray(b"\x01"), memoryview(b"\x01")),
        (
            datetime(2026, 1, 1, 12, tzinfo=UTC),
            datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        ),
        (date(2026, 1, 1), "2026-01-01"),
    ],
    ids=["number", "uuid", "bytes", "instant", "date"],
)
def test_a_key_is_the_same_from_any_driver(alike: tuple[object, ...]) -> None:
    assert len(set(key_hashes([(key,) for key in alike]))) == 1


def test_columns_do_not_run_into_each_other() -> None:
    assert len(set(key_hashes([("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc")]))) == 4
    assert key_hashes([("A",)]) != key_hashes([("a",)])


def test_a_null_in_any_part_is_no_key() -> None:
    assert key_hashes([(None,), (1, None), (None, 1)]) == [None, None, None]


@given(keys=st.sets(st.tuples(st.text(), st.text()), max_size=30))
def test_different_keys_differ(keys: set[tuple[str, str]]) -> None:
    assert len(set(key_hashes(sorted(keys)))) == len(keys)
