"""Regular expressions for phone numbers, put together from the metadata of ``phonenumbers``.

Each accepts only what the library would accept, with the same E.164 form. How the library reads a number:

1. Punctuation is dropped. What follows a ``+`` or an exit code (``00``, ``011``, …) begins with a calling code.
2. Without either, a number that does not fit the country's numbering plan, but would without the country's calling
   code in front, loses that (``33612345678`` in France); any other is national.
3. A trunk prefix (``0`` in France, ``1`` in the US) is dropped; some countries rewrite the number instead.
4. The number is valid when a country of the calling code has numbers of this pattern and length.

A region's expressions are built at its first use: the metadata of all regions takes a tenth of a second to load.
ASCII digits only: the library takes others, but then it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberDesc

KINDS = (
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

_LENGTHS = range(3, 18)
"""Digits of a national number that ``phonenumbers`` reads whatever its country is."""

_NOTHING = "(?!)"
"""Matches no text."""

_Match = Callable[[str], "re.Match[str] | None"]


class _E164(dict[str, _Match]):
    """The expression for an E.164 number by its first four characters, which hold any calling code."""

    def __missing__(self, start: str) -> _Match:
        calling_code = _calling_code(start)
        if calling_code is None:
            return _match_nothing  # not kept: there is no end of such starts
        self[start] = _international(calling_code).fullmatch
        return self[start]


match_e164 = _E164()
_match_nothing = re.compile(_NOTHING).fullmatch


def exit_codes(plan: PhoneMetadata) -> re.Pattern[str]:
    """What stands for the ``+`` of a number that is dialled in the country.

    :param plan: the country's, from the metadata of ``phonenumbers``.
    """
    return _compiled(plan.international_prefix or _NOTHING)


def national_numbers(plan: PhoneMetadata) -> re.Pattern[str]:
    """Numbers without an exit code, as they are written in their country.

    :param plan: the country's, from the metadata of ``phonenumbers``.
    :returns: an expression for text without punctuation; its group ``number`` is what follows the calling code in
        E.164.
    """
    exit_code = plan.international_prefix or _NOTHING
    starts = _any([_trunk_prefix(plan), _own_calling_code(plan)])
    return _compiled(f"(?!{exit_code}){starts}(?P<number>{_valid(plan.country_code or 0)})")


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
    for kind in KINDS:
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
