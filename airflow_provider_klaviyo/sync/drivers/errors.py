"""What a driver says of an error, whatever the way in which it says it."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_klaviyo.exceptions import mask


def words(error: Exception) -> str:
    """The driver's words, masked. Errors are raised ``from None``: a traceback would show the words as they are."""
    fields = _server_fields(error)
    return mask(str(fields.get("M") or error).strip()) or type(error).__name__


def is_write(error: Exception) -> bool:
    """Whether the database says that a statement would write where it may only read."""
    return (
        sqlstate(error) == "25006"
        or 1792 in error.args[:1]  # MySQL's and MariaDB's drivers
        or getattr(error, "sqlite_errorname", "").startswith("SQLITE_READONLY")
    )


def sqlstate(error: Exception) -> object:
    """As psycopg, psycopg2 and redshift_connector name it."""
    return (
        getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or _server_fields(error).get("C")
    )


def _server_fields(error: Exception) -> Mapping[str, object]:
    """What redshift_connector has instead of words: the fields of PostgreSQL's error message, by their letters."""
    fields = error.args[0] if error.args else None
    return fields if isinstance(fields, dict) else {}
