"""Addresses as members show them, in the spelling that records have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.contacts.email import check_emails
from airflow_provider_klaviyo.records.contacts.kept import as_kept

ODD = [
    None,
    "",
    "Ann@Shop.IO",
    " ann@shop.io ",
    "ann@shop.io\t",
    "ann\0@shop.io",
    "\0",
    "K@shop.io",
    "ä@shop.io",
    "ann@BÜCHER.de",
    "ann@XN--BCHER-KVA.de",
    "ann@xn--a.de",
    "ann@a--b.de",
    '"Ann B"@shop.io',
    "Ann <ann@shop.io>",
    "ann@[127.0.0.1]",
    "ann@shop.io.",
    "Postmaster@shop.io",
    "ann@test",
    "no address",
    "A@B",
    "x" * 300 + "@Shop.io",
]


def one_by_one(values: list[str | None]) -> list[str | None]:
    """What the check says, or else the value in lower case."""
    return [check_emails([value])[0][0] or (value and value.lower()) for value in values]


@pytest.mark.parametrize("value", ODD)
def test_an_address_is_kept_as_a_record_has_it(value: str | None) -> None:
    for values in ([value], [value, "Ben@Shop.io", None]):
        assert as_kept("email", values) == one_by_one(values)


@given(
    st.lists(
        st.none() | st.text(st.characters(codec="ascii")) | st.from_regex(r"[!-~]+@[!-~]+", fullmatch=True)
    )
)
def test_whatever_is_ascii_is_kept_as_a_record_has_it(values: list[str | None]) -> None:
    assert as_kept("email", values) == one_by_one(values)
