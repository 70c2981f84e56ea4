"""The fast path's verdict is the library's; what is accepted is in Klaviyo's form."""

from __future__ import annotations

import re

import pytest
from email_validator import SPECIAL_USE_DOMAIN_NAMES, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.contacts import email
from airflow_provider_klaviyo.records.contacts.email import check_emails

LABEL_63, LOCAL_64 = "l" * 63, "p" * 64


def library(value: str) -> str | None:
    """What ``email-validator`` alone says, in lower case, within Klaviyo's length."""
    try:
        checked = validate_email(value.strip(), check_deliverability=False, allow_smtputf8=False)
    except ValueError:
        return None
    address = (checked.ascii_email or "").lower()
    return address if len(address) <= 100 else None


def assert_as_library(*values: str) -> None:
    addresses, reasons = check_emails(values)
    assert dict(zip(values, addresses, strict=True)) == {value: library(value) for value in values}
    assert set(reasons) == {i for i, address in enumerate(addresses) if address is None and values[i].strip()}
    assert not [reason for i, reason in reasons.items() if len(values[i]) > 5 and values[i] in reason]


nearly_ordinary = st.from_regex(
    re.compile(
        r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{0,12}(@[a-zA-Z0-9.-]{0,20}){1,2}\.[a-zA-Z0-9-]{0,12}", re.ASCII
    ),
    fullmatch=True,
)
ordinary = st.from_regex(
    re.compile(
        r"[a-zA-Z0-9_+-]{1,20}(\.[a-z0-9]{1,9}){0,3}@([a-zA-Z0-9]{1,20}(-[a-z]{1,4})?\.){1,4}[a-z]{1,9}",
        re.ASCII,
    ),
    fullmatch=True,
)
reserved = st.sampled_from(
    [
        form
        for name in SPECIAL_USE_DOMAIN_NAMES
        for form in (name, name.upper(), f"x{name}", f"{name}x", f"{name}.com")
    ]
)


@settings(max_examples=500)
@given(ordinary | nearly_ordinary | st.emails())
def test_addresses_are_judged_as_by_the_library(value: str) -> None:
    assert_as_library(value, f"  {value}\n", value.title())


@settings(max_examples=500)
@given(ordinary, st.integers(min_value=0), st.characters(), st.booleans())
def test_addresses_with_a_changed_character_are_judged_as_by_the_library(
    address: str, place: int, character: str, is_inserted: bool
) -> None:
    place %= len(address)
    assert_as_library(address[:place] + character + address[place + (not is_inserted) :])


@given(ordinary, reserved)
def test_reserved_domains_are_judged_as_by_the_library(address: str, domain: str) -> None:
    local, _, host = address.partition("@")
    assert_as_library(f"{local}@{domain}", f"{address}.{domain}", f"{local}@{host}-{domain}")


@settings(max_examples=300)
@given(st.text(alphabet=st.one_of(st.sampled_from('@@.."<>()[]:; \t\0abc-'), st.characters()), max_size=40))
def test_any_text_is_judged_as_by_the_library(value: str) -> None:
    assert_as_library(value)


@given(
    st.integers(1, 70).map("p".__mul__),
    st.lists(st.integers(1, 65).map("l".__mul__), min_size=1, max_size=5).map(".".join),
)
def test_addresses_of_any_length_are_judged_as_by_the_library(local: str, domain: str) -> None:
    assert_as_library(f"{local}@{domain}.com")


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("jane.doe@shop.example", "jane.doe@shop.example"),
        ("  Jane.Doe+News@Shop.COM \n", "jane.doe+news@shop.com"),
        ("POSTMASTER@shop.com", "postmaster@shop.com"),
        ("o'brien_{x}@a-b.co.uk", "o'brien_{x}@a-b.co.uk"),
        ("jane@m\u00fcller.de", "jane@xn--mller-kva.de"),
        ("jane@XN--MLLER-KVA.de", "jane@xn--mller-kva.de"),
        ("jane@\u212aelvin.com", "jane@kelvin.com"),
        ("jane@shop\u3002com", "jane@shop.com"),
        ("jane@xn--p1ai.xn--p1ai", "jane@xn--p1ai.xn--p1ai"),
        ("jane@mylocal.com", "jane@mylocal.com"),
        ("jane@local.com", "jane@local.com"),
        (f"j@{LABEL_63}.com", f"j@{LABEL_63}.com"),
        (f"{'p' * 50}@{'d' * 45}.com", f"{'p' * 50}@{'d' * 45}.com"),
    ],
)
def test_an_address_is_sent_as_klaviyo_keeps_it(value: str, address: str) -> None:
    assert check_emails([value]) == ([address], {})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("jane", email.NO_AT_SIGN),
        ("jane\uff20shop.com", email.NO_AT_SIGN),
        ("@shop.com", email.NOTHING_BEFORE),
        ("jane@", email.NOTHING_BEHIND),
        ("jane@doe@shop.com", email.SEVERAL),
        ("jane@shop.com,joe@shop.com", email.SEVERAL),
        ("jane doe@shop.com", email.INVISIBLE),
        ("jane@shop.com\u200b", email.INVISIBLE),
        ("jane\0@shop.com", email.INVISIBLE),
        ("jane\ud800@shop.com", email.INVISIBLE),
        ("jane@shop\udfff.com", email.INVISIBLE),
        ('"jane"@shop.com', email.QUOTED),
        ("j\u00e4ne@shop.com", email.NOT_ASCII),
        ("\u212aarl@shop.com", email.NOT_ASCII),
        (".jane@shop.com", email.STRAY_PERIOD),
        ("jane.@shop.com", email.STRAY_PERIOD),
        ("ja..ne@shop.com", email.STRAY_PERIOD),
        ("jane@.shop.com", email.STRAY_PERIOD),
        ("jane@shop.com.", email.STRAY_PERIOD),
        ("jane@shop", email.NO_ENDING),
        ("jane@10.0.0.1", email.NO_ENDING),
        ("jane@shop.test", email.RESERVED),
        ("jane@host.LOCAL", email.RESERVED),
        ("jane@ab--c.com", email.NOT_AN_ADDRESS),
        ("jane@xn--zzzzzz.com", email.NOT_AN_ADDRESS),
        ("jane@-shop.com", email.NOT_AN_ADDRESS),
        ("jane@shop_eu.com", email.NOT_AN_ADDRESS),
        ("jane@[10.0.0.1]", email.NOT_AN_ADDRESS),
        ("jane@[IPv6:::1]", email.NO_ENDING),
        ("Jane<jane@shop.com>", email.NOT_AN_ADDRESS),
        (f"j@{LABEL_63}l.com", email.NOT_AN_ADDRESS),
        (f"{LOCAL_64}@{'d' * 32}.com", email.TOO_LONG),
        (f"j@{'d.' * 130}com", email.TOO_LONG),
        ("x" * 1_000_000, email.TOO_LONG),
    ],
)
def test_a_refused_address_has_a_reason_without_the_address(value: str, reason: str) -> None:
    assert check_emails([value]) == ([None], {0: reason})
    assert value not in reason


def test_a_hundred_characters_are_the_most_that_klaviyo_takes() -> None:
    longest = f"{'p' * 40}@{'d' * 55}.com"
    assert len(longest) == email.MAX_LENGTH
    assert check_emails([longest, f"p{longest}"]) == ([longest, None], {1: email.TOO_LONG})


def test_an_international_domain_counts_in_the_form_that_is_sent() -> None:
    domain = ".".join(["m\u00fcller"] * 5) + ".com"  # each label takes seven characters more in Punycode
    address = f"{'p' * 60}@{domain}"
    assert len(address) <= email.MAX_LENGTH
    assert check_emails([address]) == ([None], {0: email.TOO_LONG})


def test_nothing_is_neither_an_address_nor_a_mistake() -> None:
    assert check_emails([None, "", "  \t\u00a0"]) == ([None, None, None], {})
    assert check_emails([]) == ([], {})


def test_good_and_bad_addresses_keep_their_places() -> None:
    values = ["A@b.com", None, "x", "j\u00e4ne@b.com", "c\0@b.com", "D@m\u00fcller.de", " e@b.com "]
    addresses, reasons = check_emails(values)
    assert addresses == ["a@b.com", None, None, None, None, "d@xn--mller-kva.de", "e@b.com"]
    assert list(reasons) == [2, 3, 4]
