"""What databases say of a query without the cells of its rows, fit for a log.

They quote names and cells alike: ``Unknown column 'emial'``, ``invalid input syntax for type integer: "Jane Doe"``. A
name is told by the noun before it; whatever else stands in quotes is taken for a cell.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_HIDDEN = "***"
_NOUNS = (
    "constraint relation table view index type encoding function procedure aggregate schema database sequence domain "
    "parameter variable field role user cursor trigger language identifier object column columns"
)
_QUOTED_NAME = r"""(?:'[^'\n]+'|"[^"\n]+")"""
_NAME = re.compile(
    rf"""
    \b (?: (?: {"|".join(_NOUNS.split())} | for\ key ) (?:\ names?)?
        | (?: columns? | bindings | collation | character\ set ) : ?
        | in (?=\ '(?:field\ list|\w+\ clause|\w+\ statement)')
        | near (?=\ "(?:[\w.]+|[^\w\s"])")
    ) \ * {_QUOTED_NAME} (?: [@.] {_QUOTED_NAME} )*
    """,
    re.IGNORECASE | re.VERBOSE,
)
_QUOTED = re.compile(
    r"""(?<![\w\0])(["']).*\1(?!\w)""", re.DOTALL
)  # to the last quote: cells may hold some, too
_LEFT_OPEN = re.compile(r"""(?<![\w\0*])["'](?!\*).*""", re.DOTALL)
_IN_BRACKETS = re.compile(r"(=|value is )\(.*\)", re.DOTALL)  # PostgreSQL by other drivers, SQL Server
_AFTER_COLON = re.compile(r"(?<=value: )(?!['\"\0]).+", re.DOTALL)  # BigQuery

# Parts of the query itself: what a template filled in may be a cell, too.
_FROM_LINE_ON = re.compile(r"^LINE \d+:.*'.*", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^LINE \d+:.*'.*\n?(?: *\^ *(?:\n|\Z))?", re.MULTILINE)
_NEAR = re.compile(r"near '(?P<sql>.*)' at line", re.DOTALL)  # MySQL and MariaDB
_LITERAL = re.compile(r"(?<!\w)'(?:.*'|.*)")


def without_cells(message: str) -> str:
    """A message that may quote cells, with stars in their place."""
    kept: list[str] = []

    def keep(name: re.Match[str]) -> str:
        kept.append(name[0])
        return f"\0{len(kept) - 1}\0"

    text = _FROM_LINE_ON.sub("", message.replace("\0", ""))
    text = _IN_BRACKETS.sub(rf"\1({_HIDDEN})", text)
    text = _NAME.sub(keep, _without_sql(text, keep))
    text = _QUOTED.sub(rf"\1{_HIDDEN}\1", text)
    text = _LEFT_OPEN.sub(_HIDDEN, text)
    text = _AFTER_COLON.sub(_HIDDEN, text)
    return re.sub(r"\0(\d+)\0", lambda index: kept[int(index[1])], text)


def without_literals(message: str, *, names_in_quotes: bool) -> str:
    """A message about the query, not about cells, without what may be one in the parts of the query that it repeats.

    :param names_in_quotes: whether single quotes are put around names, too, or around literals only.
    """
    text = _without_sql(_LINE.sub("", message), lambda near: near[0])
    return text if names_in_quotes else _LITERAL.sub(f"'{_HIDDEN}'", text)


def _without_sql(message: str, keep: Callable[[re.Match[str]], str]) -> str:
    return _NEAR.sub(
        lambda near: f"near '{_HIDDEN}' at line" if re.search("['\"]", near["sql"]) else keep(near),
        message,
    )
