"""How many statements a text holds, for drivers that would run more than one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_klaviyo.sync.query import SeveralStatements


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a text tells quotes and comments from statements; ``nests`` says whether comments lie in comments."""

    quoted: re.Pattern[str]
    nests: bool = False


_DIALECTS = {
    "postgres": _Dialect(
        re.compile(
            r"""--[^\n]* | /\* | (?<!\w)[eE]'(?:[^'\\]|\\.)*' | '[^']*' | "[^"]*" | (?<!\w)(\$\w*\$).*?\1""",
            re.DOTALL | re.VERBOSE,
        ),
        nests=True,
    ),
    "mysql": _Dialect(
        re.compile(
            r"""--(?=\s)[^\n]* | \#[^\n]* | /\* | '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `[^`]*`""",
            re.DOTALL | re.VERBOSE,
        )
    ),
}
_COMMENT_MARK = re.compile(r"/\*|\*/")


def refuse_several_statements(sql: str, dialect: str) -> None:
    """For drivers that would run them all and read one of them: the others refuse by themselves.

    :param dialect: ``postgres`` or ``mysql``: how the text tells quotes and comments from statements.
    """
    if ";" in sql and re.search(r";\s*[^\s;]", without_quotes(sql, dialect)):
        message = "sql holds several statements; it must be one query."
        raise SeveralStatements(message)


def without_quotes(sql: str, dialect: str) -> str:
    """The text with a blank in place of every comment and of everything that is quoted."""
    rules, kept, at = _DIALECTS[dialect], [], 0
    while quote := rules.quoted.search(sql, at):
        kept.append(sql[at : quote.start()])
        at = _end_of_comment(sql, quote.start(), nests=rules.nests) if quote[0] == "/*" else quote.end()
    return " ".join((*kept, sql[at:]))


def _end_of_comment(sql: str, start: int, *, nests: bool) -> int:
    """Where a comment ends; PostgreSQL counts those inside it, as the SQL standard says."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(sql, start):
        depth = depth - 1 if mark[0] == "*/" else depth + 1 if nests else 1
        if not depth:
            return mark.end()
    return len(sql)
