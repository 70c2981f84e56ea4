"""How many statements a text holds, for drivers that would run more than one."""

from __future__ import annotations

import re

from airflow_provider_klaviyo.sync.query import SeveralStatements

_QUOTED = {
    "postgres": re.compile(
        r"""--[^\n]* | /\*.*?\*/ | (?<!\w)[eE]'(?:[^'\\]|\\.)*' | '[^']*' | "[^"]*" | (?<!\w)(\$\w*\$).*?\1""",
        re.DOTALL | re.VERBOSE,
    ),
    "mysql": re.compile(
        r"""--\s[^\n]* | \#[^\n]* | /\*.*?\*/ | '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `[^`]*`""",
        re.DOTALL | re.VERBOSE,
    ),
}


def refuse_several_statements(sql: str, dialect: str) -> None:
    """For drivers that would run them all and read one of them: the others refuse by themselves.

    :param dialect: ``postgres`` or ``mysql``: how the text tells quotes and comments from statements.
    """
    if ";" in sql and re.search(r";\s*[^\s;]", _QUOTED[dialect].sub(" ", sql)):
        message = "sql holds several statements; it must be one query."
        raise SeveralStatements(message)
