"""Placeholders of another style than the driver's, which databases call a syntax error at best."""

from __future__ import annotations

import re
import sys

from airflow_provider_klaviyo.sync.source.drivers.result import Connection
from airflow_provider_klaviyo.sync.source.drivers.statements import without_quotes
from airflow_provider_klaviyo.sync.source.query import Query

_SHOWN = {"qmark": "?", "named": ":name", "numeric": ":1", "format": "%s", "pyformat": "%(name)s or %s"}
"""How the DB-API's styles are written."""

_FAMILY = {"qmark": "?", "named": ":", "numeric": ":", "format": "%", "pyformat": "%"}
_PLACEHOLDERS = {
    "?": re.compile(r"\?"),
    ":": re.compile(r"(?<![:\w]):\w+"),  # a cast is ::text
    "%": re.compile(r"%s\b|%\(\w+\)s\b"),
}

_STYLES = {"sqlite3": ("qmark", "named"), "adbc_driver_manager": (), "databricks": ()}
"""Of drivers that take more than the one style that they name, or another one for each database."""


def advice_on_placeholders(connection: Connection, query: Query) -> str:
    """What to say of a query that failed, where all its placeholders are of a style that is not the driver's.

    :returns: nothing where they are not to blame: also where there are no parameters, and for unknown drivers.
    """
    driver, styles = _driver_and_styles(connection)
    if not (query.parameters and styles):
        return ""
    sql = without_quotes(query.sql, "any")
    families = {_FAMILY[style] for style in styles}
    if any(_PLACEHOLDERS[family].search(sql) for family in families):
        return ""
    others = (pattern.search(sql) for family, pattern in _PLACEHOLDERS.items() if family not in families)
    found = next((found for found in others if found), None)
    if not found:
        return ""
    taken = " or ".join(_SHOWN[style] for style in styles)
    return f"The SQL has the placeholder {found[0]}, and {driver} takes {taken}."


def _driver_and_styles(connection: Connection) -> tuple[str, tuple[str, ...]]:
    """The driver's module and the styles it takes, by the module of the connection's class or of a package above it."""
    for kind in connection.__class__.__mro__:
        name = kind.__module__
        while name:
            if name in _STYLES:
                return name, _STYLES[name]
            style = getattr(sys.modules.get(name), "paramstyle", None)
            if isinstance(style, str) and style in _SHOWN:
                return name, (style,)
            name = name.rpartition(".")[0]
    return "", ()
