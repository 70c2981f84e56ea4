"""E-mail addresses in Klaviyo's form, a column at a time.

``email-validator`` decides, but it takes some 20 µs an address. So ordinary addresses are decided by one regular
expression that accepts only what the library accepts, and everything else is put to the library. Klaviyo keeps
addresses in lower case and is not known to take letters other than ASCII: international domains are sent in
Punycode, and an international part before the @ is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from email_validator import SPECIAL_USE_DOMAIN_NAMES, validate_email

MAX_LENGTH = 100
"""Characters of an address that Klaviyo still counts as valid (Klaviyo's Events API overview)."""

TOO_LONG = f"longer than {MAX_LENGTH} characters, which Klaviyo does not take as an e-mail address"
NO_AT_SIGN = "not an e-mail address: it has no @"
NOTHING_BEFORE = "not an e-mail address: nothing stands before the @"
NOTHING_BEHIND = "not an e-mail address: nothing stands behind the @"
SEVERAL = "not one e-mail address: it has more than one @"
INVISIBLE = "it holds a space or an invisible character: remove that"
QUOTED = "it has quotes before the @, which Klaviyo is not known to take: write it without them"
NOT_ASCII = "before the @ stand letters other than English ones, which Klaviyo is not known to take"
STRAY_PERIOD = "a period is doubled, or stands at the beginning, at the end or beside the @"
NO_ENDING = "its domain has no ending such as .com"
RESERVED = "its domain is reserved for tests or private networks and gets no e-mail"
NOT_AN_ADDRESS = "not a valid e-mail address: check its spelling"

_LONGEST_TEXT = 254
"""``email-validator`` accepts no longer text, but reads it to the end."""

_LONGEST_ORDINARY = 66
"""Up to here no label of the domain can exceed 63 characters, and no other limit is near."""

_SEPARATOR = "\0"


def _ordinary() -> re.Pattern[str]:
    """Addresses in lower case that the library accepts and leaves as they are.

    Labels of the domain have no two hyphens in a row (they mark Punycode, which the library examines), and the last
    is of letters. Quantifiers are possessive (``++``): what may follow a run of characters is never one of them, so
    nothing need be tried again. Groups have plain ones: Python before 3.11.5 errs in possessive groups.
    """
    atom = r"[a-z0-9!#$%&'*+\-/=?^_`{|}~]++"
    label = r"[a-z0-9]++(?:-[a-z0-9]++)*"
    not_reserved = "".join(rf"(?<![.@]{re.escape(name)})" for name in SPECIAL_USE_DOMAIN_NAMES)
    return re.compile(rf"{atom}(?:\.{atom})*@(?:{label}\.)+[a-z]{{2,}}{not_reserved}")


_is_ordinary = _ordinary().fullmatch


def check_emails(values: Sequence[str | None]) -> tuple[list[str | None], dict[int, str]]:
    """The address of each value as Klaviyo keeps it, and why a value has none, by index.

    No reason holds any part of the value. Longer addresses than ``MAX_LENGTH`` do not count as valid for Klaviyo
    (its Events API overview).

    :param values: of a column; None and blank ones give None without a reason.
    :returns: as many addresses, in lower case, and the reasons.
    """
    texts = _lowered(values)
    addresses = [text if len(text) <= _LONGEST_ORDINARY and _is_ordinary(text) else None for text in texts]
    if None not in addresses:
        return addresses, {}
    reasons: dict[int, str] = {}
    for index, value in enumerate(values):
        if addresses[index] is None and value is not None:
            addresses[index], reason = _address(value.strip())
            if reason:
                reasons[index] = reason
    return addresses, reasons


def _lowered(values: Sequence[str | None]) -> list[str]:
    """All values in one go, which costs less than one by one; those that are not ASCII stay as they are.

    The lower case of the Kelvin sign is a plain k, and the library should see the sign.
    """
    joined = _SEPARATOR.join([value or "" for value in values])
    texts = joined.lower().split(_SEPARATOR) if joined.isascii() else []
    if len(texts) != len(values):  # there are others than ASCII, or a value holds the separator
        return [value.lower() if value.isascii() else value for value in (value or "" for value in values)]
    return texts


def _address(text: str) -> tuple[str | None, str | None]:
    """The address or the reason why it is none; neither when there is no text."""
    if not text:
        return None, None
    if text.isascii() and len(text) <= _LONGEST_ORDINARY and _is_ordinary(text.lower()):  # it was padded
        return text.lower(), None
    if len(text) > _LONGEST_TEXT:
        return None, TOO_LONG
    try:
        checked = validate_email(text, check_deliverability=False, allow_smtputf8=False)
    except ValueError:  # EmailNotValidError is one, and so are the errors of Unicode and IDNA
        return None, _why_invalid(text)
    address = (checked.ascii_email or "").lower()
    return (None, TOO_LONG) if len(address) > MAX_LENGTH else (address, None)


def _why_invalid(text: str) -> str:
    """Our own words: the library's quote what they complain about, and reasons are logged."""
    return next((reason for applies, reason in _REASONS if applies(text)), NOT_AN_ADDRESS)


def _before(text: str) -> str:
    return text.rpartition("@")[0]


def _domain(text: str) -> str:
    return text.rpartition("@")[2].lower()


_stray_period = re.compile(r"^\.|\.\.|\.@|@\.|\.$").search
_is_reserved = re.compile(rf"(.*\.)?({'|'.join(map(re.escape, SPECIAL_USE_DOMAIN_NAMES))})").fullmatch

_REASONS: tuple[tuple[Callable[[str], object], str], ...] = (
    (lambda text: len(text) > MAX_LENGTH, TOO_LONG),
    (lambda text: "@" not in text, NO_AT_SIGN),
    (lambda text: text.startswith("@"), NOTHING_BEFORE),
    (lambda text: text.endswith("@"), NOTHING_BEHIND),
    (lambda text: " " in text or not text.isprintable(), INVISIBLE),
    (lambda text: '"' in _before(text), QUOTED),
    (lambda text: "@" in _before(text), SEVERAL),
    (lambda text: not _before(text).isascii(), NOT_ASCII),
    (_stray_period, STRAY_PERIOD),
    (lambda text: "." not in _domain(text) or _domain(text)[-1].isdecimal(), NO_ENDING),
    (lambda text: _is_reserved(_domain(text)), RESERVED),
)
"""What is wrong with refused addresses; the first that applies is told."""
