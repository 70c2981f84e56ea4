"""What stands in ids where there is none: sent as ids, such words would make one person of everybody who has them."""

from __future__ import annotations

from collections.abc import Sequence

PLACEHOLDER = (
    "a placeholder such as null, nan or 0 and not an id, so it is left out: many people would share it; turn it into "
    "NULL in SQL"
)

_NAMES = ("null", "nil", "none", "na", "nan", "nat", "undefined", "empty")
_PLACEHOLDERS = frozenset(
    (
        *_NAMES,
        *(f"({name})" for name in _NAMES),
        *(f"<{name}>" for name in _NAMES),
        *("n/a", "#n/a", "n.a.", "\\n", "-", "--", "0", "0.0", "00000000-0000-0000-0000-000000000000"),
    )
)
"""In small letters: of databases, dumps, spreadsheets, Python, R, JavaScript and Go; and the zero UUID of RFC 9562."""


def without_placeholders(ids: Sequence[str | None]) -> tuple[list[str | None], dict[int, str]]:
    """Ids without blanks around them and without placeholders, and why a value is none, by index.

    :param ids: of a column. Empty and blank ones name nobody, as NULL; padding, as of a CHAR column, is not part of
        an id.
    :returns: as many ids, and the reasons.
    """
    trimmed = [value.strip() or None if value else None for value in ids]
    if _PLACEHOLDERS.isdisjoint(map(str.lower, filter(None, trimmed))):
        return trimmed, {}
    reasons = {
        index: PLACEHOLDER for index, value in enumerate(trimmed) if value and value.lower() in _PLACEHOLDERS
    }
    return [None if index in reasons else value for index, value in enumerate(trimmed)], reasons
