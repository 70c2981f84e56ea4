"""Klaviyo's filter language (https://developers.klaviyo.com, filtering)."""

from __future__ import annotations

from collections.abc import Sequence


def equals(field: str, value: str) -> str:
    """``equals(name,"…")``."""
    return f"equals({field},{_quoted(value)})"


def any_of(field: str, values: Sequence[str]) -> str:
    """``any(email,["…","…"])``."""
    return f"any({field},[{','.join(_quoted(value) for value in values)}])"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
