"""Phone numbers to E.164, a column at a time.

``phonenumbers`` decides, but it takes 20 to 60 µs a number, and a sync may have millions. So numbers in the common
forms are decided by regular expressions that are put together from the library's own metadata; each accepts only
what the library would accept, with the same E.164 form, and everything else is put to the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from phonenumbers import (
    SUPPORTED_REGIONS,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberFormat,
    ValidationResult,
    format_number,
    is_possible_number_with_reason,
    is_valid_number,
    parse,
)

from airflow_provider_klaviyo.records.contacts.phone_patterns import exit_codes, match_e164, national_numbers
from airflow_provider_klaviyo.records.contacts.phone_texts import may_have_fraction, whole
from airflow_provider_klaviyo.records.values.unsendable import Unsendable

POSSIBLE_BUT_INVALID = "its length is right, but its country has no such numbers: check the digits"
TOO_SHORT = "too short: digits are missing"
TOO_LONG = "too long: it has more digits than a phone number of its country"
WRONG_LENGTH = "its country has no numbers of this length: check the digits"
NO_AREA_CODE = "its area code is missing: write the whole number"
NOT_A_NUMBER = "not a phone number: write + and the country code, then the number"
UNKNOWN_CALLING_CODE = "its country code does not exist: check the digits after the +"
NO_COUNTRY = "its country code is missing: write + and the country code in front, or set phone_region"
UNKNOWN_COUNTRY = (
    "its country code is missing, and the row's phone_region is not an ISO 3166 country, such as GB"
)
EXTENSION = "it has an extension, which Klaviyo cannot store, and without it another line would be called"

_UNREADABLE = {
    NumberParseException.INVALID_COUNTRY_CODE: UNKNOWN_CALLING_CODE,
    NumberParseException.NOT_A_NUMBER: NOT_A_NUMBER,
    NumberParseException.TOO_SHORT_AFTER_IDD: TOO_SHORT,
    NumberParseException.TOO_SHORT_NSN: TOO_SHORT,
    NumberParseException.TOO_LONG: TOO_LONG,
}
_INVALID = {
    ValidationResult.IS_POSSIBLE: POSSIBLE_BUT_INVALID,
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: NO_AREA_CODE,
    ValidationResult.INVALID_COUNTRY_CODE: UNKNOWN_CALLING_CODE,
    ValidationResult.TOO_SHORT: TOO_SHORT,
    ValidationResult.TOO_LONG: TOO_LONG,
    ValidationResult.INVALID_LENGTH: WRONG_LENGTH,
}

_LONGEST_TEXT = 250
"""``phonenumbers`` reads no longer text."""

_PUNCTUATION = b" -().[]/"
"""What ``phonenumbers`` ignores wherever it stands; other such characters are rare and left to the library."""

_SEPARATOR = "\0"


class PhoneNumbers:
    """Checks columns of phone numbers.

    :param region: ISO 3166 country of national numbers, in any letter case; without one, numbers need a country code.
    :raises ValueError: when no phone numbers of that country are known.
    """

    def __init__(self, region: str | None) -> None:
        country = _country(region) if region is not None else _Country(None)
        if country is _UNKNOWN:
            msg = f"{region!r} is not an ISO 3166 country with phone numbers: write two letters, such as US or GB."
            raise ValueError(msg)
        self._country = country or _Country(None)

    def check(
        self, values: Sequence[str | None], regions: Sequence[str | None] | None = None
    ) -> tuple[list[str | None], dict[int, str]]:
        """The E.164 form of each value, and why a value has none, by index.

        No reason holds any part of the value.

        :param values: of a column; None and blank ones give None without a reason.
        :param regions: the country of each value; None or blank means the one of the constructor. It counts only
            for values without a country code of their own.
        :returns: as many numbers, and the reasons.
        """
        values, reasons = _whole_numbers(values)
        texts = _without_punctuation(values)
        numbers = [text if text[:1] == "+" and match_e164[text[:4]](text) else None for text in texts]
        if None not in numbers:
            return numbers, {}
        for index, text in enumerate(texts):
            value = values[index]
            if numbers[index] is not None or value is None:
                continue
            country = self._country if regions is None else self._country_of(regions[index])
            numbers[index] = country.e164(text)
            if numbers[index] is None:
                numbers[index], reason = country.ask_library(value)
                if reason:
                    reasons[index] = reason
        return numbers, reasons

    def _country_of(self, region: str | None) -> _Country:
        return (_country(region) if region else None) or self._country


def _whole_numbers(values: Sequence[str | None]) -> tuple[Sequence[str | None], dict[int, str]]:
    """The values without fractions of zeros, whose dot is not that of a phone number; None for any other fraction."""
    suspects = [index for index, value in enumerate(values) if value and may_have_fraction(value)]
    if not suspects:
        return values, {}
    numbers, reasons = list(values), {}
    for index in suspects:
        try:
            numbers[index] = whole(values[index] or "")
        except Unsendable as refusal:
            numbers[index], reasons[index] = None, str(refusal)
    return numbers, reasons


def _without_punctuation(values: Sequence[str | None]) -> list[str]:
    """All values in one go, as a column costs less joined than one by one; empty where the library would not read."""
    readable = [value if value and len(value) <= _LONGEST_TEXT else "" for value in values]
    texts = _strip_punctuation(_SEPARATOR.join(readable)).split(_SEPARATOR)
    if len(texts) != len(values):  # a value holds the separator
        return [_strip_punctuation(value) for value in readable]
    return texts


def _strip_punctuation(text: str) -> str:
    """Through bytes, which drop characters at the speed of a copy; multi-byte characters hold none of these."""
    encoded = text.encode("utf-8", "surrogatepass")
    return encoded.translate(None, _PUNCTUATION).decode("utf-8", "surrogatepass")


class _Country:
    """How numbers without a ``+`` are read in a country, or without knowing the country."""

    def __init__(self, code: str | None, no_country: str = NO_COUNTRY) -> None:
        self._code = code
        self._no_country = no_country

    def e164(self, _text: str, /) -> str | None:
        """The E.164 form of a number without punctuation; None when only the library can tell."""
        return None

    def ask_library(self, value: str) -> tuple[str | None, str | None]:
        """The E.164 form of a value or the reason why there is none; neither when it is blank."""
        value = value.strip()
        if not value:
            return None, None
        if len(value) > _LONGEST_TEXT:
            return None, TOO_LONG
        try:
            number, reason = _ask_library(whole(value), self._code)
        except Unsendable as refusal:
            return None, str(refusal)
        return number, self._no_country if reason is NO_COUNTRY else reason


_UNKNOWN = _Country(None, UNKNOWN_COUNTRY)


class _KnownCountry(_Country):
    """A country and the regular expressions of its numbering plan."""

    def __init__(self, code: str, plan: PhoneMetadata) -> None:
        super().__init__(code)
        self._e164_start = f"+{plan.country_code}"
        self._match_national = national_numbers(plan).fullmatch
        self._exit_code = exit_codes(plan)

    def e164(self, text: str, /) -> str | None:
        national = self._match_national(text)
        if national:
            return self._e164_start + national["number"]
        exit_code = self._exit_code.match(text)
        number = "+" + text[exit_code.end() :] if exit_code else ""
        return number if match_e164[number[:4]](number) else None


@lru_cache(maxsize=1024)
def _country(region: str) -> _Country | None:
    """None when the region is blank, ``_UNKNOWN`` when it does not exist."""
    code = region.strip().upper()
    if not code:
        return None
    plan = PhoneMetadata.metadata_for_region(code) if code in SUPPORTED_REGIONS else None
    return _KnownCountry(code, plan) if plan else _UNKNOWN


# Bad values repeat (placeholders, test data), and the library takes longest for those.
@lru_cache(maxsize=4096)
def _ask_library(value: str, country: str | None) -> tuple[str | None, str | None]:
    try:
        number = parse(value, country)
    except NumberParseException as error:
        if country is None and error.error_type == error.INVALID_COUNTRY_CODE and not _has_plus(value):
            return None, NO_COUNTRY
        return None, _UNREADABLE.get(error.error_type, NOT_A_NUMBER)
    if not is_valid_number(number):
        return None, _INVALID.get(is_possible_number_with_reason(number), NOT_A_NUMBER)
    if number.extension:
        return None, EXTENSION
    return format_number(number, PhoneNumberFormat.E164), None


def _has_plus(value: str) -> bool:
    return "+" in value or "\uff0b" in value  # the latter is the full-width one
