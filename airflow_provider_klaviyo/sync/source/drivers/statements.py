"""What a text holds, without a look into its database: how many statements, and whether they write."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_klaviyo.sync.source.query import QueryWrites, SeveralStatements


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a text tells quotes and comments from statements; ``nests`` says whether comments lie in comments."""

    quoted: re.Pattern[str]
    nests: bool = False


_STANDARD = re.compile(r"""--[^\n]* | /\* | '[^']*' | "[^"]*" | `[^`]*`""", re.VERBOSE)
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
    "any": _Dialect(_STANDARD),
}
_BEGIN = r"(?:\A|;)[\s(]*"
_WRITES = re.compile(
    _BEGIN + r"(INSERT|UPDATE|DELETE|MERGE|REPLACE|UPSERT|TRUNCATE|CREATE|ALTER|DROP|GRANT|REVOKE)\b",
    re.IGNORECASE,
)
_WRITES_AFTER_WITH = re.compile(
    _BEGIN + r"WITH\b.*?[()]\s*(INSERT(?!\s*\()|UPDATE|DELETE|MERGE)\b", re.IGNORECASE | re.DOTALL
)  # INSERT(…) is a function of text
_MIGHT_WRITE = re.compile(_BEGIN + r"(CALL|EXEC|EXECUTE|DO|BEGIN|DECLARE)\b", re.IGNORECASE)
_COMMENT_MARK = re.compile(r"/\*|\*/")


def refuse_several_statements(sql: str, dialect: str) -> None:
    """For drivers that would run them all and read one of them: the others refuse by themselves.

    :param dialect: ``postgres`` or ``mysql``, how the text tells quotes and comments from statements.
    """
    if ";" in sql and re.search(r";\s*[^\s;]", without_quotes(sql, dialect)):
        message = "sql holds several statements; it must be one query."
        raise SeveralStatements(message)


def refuse_writing(sql: str, dialect: str) -> None:
    """For databases that cannot be told to only read; what functions write does not show in the text.

    :param dialect: as above, or ``any`` where it is not known: a procedure might do anything there.
    :raises QueryWrites: naming the word that says so.
    """
    text = without_quotes(sql, dialect)
    found = _WRITES.search(text) or _WRITES_AFTER_WITH.search(text)
    if not found and dialect == "any":
        found = _MIGHT_WRITE.search(text)
    if found:
        raise QueryWrites(found[1].upper())


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
