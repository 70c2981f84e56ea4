"""Phone numbers to E.164, a column at a time.

``phonenumbers`` decides, but it takes 20 to 60 µs a number, and a sync may have millions. So numbers in the common
forms are decided by regular expressions that are put together from the library's own metadata; each accepts only
what the library would accept, with the same E.164 form, and everything else is put to the library. How the library
reads a number:

1. Punctuation is dropped. What follows a ``+`` or an exit code (``00``, ``011``, …) begins with a calling code.
2. Without either, a number that does not fit the country's numbering plan, but would without the country's calling
   code in front, loses that (``33612345678`` in France); any other is national.
3. A trunk prefix (``0`` in France, ``1`` in the US) is dropped; some countries rewrite the number instead.
4. The number is valid when a country of the calling code has numbers of this pattern and length.

A region's expressions are built at its first use: the metadata of all regions takes a tenth of a second to load.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    SUPPORTED_REGIONS,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberDesc,
    PhoneNumberFormat,
    ValidationResult,
    format_number,
    is_possible_number_with_reason,
    is_valid_number,
    parse,
)

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

_LENGTHS = range(3, 18)
"""Digits of a national number that ``phonenumbers`` reads whatever its country is."""

_PUNCTUATION = b" -().[]/"
"""What ``phonenumbers`` ignores wherever it stands; other such characters are rare and left to the library."""

_SEPARATOR = "\0"

_KINDS = (
    "mobile",
    "fixed_line",
    "toll_free",
    "voip",
    "personal_number",
    "shared_cost",
    "premium_rate",
    "uan",
    "pager",
    "voicemail",
)
"""The kinds of numbers that make a number valid, the most frequent first."""

_Match = Callable[[str], "re.Match[str] | None"]


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
        """The E.164 form of each value, and why a value has none, by place.

        None and blank values give None without a reason. No reason holds any part of the value.

        :param regions: the country of each value; None or blank means the one of the constructor. It counts only
            for values without a country code of their own.
        """
        texts = _without_punctuation(values)
        numbers = [text if text[:1] == "+" and _match_e164[text[:4]](text) else None for text in texts]
        if None not in numbers:
            return numbers, {}
        reasons: dict[int, str] = {}
        for place, text in enumerate(texts):
            value = values[place]
            if numbers[place] is not None or value is None:
                continue
            country = self._country if regions is None else self._country_of(regions[place])
            numbers[place] = country.e164(text)
            if numbers[place] is None:
                numbers[place], reason = country.ask_library(value)
                if reason:
                    reasons[place] = reason
        return numbers, reasons

    def _country_of(self, region: str | None) -> _Country:
        return (_country(region) if region else None) or self._country


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
        number, reason = _ask_library(value, self._code)
        return number, self._no_country if reason is NO_COUNTRY else reason


_UNKNOWN = _Country(None, UNKNOWN_COUNTRY)


class _KnownCountry(_Country):
    """A country and the regular expressions of its numbering plan."""

    def __init__(self, code: str, plan: PhoneMetadata) -> None:
        super().__init__(code)
        self._e164_start = f"+{plan.country_code}"
        self._match_national = _national(plan).fullmatch
        self._exit_code = _compiled(plan.international_prefix or _NOTHING)

    def e164(self, text: str, /) -> str | None:
        national = self._match_national(text)
        if national:
            return self._e164_start + national["number"]
        exit_code = self._exit_code.match(text)
        number = "+" + text[exit_code.end() :] if exit_code else ""
        return number if _match_e164[number[:4]](number) else None


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


# ---------------------------------------------------------------------------------------------------------------------
# Regular expressions from the metadata. ASCII digits only: the library takes others, but then it is asked.

_NOTHING = "(?!)"


class _E164(dict[str, _Match]):
    """The expression for an E.164 number by its first four characters, which hold any calling code."""

    def __missing__(self, start: str) -> _Match:
        calling_code = _calling_code(start)
        if calling_code is None:
            return _match_nothing  # not kept: there is no end of such starts
        self[start] = _international(calling_code).fullmatch
        return self[start]


_match_e164 = _E164()
_match_nothing = re.compile(_NOTHING).fullmatch


def _calling_code(start: str) -> int | None:
    digits = start[1:]
    if not (digits.isascii() and digits.isdecimal()) or digits[0] == "0":
        return None
    codes = (int(digits[:length]) for length in (1, 2, 3))
    return next((code for code in codes if code in COUNTRY_CODE_TO_REGION_CODE), None)


@cache
def _international(calling_code: int) -> re.Pattern[str]:
    """E.164 numbers that the library takes as they are.

    It looks for a trunk prefix even behind a calling code, and for the one of the code's main country.
    """
    main = _plans(calling_code)[0]
    start = rf"\+{calling_code}"
    return _compiled(start + _left_alone(main.national_prefix_for_parsing, start) + _valid(calling_code))


def _left_alone(trunk_prefix: str | None, start: str) -> str:
    """What follows ``start`` has no trunk prefix.

    Argentina's expression for it also matches nothing at all: then the library's match (the first one, hence the
    atomic group) must end where it began. ``start`` is fixed to the beginning of the number.
    """
    if not trunk_prefix:
        return ""
    return f"(?>{trunk_prefix})(?<={start})" if re.match(trunk_prefix, "") else f"(?!{trunk_prefix})"


def _national(plan: PhoneMetadata) -> re.Pattern[str]:
    """Numbers without an exit code, as they are written in their country.

    The group ``number`` is what follows the calling code in E.164.
    """
    exit_code = plan.international_prefix or _NOTHING
    starts = _any([_trunk_prefix(plan), _own_calling_code(plan)])
    return _compiled(f"(?!{exit_code}){starts}(?P<number>{_valid(plan.country_code or 0)})")


def _trunk_prefix(plan: PhoneMetadata) -> str:
    """A trunk prefix that the library drops, or none where there is none to drop."""
    fits = _fits(plan.general_desc)
    prefix = plan.national_prefix_for_parsing or _NOTHING
    dropped = f"(?>{prefix}){_unless_rewritten(plan)}{fits}"
    return f"(?:(?!{plan.country_code})|{fits})(?:{dropped}|(?!{prefix}))"


def _unless_rewritten(plan: PhoneMetadata) -> str:
    """The library rewrites a number by a rule when the last group of its trunk prefix has matched."""
    groups = re.compile(plan.national_prefix_for_parsing or "").groups
    return f"(?({groups}){_NOTHING})" if groups and plan.national_prefix_transform_rule else ""


def _own_calling_code(plan: PhoneMetadata) -> str:
    """The country's calling code without a ``+``, which the library drops from what fits the plan only then.

    What follows is put to two plans: this country's, and that of the code's main country.
    """
    start = rf"\A{plan.country_code}"
    prefixes = {each.national_prefix_for_parsing for each in (plan, _plans(plan.country_code or 0)[0])}
    left_alone = "".join(_left_alone(prefix, start) for prefix in prefixes)
    return rf"(?!{_any([_pattern(plan.general_desc)])}\Z){start}{left_alone}{_fits(plan.general_desc)}"


def _valid(calling_code: int) -> str:
    """A national number that is valid in the country that the library takes it for.

    Of several countries it takes the first whose leading digits fit, or, where a country has none, for which the
    number is valid.
    """
    plans = _plans(calling_code)
    if len(plans) == 1:
        return _valid_in(plans[0])
    choices: list[str] = []
    taken = _NOTHING
    for plan in plans:
        leading = plan.leading_digits or ""
        choices.append(f"(?!{taken})(?={leading}){_valid_in(plan)}")
        taken = f"{taken}|{leading}" if leading else taken
    return _any(choices)


def _plans(calling_code: int) -> list[PhoneMetadata]:
    """The numbering plans of a calling code, that of its main country first."""
    regions = COUNTRY_CODE_TO_REGION_CODE[calling_code]
    plans = (PhoneMetadata.metadata_for_region_or_calling_code(calling_code, region) for region in regions)
    return [plan for plan in plans if plan]


def _valid_in(plan: PhoneMetadata) -> str:
    """A national number that fits the plan and one of its kinds, whose patterns are grouped by their lengths."""
    patterns: dict[tuple[int, ...], list[str]] = {}
    for kind in _KINDS:
        numbers: PhoneNumberDesc | None = getattr(plan, kind)
        if numbers:
            patterns.setdefault(numbers.possible_length, []).append(_pattern(numbers))
    kinds = [_of_length(lengths) + _any(choices) for lengths, choices in patterns.items()]
    return _fits(plan.general_desc) + _any(kinds)


def _fits(numbers: PhoneNumberDesc | None) -> str:
    """Looks ahead whether the rest is of a pattern and of one of its lengths."""
    return rf"{_of_length(numbers.possible_length if numbers else ())}(?={_any([_pattern(numbers)])}\Z)"


def _pattern(numbers: PhoneNumberDesc | None) -> str:
    return (numbers and numbers.national_number_pattern) or _NOTHING


def _of_length(lengths: Iterable[int]) -> str:
    digits = [rf"\d{{{length}}}" for length in lengths if length in _LENGTHS]
    return rf"(?={_any(digits)}\Z)"


def _any(choices: Iterable[str]) -> str:
    """One of the expressions, each of them once."""
    return f"(?:{'|'.join(dict.fromkeys(choices)) or _NOTHING})"


def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.ASCII)
