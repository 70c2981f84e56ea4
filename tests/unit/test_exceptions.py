"""What may be seen in a log, and the tree of errors."""

from __future__ import annotations

import re

import pytest

from airflow_provider_klaviyo import exceptions
from airflow_provider_klaviyo.exceptions import mask


@pytest.mark.parametrize(
    "secret",
    [
        "jane.doe@shop.io",
        "jane%40shop.io",
        '"anna b"@shop.io',
        "+14155552671",
        "+49 (0)30/901820",
        "(415) 555-0100",
        "415-555-0100",
        "0151 23456789",
        "pk_1234-56ab",
    ],
)
def test_addresses_numbers_and_keys_are_masked(secret: str) -> None:
    told = mask(f"The value {secret}, is taken.")
    assert not any(part in told for part in (secret, "jane", "anna", "901820", "0100", "3456", "56ab"))
    assert told.startswith("The value")
    assert "taken" in told


@pytest.mark.parametrize(
    "told",
    [
        "after 10,000 rows",
        "status 400 at /data/attributes/profiles/data/250",
        "2026-07-15",
        "s3://aws_default@bucket/folder/sync-state/vip/00000007.entry",
        "line 1: x = 1.5e10",
    ],
)
def test_other_words_stay(told: str) -> None:
    assert mask(told) == told


def test_the_tree_of_errors_is_complete() -> None:
    drawn = set(re.findall(r"Klaviyo\w+", (exceptions.__doc__ or "")))
    defined = {name for name in vars(exceptions) if name.startswith("Klaviyo")}
    assert defined == drawn
