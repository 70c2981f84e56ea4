"""The connection type ``klaviyo``: its form, and what its fields mean.

One table serves the form of every supported Airflow version, the documentation and the reading of the fields.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_klaviyo.client.config import BASE_URL, REVISION, KlaviyoConfig, connection_named
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoError

if TYPE_CHECKING:
    from airflow.sdk import Connection


CONN_TYPE = "klaviyo"


@dataclass(frozen=True, slots=True)
class ExtraField:
    """A field in the extra of the connection, as the form shows it (JSON schema)."""

    name: str
    label: str
    description: str
    schema: Mapping[str, object]

    @property
    def as_conn_field(self) -> dict[str, object]:
        """The field in the words of Airflow's provider schema."""
        return {"label": self.label, "description": self.description, "schema": dict(self.schema)}


EXTRA_FIELDS = (
    ExtraField(
        "account_id",
        "Account ID",
        "Six characters, from Klaviyo's account settings. If set, the connection refuses a key of another account.",
        {"type": ["string", "null"]},
    ),
    ExtraField(
        "rate_limit_share",
        "Rate limit share",
        "Part of the account's quota that this connection may use, above 0 and up to 1 (default 0.9): "
        "other integrations draw on the same quota.",
        {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    ),
    ExtraField(
        "rate_limit_conn_id",
        "Rate limit connection",
        "Id of a redis connection, so that all hosts share the limits. Empty: the processes of each host share them.",
        {"type": ["string", "null"]},
    ),
    ExtraField(
        "timeout",
        "Timeout (seconds)",
        "How long one request may take (default 60).",
        {"type": ["number", "null"], "minimum": 1},
    ),
    ExtraField(
        "revision",
        "API revision",
        f"Date of Klaviyo's API revision (default {REVISION}, which this package is written for).",
        {"type": ["string", "null"], "pattern": r"^\d{4}-\d{2}-\d{2}(\.\w+)?$"},
    ),
)

# The port stays: without one, the Test button of Airflow 3.3.1 and 3.3.2 answers "Bad Request" (fixed by its PR 73298).
HIDDEN_FIELDS = ("schema", "login", "extra")
RELABELING = {"password": "Private API key", "host": "Base URL"}
PLACEHOLDERS = {
    "password": "pk_…",
    "host": BASE_URL,
    "port": "type 443: the Test button of Airflow 3.3 needs it",
}


def find_connection(conn_id: str, parameter: str) -> Connection:
    """Airflow's connection of an id.

    :param parameter: what names it, for the message.
    :raises KlaviyoConfigurationError: when the variable that should hold it is malformed.
    :raises KlaviyoError: when Airflow has none, which a secrets backend that fails makes it say, too: a retry may find
        it. Airflow's own error is the cause.
    """
    from airflow.sdk import BaseHook

    from airflow_provider_klaviyo._compat import AirflowNotFoundException

    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        variable = f"AIRFLOW_CONN_{conn_id.upper()}"
        if variable in os.environ:
            msg = (
                f"{parameter}={conn_id!r}: {variable} is set, but Airflow can read no connection from it. Check its "
                "JSON, or its URI."
            )
            raise KlaviyoConfigurationError(msg) from error
        msg = (
            f"{parameter}={conn_id!r}: Airflow has no connection of this id. Create it in Airflow (Admin > "
            f"Connections), or set {variable} where tasks run. If it is in a secrets backend, that may not "
            "have answered."
        )
        raise KlaviyoError(msg) from error


def config_of(connection: Connection, *, is_named: bool = True) -> KlaviyoConfig:
    """The client's settings from a connection.

    :param is_named: whether messages are to name the connection.
    :raises KlaviyoConfigurationError: for another type, or a field that cannot work; the message names it.
    """
    if connection.conn_type != CONN_TYPE:  # whose password is another service's secret
        msg = (
            f"klaviyo_conn_id={connection.conn_id!r} is a connection of type {connection.conn_type or ''!r}, not "
            f"{CONN_TYPE!r}, so its password is not sent as a key. Name one of type {CONN_TYPE}, or correct the type: "
            f'"conn_type": "{CONN_TYPE}" in JSON, {CONN_TYPE}:// in a URI.'
        )
        raise KlaviyoConfigurationError(msg)
    conn_id = connection.conn_id if is_named else ""
    where = connection_named(conn_id)
    extra = connection.extra_dejson
    unknown = set(extra) - {field.name for field in EXTRA_FIELDS}
    if unknown:
        known = ", ".join(field.name for field in EXTRA_FIELDS)
        found = ", ".join(sorted(unknown))
        msg = f"In {where} are unknown extra fields: {found}. Known: {known}."
        raise KlaviyoConfigurationError(msg)
    return KlaviyoConfig(
        api_key=(connection.password or "").strip(),
        base_url=_base_url(connection),
        revision=_text(extra, "revision") or REVISION,
        account_id=_account_id(extra, where) or None,
        timeout=_number(extra, "timeout", 60.0, where),
        rate_limit_share=_number(extra, "rate_limit_share", 0.9, where),
        conn_id=conn_id,
    )


def rate_limit_conn_id(connection: Connection) -> str:
    """The id of the ``redis`` connection that shares the limits among hosts; empty for none."""
    return _text(connection.extra_dejson, "rate_limit_conn_id")


def _base_url(connection: Connection) -> str:
    """The host; a connection made from a URI has scheme and port in fields of their own."""
    host = (connection.host or "").strip().rstrip("/")
    if not host:
        return BASE_URL
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    return f"{url}:{connection.port}" if connection.port and not _has_port(url) else url


def _has_port(url: str) -> bool:
    try:
        return urlsplit(url).port is not None
    except ValueError:  # the URL is checked where it is used
        return True


def _text(extra: Mapping[str, Any], name: str) -> str:
    value = extra.get(name)
    return "" if value is None else str(value).strip()


def _account_id(extra: Mapping[str, Any], where: str) -> str:
    if isinstance(extra.get("account_id"), float):  # Airflow 3.1 takes "38e848" in a URI for a number
        msg = (
            f"In {where}, account_id has come as a number, so it cannot be told which account it was: Airflow "
            "reads the extras of a connection's URI as numbers where it can. Write the connection as JSON."
        )
        raise KlaviyoConfigurationError(msg)
    return _text(extra, "account_id")


def _number(extra: Mapping[str, Any], name: str, default: float, where: str) -> float:
    text = _text(extra, name)
    try:
        return float(text) if text else default
    except ValueError:
        msg = f"In {where}, {name} must be a number, not {text!r}."
        raise KlaviyoConfigurationError(msg) from None
