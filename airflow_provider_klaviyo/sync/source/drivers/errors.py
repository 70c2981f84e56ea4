"""What a driver says of an error, whatever the way in which it says it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_provider_klaviyo.masking import mask
from airflow_provider_klaviyo.sync.source.drivers.cells import without_cells, without_literals

# Classes of SQLSTATE that are about the query, the session or the server, and quote names, not cells: connection,
# feature, transaction, login, catalog, schema, syntax and names, resources, limits, state of objects, intervention.
# ODBC and MySQL give 42000 for much else.
_ABOUT_THE_QUERY = frozenset(("08", "0A", "25", "28", "3D", "3F", "42", "53", "54", "55", "57"))
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")


class Unread(Exception):
    """A driver broke off at a value that it cannot read.

    :param error: what the driver raised.
    :param advice: what to do about it.
    """

    def __init__(self, error: Exception, advice: str) -> None:
        super().__init__()
        self.error = error
        self.advice = advice


def words(error: Exception) -> str:
    """The driver's words, masked. Errors are raised ``from None``: a traceback would show the words as they are."""
    return mask(_message(error)) or type(error).__name__


def words_of_query(error: Exception) -> str:
    """The driver's words of a query that failed: names, its code and what to do stay, cells are masked."""
    if isinstance(error, Unread):
        return f"{words_of_query(error.error)}. {error.advice}"
    state = sqlstate(error)
    diagnosis = getattr(error, "diag", None)
    primary = getattr(diagnosis, "message_primary", None) or ""
    if state and state[:2] in _ABOUT_THE_QUERY and state != "42000":
        text = without_literals(_message(error), names_in_quotes=not primary)
    elif primary:  # details and context show rows
        hint = getattr(diagnosis, "message_hint", None)
        text = without_cells(primary) + (f" ({without_cells(hint)})" if hint else "")
    else:
        text = without_cells(_message(error))
    code = f"SQLSTATE {state}" if state else _number(error)
    return f"{mask(text) or type(error).__name__}{f' ({code})' if code and code not in text else ''}"


def is_write(error: Exception) -> bool:
    """Whether the database says that a statement would write where it may only read."""
    return (
        sqlstate(error) == "25006"
        or 1792 in error.args[:1]  # MySQL's and MariaDB's drivers
        or getattr(error, "sqlite_errorname", "").startswith("SQLITE_READONLY")
        or "launched in read-only mode" in str(error)  # DuckDB
    )


def sqlstate(error: Exception) -> str:
    """As psycopg, psycopg2, redshift_connector, ODBC and others name it; empty where the driver has none."""
    first = error.args[0] if error.args else None
    state = (
        getattr(error, "sqlstate", None)
        or getattr(error, "pgcode", None)
        or _server_fields(error).get("C")
        or first
    )
    return state if isinstance(state, str) and _SQLSTATE.fullmatch(state) else ""


def _number(error: Exception) -> str:
    """MySQL's, SQL Server's or Snowflake's number of an error."""
    numbers = (*error.args[:1], getattr(error, "errno", None))
    return next((f"error {number}" for number in numbers if isinstance(number, int)), "")


def _message(error: Exception) -> str:
    message = _server_fields(error).get("M") or next(
        (
            text
            for name in ("raw_msg", "msg", "message")
            if isinstance(text := getattr(error, name, None), str)
        ),
        None,
    )
    if not message and len(error.args) > 1 and (sqlstate(error) or isinstance(error.args[0], int)):
        message = error.args[1]  # code and message, as in MySQL's, SQL Server's and ODBC's drivers
    text = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message or error)
    return text.strip()


def _server_fields(error: Exception) -> Mapping[str, object]:
    """What redshift_connector has instead of words: the fields of PostgreSQL's error message, by their letters."""
    fields = error.args[0] if error.args else None
    return fields if isinstance(fields, dict) else {}
