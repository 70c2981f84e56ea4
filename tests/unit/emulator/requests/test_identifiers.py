"""Cheap rules for addresses and numbers, held against the libraries that know better."""

from __future__ import annotations

import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_klaviyo.emulator.requests.identifiers import is_email, is_phone_number


@pytest.mark.parametrize(
    "address",
    [
        "a@b.co",
        "A.B+c@sub.example.com",
        "o'neil@example.com",
        "x_y-z@ex-ample.com",
        "1@2.com",
        "a@xn--bcher-kva.com",
    ],
)
def test_ordinary_addresses_are_fine(address: str) -> None:
    assert is_email(address)


@pytest.mark.parametrize(
    "address",
    [
        "", "a", "a@", "@b.com", "a@b", "a@b.c", "a@@b.com", "a b@c.com", "a@b..com",
        ".a@b.com", "a.@b.com", "a..b@c.com",
        "a@-b.com", "a@b-.com", "a@b.com ", "a@b.com\n", "a@[127.0.0.1]", '"a b"@c.com', "ä@b.com", "a@bücher.de",
        "a@b.123", "a@" + "b" * 64 + ".com", "a" * 65 + "@b.com", "a" * 60 + "@" + "b" * 40 + ".com", "a,b@c.com",
    ],
)  # fmt: skip
def test_broken_and_unusual_addresses_are_not(address: str) -> None:
    assert not is_email(address)


def _library_refuses(address: str) -> str:
    """Why, or an empty text."""
    try:
        validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        return str(error)
    return ""


@given(st.emails())
def test_what_is_accepted_is_an_address_by_the_library_too(address: str) -> None:
    if is_email(address):
        reason = _library_refuses(address)
        # Reserved domains, and labels that look like an encoding, are no matter of form.
        assert not reason or "special-use" in reason or "--" in address, reason


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_every_countrys_example_numbers_are_fine(region: str) -> None:
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
        number = phonenumbers.example_number_for_type(region, kind)
        if number is None:
            continue
        text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        assert is_phone_number(text) or len(text) < 8, text


@pytest.mark.parametrize(
    "number",
    [
        "", "+", "12025550123", "+0123456789", "+1202555012", "+120255501234", "+1 2025550123", "+1(202)5550123",
        "+12025550123x5", "+999123456789", "+2101234567", "0049431123456", "+٤٩٤٣١١٢٣٤٥٦", "+12025550123\n",
        "+1234567890123456", "tel:+12025550123",
    ],
)  # fmt: skip
def test_other_spellings_and_lengths_are_not(number: str) -> None:
    assert not is_phone_number(number)


@given(st.from_regex(r"\+[1-9][0-9]{5,15}", fullmatch=True))
@example("+4920100000000000")  # German plans know longer ones than the fifteen digits of E.164
@example("+492010000000000")
def test_a_valid_number_is_always_accepted(number: str) -> None:
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return
    same = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == number
    if phonenumbers.is_valid_number(parsed) and same and len(number) >= 8:
        assert is_phone_number(number) is (len(number) <= len("+") + 15)
