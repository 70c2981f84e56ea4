"""The parameters that all sync operators share, read once their templates are rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_klaviyo import parameters
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.literals import ChecksLiterals, Reader
from airflow_provider_klaviyo.operators.whereabouts import is_backfill
from airflow_provider_klaviyo.parameters import flag, not_negative, positive, text
from airflow_provider_klaviyo.sync.options import SyncOptions
from airflow_provider_klaviyo.sync.source.query import Query

READERS: Mapping[str, Reader] = {
    "sql": parameters.query,
    "parameters": parameters.query_parameters,
    "sql_hook_params": parameters.mapping_or_none,
    "read_only": flag,
    "mapping": parameters.mapping_of_text,
    "match_by": text,
    "primary_key": parameters.names,
    "only_changes": flag,
    "full_refresh": flag,
    "allow_older_run": flag,
    "state_key": text,
    "phone_region": text,
    "timezone": parameters.zone,
    "on_invalid": parameters.one_of("drop_field", "reject"),
    "max_rejected": parameters.rows_or_share,
    "preview": flag,
    "wait_for_completion": flag,
    "poll_interval": positive,
    "timeout": positive,
    "lock_timeout": parameters.or_none(not_negative),
    "deferrable": flag,
    "defer_after": not_negative,
}
"""How each parameter of ``KlaviyoSyncOperator`` is read, and what is wrong with it told."""

OF_QUERY = ("sql", "sql_conn_id", "parameters", "sql_hook_params", "read_only")
"""The parameters that say which rows are read."""


def changes_need_a_key(primary_key: Sequence[str], *, only_changes: bool) -> None:
    """Check that rows can be told from each other.

    :raises KlaviyoConfigurationError: when they cannot.
    """
    if only_changes and not primary_key:
        msg = "only_changes=True needs primary_key: the column or columns that identify a row."
        raise KlaviyoConfigurationError(msg)


def read_options(operator: ChecksLiterals, context: Mapping[str, Any] | None = None) -> SyncOptions:
    """Read a sync operator, and what it must know of its Dag run.

    :raises KlaviyoConfigurationError: for a parameter that cannot work; the message names it.
    """
    read = operator.read
    operator.check_rules()
    return SyncOptions(
        mapping=read("mapping"),
        match_by=read("match_by"),
        primary_key=read("primary_key"),
        only_changes=read("only_changes"),
        full_refresh=read("full_refresh"),
        allow_older_run=read("allow_older_run"),
        state_key=read("state_key"),
        phone_region=read("phone_region"),
        timezone=read("timezone"),
        names_timezone=text("timezone", getattr(operator, "timezone", None)) is not None,
        drops_invalid=read("on_invalid") == "drop_field",
        max_rejected=read("max_rejected"),
        is_preview=read("preview"),
        waits=read("wait_for_completion"),
        poll_interval=read("poll_interval"),
        timeout=read("timeout"),
        is_deferrable=read("deferrable"),
        defer_after=read("defer_after"),
        is_backfill_run=is_backfill((context or {}).get("dag_run")),
    )


def read_query(operator: ChecksLiterals, options: SyncOptions) -> Query:
    """Read the query of a sync operator.

    :raises KlaviyoConfigurationError: for a parameter that cannot work; the message names it.
    """
    read = operator.read
    return Query(
        read("sql"),
        read("parameters"),
        read("read_only"),
        options.timezone,
        conn_id=getattr(operator, "sql_conn_id", ""),
    )
