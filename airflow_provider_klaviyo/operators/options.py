"""The parameters that all sync operators share, read once their templates are rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from airflow_provider_klaviyo import parameters
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.sync.options import SyncOptions


class SyncParameters(Protocol):
    """What ``KlaviyoSyncOperator`` takes."""

    sql: str
    parameters: Mapping[str, Any] | Sequence[Any] | None
    sql_hook_params: Mapping[str, Any] | None
    read_only: bool | str
    mapping: Mapping[str, str] | None
    match_by: str | None
    primary_key: str | Sequence[str] | None
    only_changes: bool
    full_refresh: bool | str
    allow_older_run: bool | str
    state_key: str | None
    phone_region: str | None
    timezone: str | None
    on_invalid: str
    max_rejected: float
    preview: bool | str
    wait_for_completion: bool
    poll_interval: float
    timeout: float
    deferrable: bool


def read_options(operator: SyncParameters, context: Mapping[str, Any] | None = None) -> SyncOptions:
    """Read an operator, and what it must know of its Dag run.

    :raises KlaviyoConfigurationError: for a parameter that cannot work; the message names it.
    """
    flag, text = parameters.flag, parameters.text
    on_invalid = parameters.choice("on_invalid", operator.on_invalid, ("drop_field", "reject"))
    options = SyncOptions(
        sql=parameters.query(operator.sql),
        parameters=parameters.query_parameters(operator.parameters),
        sql_hook_params=parameters.mapping_or_none("sql_hook_params", operator.sql_hook_params) or {},
        reads_only=flag("read_only", operator.read_only),
        mapping=parameters.mapping_of_text("mapping", operator.mapping),
        match_by=text("match_by", operator.match_by),
        primary_key=parameters.names("primary_key", operator.primary_key),
        only_changes=flag("only_changes", operator.only_changes),
        full_refresh=flag("full_refresh", operator.full_refresh),
        allow_older_run=flag("allow_older_run", operator.allow_older_run),
        state_key=text("state_key", operator.state_key),
        phone_region=text("phone_region", operator.phone_region),
        timezone=parameters.zone(text("timezone", operator.timezone) or "UTC"),
        names_timezone=text("timezone", operator.timezone) is not None,
        drops_invalid=on_invalid == "drop_field",
        max_rejected=parameters.max_rejected(operator.max_rejected),
        is_preview=flag("preview", operator.preview),
        waits=flag("wait_for_completion", operator.wait_for_completion),
        poll_interval=parameters.positive("poll_interval", operator.poll_interval),
        timeout=parameters.positive("timeout", operator.timeout),
        is_deferrable=flag("deferrable", operator.deferrable),
        is_backfill_run=_is_backfill_run(context or {}),
    )
    if options.only_changes and not options.primary_key:
        msg = "only_changes=True needs primary_key: the column or columns that identify a row."
        raise KlaviyoConfigurationError(msg)
    return options


def _is_backfill_run(context: Mapping[str, Any]) -> bool:
    """Whether ``airflow backfill create`` made this Dag run."""
    run_type = getattr(context.get("dag_run"), "run_type", "")
    return str(getattr(run_type, "value", run_type)) == "backfill"
