"""Text of phone numbers that were floating-point numbers once: ``+491711234567.0`` is no number of thirteen digits.

The dot is also how people set the groups of a number apart, as in ``030.123.4567`` or ``(415) 555.0100``. It begins
a fraction where nobody writes a phone number so: behind the last group of digits, which no other dot precedes, with
one digit after it; with two, after a group of five digits or more; with any number, after one of eight or more.
"""

from __future__ import annotations

import re

from airflow_provider_klaviyo.records.values.unsendable import Unsendable

HAS_FRACTION = (
    "it has a fraction, as a floating-point number has: cast the column to an integer, then to text, in SQL"
)
HAS_EXPONENT = (
    "it has an exponent, as a floating-point number has, so digits may be missing: cast the column to an integer, "
    "then to text, in SQL"
)

# A comma is no punctuation of phone numbers, so it is a fraction's, too; the full-width dot is both.
_FRACTION = re.compile(
    r"(?<![\d.,\uff0e])(?:\d+[.,\uff0e](\d)|\d{5,}[.,\uff0e](\d\d)|\d{8,}[.,\uff0e](\d{3,}))\D*$"
)
_EXPONENT = re.compile(r"\d[eE][+-]?\d+\D*$")
_LONGEST_ENDING = 4
_LONG_GROUP = 8


def may_have_fraction(value: str) -> bool:
    """Whether a value may be one with a fraction behind a dot; not for the common notations, and quick to tell.

    :param value: the text of a phone number, with its punctuation.
    """
    dot = value.rfind(".")
    return dot >= 0 and (len(value) - dot <= _LONGEST_ENDING or dot - value.rfind(".", 0, dot) > _LONG_GROUP)


def whole(value: str) -> str:
    """The value without a fraction of zeros.

    :param value: the text of a phone number, with its punctuation.
    :raises Unsendable: when it has any other fraction, or an exponent.
    """
    if _EXPONENT.search(value):
        raise Unsendable(HAS_EXPONENT)
    found = _FRACTION.search(value)
    if not found:
        return value
    group = found.lastindex or 0
    if int(found[group]):
        raise Unsendable(HAS_FRACTION)
    return value[: found.start(group) - 1]
