"""Klaviyo's filter language (https://developers.klaviyo.com, filtering)."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence

MAX_VALUES = 100
"""Values in one filter: as many as a page holds. Klaviyo names no limit."""

_MAX_BYTES = 6_000
"""Of a filter as it stands in the URL, of which servers commonly take 8 KB."""

_UNRESERVED = f"{string.ascii_letters}{string.digits}-._~".encode()
"""What stands in a URL as it is (RFC 3986, 2.3); every other byte takes three."""


def equals(field: str, value: str) -> str:
    """``equals(name,"…")``."""
    return f"equals({field},{_quoted(value)})"


def any_of(field: str, values: Sequence[str]) -> str:
    """``any(email,["…","…"])``."""
    return f"any({field},[{','.join(_quoted(value) for value in values)}])"


def from_on(field: str, instant: str) -> str:
    """``greater-or-equal(joined_group_at,…)``."""
    return f"greater-or-equal({field},{instant})"


def before(field: str, instant: str) -> str:
    """``less-than(joined_group_at,…)``."""
    return f"less-than({field},{instant})"


def in_filters(values: Sequence[str]) -> Iterator[list[str]]:
    """The values, so many at a time as one filter and its URL may hold."""
    part: list[str] = []
    size = 0
    for value in values:
        grown = size + _size_in_url(f"{_quoted(value)},")
        if part and (len(part) >= MAX_VALUES or grown > _MAX_BYTES):
            yield part
            part, grown = [], grown - size
        part.append(value)
        size = grown
    if part:
        yield part


def _size_in_url(text: str) -> int:
    encoded = text.encode()
    return len(encoded) + 2 * len(encoded.translate(None, _UNRESERVED))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
