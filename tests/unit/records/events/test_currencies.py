"""The currency codes, held against two lists of other people."""

from __future__ import annotations

from datetime import UTC

from babel.numbers import list_currencies

from airflow_provider_klaviyo.emulator.requests import currencies as emulated
from airflow_provider_klaviyo.records.events.currencies import CURRENCIES
from airflow_provider_klaviyo.records.events.fields import read_currencies

NOT_OF_ISO = "ARL ARM BAN BGM BGO BOL BRZ CLE CNH KRH KRO MCF MDC MKN MVP VNN YUR"
"""What Unicode's CLDR names besides: of its own making, from before ISO 4217, or a market's word."""


def test_the_codes_are_those_of_unicodes_table_but_for_the_ones_that_iso_never_had() -> None:
    assert list_currencies() - CURRENCIES <= set(NOT_OF_ISO.split())


def test_whatever_the_emulator_takes_is_known() -> None:
    assert emulated.CURRENCIES <= CURRENCIES


def test_withdrawn_codes_are_sent_in_any_letter_case_and_what_is_no_code_is_left_out() -> None:
    values, reasons = read_currencies(["dem", " HRK ", "EUR", "XXQ", "euros", "€", "", None, 978], UTC)
    assert values == ["DEM", "HRK", "EUR", None, None, None, None, None, None]
    assert set(reasons) == {3, 4, 5, 8}
    assert all("ISO 4217" in reason for reason in reasons.values())
