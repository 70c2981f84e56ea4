"""Keys as text that is the same for ever, whatever driver or warehouse they come from.

The integer 7, the decimal 7.00 and the text "7" are one key, a timestamp with a zone is written in UTC. State and the
ids of events are made of this text, so nothing here may change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal


def key_text(key: Sequence[object]) -> str:
    """The text of a key of one or several parts, none of which is None; ("a", "bc") is not ("ab", "c")."""
    if len(key) == 1:
        return value_text(key[0])
    return joined(value_text(part) for part in key)


def joined(parts: Iterable[str]) -> str:
    """Several texts in one, each with its length before it, so that none can pass for two."""
    return "".join(f"{len(part)}:{part}" for part in parts)


def value_text(value: object) -> str:
    """The text of one part of a key."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[return-value]
    if kind is int:
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, datetime) and value.tzinfo:
        return _moment(value)
    if isinstance(value, Decimal):
        return _digits(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _moment(value: datetime) -> str:
    try:
        return value.astimezone(UTC).isoformat()
    except OverflowError:  # the first or last hours of the calendar
        return value.isoformat()


def _digits(value: Decimal) -> str:
    """All of them: ``normalize`` would round a key of more than 28 digits, and two rows would become one."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
