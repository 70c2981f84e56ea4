"""The fast path's verdict is the library's, for every region, every kind of number and every notation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from airflow_provider_klaviyo.records.contacts import phone, phone_patterns, phone_texts
from airflow_provider_klaviyo.records.contacts.phone import PhoneNumbers

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
NOTATIONS = (
    PhoneNumberFormat.E164,
    PhoneNumberFormat.INTERNATIONAL,
    PhoneNumberFormat.NATIONAL,
    PhoneNumberFormat.RFC3966,
)


def without_fraction(value: str) -> str | None:
    """The value without a fraction of zeros; None where it has another, or an exponent."""
    if re.search(r"[0-9][eE][-+]?[0-9]+[^0-9]*$", value):
        return None
    rest, fraction = split_off_digits(value.rstrip("".join(sign for sign in value if not sign.isdecimal())))
    before, group = split_off_digits(rest[:-1])
    is_apart = not before or before[-1] not in ".,\uff0e"
    shortest = {1: 1, 2: 5}.get(len(fraction), 8)
    if not fraction or rest[-1:] not in [*".,\uff0e"] or not is_apart or len(group) < shortest:
        return value
    return None if int(fraction) else before + group


def split_off_digits(text: str) -> tuple[str, str]:
    end = len(text)
    while end and text[end - 1].isdecimal():
        end -= 1
    return text[:end], text[end:]


def library(value: str, region: str | None) -> str | None:
    """What ``phonenumbers`` says of the number without its fraction."""
    number_text = without_fraction(value)
    if number_text is None:
        return None
    try:
        number = phonenumbers.parse(number_text.strip(), region)
    except phonenumbers.NumberParseException:
        return None
    is_usable = phonenumbers.is_valid_number(number) and not number.extension
    return phonenumbers.format_number(number, PhoneNumberFormat.E164) if is_usable else None


def assert_as_library(values: list[str], region: str | None) -> None:
    numbers, reasons = PhoneNumbers(region).check(values)
    assert dict(zip(values, numbers, strict=True)) == {value: library(value, region) for value in values}
    assert set(reasons) == {
        place for place, number in enumerate(numbers) if number is None and values[place].strip()
    }


def examples(region: str) -> list[PhoneNumber]:
    of_kinds = [phonenumbers.example_number_for_type(region, kind) for kind in PhoneNumberType.values()]
    return [number for number in (*of_kinds, phonenumbers.invalid_example_number(region)) if number]


def written(numbers: list[PhoneNumber]) -> list[str]:
    return [phonenumbers.format_number(number, notation) for number in numbers for notation in NOTATIONS]


@pytest.mark.parametrize("region", REGIONS)
def test_example_numbers_are_judged_as_by_the_library(region: str) -> None:
    values = written(examples(region))
    for where in (region, None, "US", "FR", "AR"):
        assert_as_library(values, where)


@pytest.mark.parametrize("calling_code", sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS))
def test_numbers_of_no_country_are_judged_as_by_the_library(calling_code: int) -> None:
    values = written([phonenumbers.example_number_for_non_geo_entity(calling_code)])
    for where in (None, "US", "IT"):
        assert_as_library(values, where)


@pytest.mark.parametrize("region", REGIONS)
def test_numbers_made_of_examples_are_judged_as_by_the_library(region: str) -> None:
    random = Random(region)
    values = [value for value, _ in zip(made_of_examples(region, random), range(220), strict=False)]
    assert_as_library(values, region)
    assert_as_library(values[:40], None)
    assert_as_library(values[:40], random.choice(REGIONS))


def made_of_examples(region: str, random: Random) -> Iterator[str]:
    """Example numbers with some digits changed, in every way that people write them."""
    plan = PhoneMetadata.metadata_for_region(region)
    digits = [phonenumbers.national_significant_number(number) for number in examples(region)]
    code, trunk = str(plan.country_code), plan.national_prefix or "0"
    starts = [
        "",
        "",
        trunk,
        code,
        f"+{code}",
        f"+{code}",
        f"+{code}{trunk}",
        f"00{code}",
        f"011{code}",
        "00",
        "+0",
        "++",
    ]
    odd_starts = [
        "15",
        "9",
        "90",
        "180020",
        "1001",
        "0015",
        "+",
        f"+{code}{code}",
        f"00{trunk}",
        f"{trunk}{code}",
    ]
    while True:
        start = random.choice(starts if random.random() < 0.9 else odd_starts)
        yield punctuated(start + mutated(random.choice(digits), random), random)


def mutated(digits: str, random: Random) -> str:
    changed = list(digits)
    for _ in range(random.choice((0, 1, 1, 2, 4, 8))):
        place = random.randrange(len(changed))
        match random.random():
            case chance if chance < 0.8:
                changed[place] = random.choice("0123456789")
            case chance if chance < 0.9 and len(changed) > 3:
                del changed[place]
            case _:
                changed.insert(place, random.choice("0123456789"))
    return "".join(changed)


def punctuated(text: str, random: Random) -> str:
    if random.random() < 0.5:
        return text
    return "".join(sign + random.choice(("", "", "", *" -().[]/")) for sign in text)


@pytest.mark.parametrize("region", ["US", "FR", "IT", "AR", "BR", "RU", None])
@pytest.mark.parametrize(
    "value",
    [
        "+14155550123",
        "\uff0b14155550123",
        "\uff0b\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff10\uff11\uff12\uff13",  # full-width digits
        "+1\u0664\u0661\u0665\u0665\u0665\u0665\u0660\u0661\u0662\u0663",  # Arabic-Indic digits
        "+1415555\u0660123",
        "06 12 34 56 7\u0668",
        "+1415555,0123",
        "+1,4155550123",
        "+1\u00a0415\u2010555\u201301\u200b23",  # punctuation of Unicode
        "++14155550123",
        "+ +14155550123",
        "+1+4155550123",
        "00+14155550123",
        "+",
        "+0",
        "+00 1 415 555 0123",
        "+999 415 555 0123",
        "(+1) 415 555-0123",
        ")-+1 415 555 0123-(",
        "call +1 415 555 0123 now",
        "+14155550123.0",
        "+1 415 5550123.5",
        "4155550123\uff0e0",
        "415.555.012.3",
        "tel. +14155550123.00",
        "4.155550123E+9",
        "4.155550123e9",
        "tel:+1-415-555-0123",
        "tel:415-555-0123;phone-context=+1",
        "tel:0612345678;phone-context=example.com",
        "415 555 0123;phone-context=+",
        "+14155550123;isub=12345",
        "+1 415 555 0123 / +1 415 555 0124",
        "(415) 555-0123 x302/x2303",
        "+1 415 555 0123 ext. 5",
        "+14155550123x5",
        "+1 415 555 0123 # 5",
        "+1 415 555 0123,,5",
        "+14155550123;ext=5",
        "415-555-0123 5#",
        "1-800-FLOWERS",
        "+1 800 FLOWERS",
        "+1415555O123",
        "+1415555\x000123",
        "\x00",
        "+14155550123\n",
        "+1415\n5550123",
        "\t+14155550123",
        "+14155550123\ud800",
        "\ud83d\ude00",
        "\u00b2\u00b3\u00b2\u00b3\u00b2\u00b3\u00b2\u00b3",  # digits to str.isdigit, not to the library
        "0" * 12,
        "+" + "1" * 17,
        "1" * 250,
        "1" * 251,
        "+1415555012" + " " * 300 + "3",
        "1;phone-context=" + "a" * 230 + "!",
        "12",
        "1 2",
        "112",
        "911",
        "0",
        "-",
        "06 12 34 56 78",
        "0033 6 12 34 56 78",
        "33612345678",
        "+33 (0)6 12 34 56 78",
        "011 15-2345-6789",
        "0 11 2345-6789",
        "5491123456789",
        "+54 011 15 2345 6789",
        "0 15 11 91234-5678",
        "8 (916) 123-45-67",
        "810 33 6 12 34 56 78",
        "02 1234 5678",
        "+39 06 6982",
    ],
)
def test_strange_values_are_judged_as_by_the_library(value: str, region: str | None) -> None:
    assert_as_library([value], region)


@pytest.mark.parametrize(
    ("value", "region"),
    [
        pytest.param("015112140000", "IL", id="a trunk prefix that is an exit code, too"),
        pytest.param("0800735467", "JE", id="fits the plan only with its trunk prefix"),
        pytest.param("03012395678", "CO", id="a trunk prefix with a carrier's code"),
        pytest.param("021 11 91234-5678", "BR", id="a carrier's code that is dropped by rewriting"),
        pytest.param("01115456789", "AR", id="a mobile prefix amid the number"),
        pytest.param("3107343", "TT", id="an area code that is added by rewriting"),
        pytest.param("358181123", "AX", id="a calling code that begins a local number"),
        pytest.param("35892273", "AX", id="a calling code before what fits the main country only"),
        pytest.param("55800823456", "BR", id="a number that begins like the country's calling code"),
        pytest.param("+13105550", None, id="short numbers of one country of several"),
        pytest.param("+77172123456", None, id="leading digits that choose the country"),
        pytest.param("+441481256789", None, id="a smaller country of a calling code"),
    ],
)
def test_numbers_at_the_edges_of_the_rules_are_judged_as_by_the_library(
    value: str, region: str | None
) -> None:
    assert_as_library([value], region)


def test_only_trunk_prefixes_capture_groups() -> None:
    """On which the numbers of groups in our expressions rely."""
    plans = [PhoneMetadata.metadata_for_region(region) for region in REGIONS]
    numbers = [getattr(plan, kind) for plan in plans for kind in ("general_desc", *phone_patterns.KINDS)]
    patterns = [each.national_number_pattern or "" for each in numbers if each]
    patterns += [each for plan in plans for each in (plan.international_prefix, plan.leading_digits) if each]
    assert {re.compile(pattern).groups for pattern in patterns} == {0}


@settings(max_examples=300)
@given(
    st.text(
        alphabet=st.one_of(st.sampled_from("+0123456789 ()-./x#;,~*\uff0b\uff10\u0660"), st.characters())
    ),
    st.sampled_from([None, *REGIONS]),
)
@example("0123;phone-context=+49", None)
def test_any_text_is_judged_as_by_the_library(value: str, region: str | None) -> None:
    assert_as_library([value], region)


@pytest.mark.parametrize(
    ("value", "region"),
    [
        ("+14155550123", None),
        ("+1 (415) 555-0123", None),
        ("(415) 555-0123", "US"),
        ("1-415-555-0123", "US"),
        ("14155550123", "US"),
        ("011 33 6 12 34 56 78", "US"),
        ("06 12 34 56 78", "FR"),
        ("06.12.34.56.78", "FR"),
        ("0033 6 12 34 56 78", "FR"),
        ("33612345678", "FR"),
        ("+33612345678", "FR"),
        ("02 1234 5678", "IT"),
        ("011 2345-6789", "AR"),
        ("+54 9 11 2345-6789", None),
        ("(11) 96123-4567", "BR"),
        ("8 (912) 345-67-89", "RU"),
        ("07400 123456", "GB"),
        ("0151 23456789", "DE"),
    ],
)
def test_common_notations_do_without_the_library(value: str, region: str | None) -> None:
    asked = phone._ask_library.cache_info()
    assert PhoneNumbers(region).check([value]) == ([library(value, region)], {})
    assert phone._ask_library.cache_info() == asked


@pytest.mark.parametrize(
    ("value", "region", "reason"),
    [
        ("+1 415 555", None, phone.TOO_SHORT),
        ("+1", None, phone.NOT_A_NUMBER),
        ("+49 1", None, phone.TOO_SHORT),
        ("00 33", "FR", phone.TOO_SHORT),
        ("+1 415 555 01234 56", None, phone.TOO_LONG),
        ("1" * 300, "US", phone.TOO_LONG),
        ("+1 555 555 0123", None, phone.POSSIBLE_BUT_INVALID),
        ("555-0123", "US", phone.NO_AREA_CODE),
        ("+65 6123 45678", None, phone.WRONG_LENGTH),
        ("+999 415 555 0123", None, phone.UNKNOWN_CALLING_CODE),
        ("00 999 415 555 0123", "FR", phone.UNKNOWN_CALLING_CODE),
        ("\uff0b999 415 555 0123", None, phone.UNKNOWN_CALLING_CODE),
        ("(415) 555-0123", None, phone.NO_COUNTRY),
        ("unknown", None, phone.NOT_A_NUMBER),
        ("n/a", "US", phone.NOT_A_NUMBER),
        ("\x00", "US", phone.NOT_A_NUMBER),
        ("+1 415 555 0123 ext. 5", None, phone.EXTENSION),
        ("+1 555 555 0123 ext. 5", None, phone.POSSIBLE_BUT_INVALID),
    ],
)
def test_a_refused_number_has_a_reason_without_the_number(
    value: str, region: str | None, reason: str
) -> None:
    assert PhoneNumbers(region).check([value]) == ([None], {0: reason})
    assert value not in reason


@pytest.mark.parametrize(
    ("value", "region", "number"),
    [
        ("+491711234567.0", None, "+491711234567"),
        ("+491711234567.00", None, "+491711234567"),
        ("+491711234567.000000", None, "+491711234567"),
        ("+491711234567,0", None, "+491711234567"),
        (" +491711234567.0 ", None, "+491711234567"),
        ("'+491711234567.0'", None, "+491711234567"),
        ("+49 1711234567.0", None, "+491711234567"),
        ("00491711234567.0", "DE", "+491711234567"),
        ("1711234567.0", "DE", "+491711234567"),
        ("4155550123.00", "US", "+14155550123"),
        ("+491711234567.", None, "+491711234567"),
        ("030.123.4567", "DE", "+49301234567"),
        ("030.1234567", "DE", "+49301234567"),
        ("(415) 555.0123", "US", "+14155550123"),
        ("415.555.0123", "US", "+14155550123"),
        ("415.555.0000", "US", "+14155550000"),
        ("415.5550100", "US", "+14155550100"),
        ("+1.4155550100", None, "+14155550100"),
        ("+49171.1234567", None, "+491711234567"),
        ("06.12.34.56.78", "FR", "+33612345678"),
        ("06.12.34.56.00", "FR", "+33612345600"),
        ("02/555.12.12", "BE", "+3225551212"),
    ],
)
def test_a_fraction_of_zeros_is_cut_and_dots_that_group_digits_are_none(
    value: str, region: str | None, number: str
) -> None:
    assert PhoneNumbers(region).check([value]) == ([number], {})
    assert PhoneNumbers(region).check(["+14155550123", value, "+14155550123"])[0][1] == number


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("+491711234567.5", phone_texts.HAS_FRACTION),
        ("+491711234567.50", phone_texts.HAS_FRACTION),
        ("+491711234567.123", phone_texts.HAS_FRACTION),
        ("+491711234567,5", phone_texts.HAS_FRACTION),
        ("+49 1711234567.01", phone_texts.HAS_FRACTION),
        ("4.91711234567E+11", phone_texts.HAS_EXPONENT),
        ("+4.91711234567e11", phone_texts.HAS_EXPONENT),
        ("4,91711234567E+11", phone_texts.HAS_EXPONENT),
        ("+491711234567e0", phone_texts.HAS_EXPONENT),
    ],
)
@pytest.mark.parametrize("region", [None, "DE", "US"])
def test_any_other_fraction_is_refused_for_itself(value: str, region: str | None, reason: str) -> None:
    assert PhoneNumbers(region).check([value]) == ([None], {0: reason})


@settings(max_examples=50, deadline=None)
@given(
    region=st.sampled_from(REGIONS),
    kind=st.integers(0, 9),
    ending=st.from_regex(r"[.,]0{1,8}", fullmatch=True),
    is_international=st.booleans(),
)
def test_a_number_that_was_a_float_is_the_number_that_it_was(
    region: str, kind: int, ending: str, is_international: bool
) -> None:
    numbers = examples(region)
    e164 = phonenumbers.format_number(numbers[kind % len(numbers)], PhoneNumberFormat.E164)
    text = e164 if is_international else e164.removeprefix("+")
    was_float = f"{text}{ending}" if len(text.strip("+")) >= 8 else f"{text}.0"
    assert PhoneNumbers(region).check([was_float])[0] == PhoneNumbers(region).check([text])[0]


def test_nothing_is_neither_a_number_nor_a_mistake() -> None:
    numbers, reasons = PhoneNumbers("US").check([None, "", "  \t", "+14155550123", "\u00a0"])
    assert numbers == [None, None, None, "+14155550123", None]
    assert reasons == {}
    assert PhoneNumbers("US").check([]) == ([], {})


def test_good_and_bad_numbers_keep_their_places() -> None:
    values = [
        "+14155550123",
        "x",
        None,
        "(415) 555-0123",
        "+33 6 12 34 56 78",
        "415-555-0123 ext 3",
        "\x00",
        "1",
    ]
    numbers, reasons = PhoneNumbers("US").check(values)
    assert numbers == ["+14155550123", None, None, "+14155550123", "+33612345678", None, None, None]
    assert list(reasons) == [1, 5, 6, 7]


def test_each_row_may_have_its_country() -> None:
    values = ["06 12 34 56 78", "(415) 555-0123", "(415) 555-0123", "(415) 555-0123", "+33612345678"]
    numbers, reasons = PhoneNumbers("US").check(values, ["FR", " us ", None, " ", "GB"])
    assert numbers == ["+33612345678", "+14155550123", "+14155550123", "+14155550123", "+33612345678"]
    assert reasons == {}


def test_an_unknown_country_of_a_row_matters_only_where_it_is_needed() -> None:
    values = ["06 12 34 56 78", "+33 6 12 34 56 78", "+33 6", "unknown", None]
    numbers, reasons = PhoneNumbers("FR").check(values, ["XX"] * 5)
    assert numbers == [None, "+33612345678", None, None, None]
    assert reasons == {0: phone.UNKNOWN_COUNTRY, 2: phone.TOO_SHORT, 3: phone.NOT_A_NUMBER}


@pytest.mark.parametrize("region", ["fr", " FR ", "Fr"])
def test_a_region_is_taken_in_any_letter_case(region: str) -> None:
    assert PhoneNumbers(region).check(["06 12 34 56 78"])[0] == ["+33612345678"]


@pytest.mark.parametrize("region", ["UK", "XX", "001", "USA", "France", "33"])
def test_an_unknown_region_is_refused_at_once(region: str) -> None:
    with pytest.raises(ValueError, match=f"'{region}' is not an ISO 3166 country"):
        PhoneNumbers(region)
