"""What a run of a sync needs, as an Airflow task has it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_klaviyo._compat import AirflowException
from airflow_provider_klaviyo.connection import find_connection
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.links.klaviyo import push_list_link
from airflow_provider_klaviyo.masking import mask
from airflow_provider_klaviyo.operators.whereabouts import older_run_to_come, whereabouts
from airflow_provider_klaviyo.state.owner import Task
from airflow_provider_klaviyo.storage import keep_seconds, state_problem, storage_path
from airflow_provider_klaviyo.sync.environment import Environment
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_klaviyo.client.clock import Clock
    from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
    from airflow_provider_klaviyo.sync.source.source import Source

log = logging.getLogger(__name__)

_OF_DAG_RUN = ("data_interval_end", "logical_date", "run_after", "start_date")
"""What a run is of, the first that is there. When it started comes last: that is new when an old run is cleared."""


def environment_of(
    context: Context,
    klaviyo: KlaviyoHook,
    open_source: Callable[[], Source],
    *,
    stop: Callable[[], bool],
    has_list_link: bool,
    comes_again: float,
    reads_now: bool,
    notice: str,
) -> Environment:
    """Where a task runs.

    :param open_source: as ``Environment`` takes it.
    :param has_list_link: whether the operator shows a link to its list, also while there is none.
    :param comes_again: as ``Environment`` takes it.
    :param reads_now: as ``TaskRun`` takes it.
    """
    ti = context["ti"]

    def show_list(list_id: str | None) -> None:
        if list_id or has_list_link:
            push_list_link(ti, list_id)

    return Environment(
        run=replace(task_run_of(context, due(context, klaviyo.clock)), reads_now=reads_now),
        storage=Storage(storage_path()),
        klaviyo=klaviyo,
        open_source=open_source,
        stop=stop,
        show_list=show_list,
        notice=notice,
        keep_seconds=keep_seconds(),
        state_problem=state_problem(),
        has_run_before=lambda: _has_run_before(context),
        comes_again=comes_again,
        whereabouts=lambda holder: whereabouts(ti, holder),
        older_run=lambda: older_run_to_come(ti, context.get("dag_run")),
        clock=klaviyo.clock,
    )


def task_run_of(context: Context, due: float = 0.0) -> TaskRun:
    """Which run of which task it is."""
    ti = context["ti"]
    return TaskRun(
        task=Task(ti.dag_id, ti.task_id),
        run_id=ti.run_id,
        due=due,
        map_index=-1 if ti.map_index is None else int(ti.map_index),
        try_number=ti.try_number,
    )


def due(context: Context, clock: Clock) -> float:
    """The end of a run's data interval, else when it was due, else now; in seconds since the epoch."""
    given: Mapping[str, Any] = context
    dag_run = given.get("dag_run")
    known = (given.get("data_interval_end"), *(getattr(dag_run, name, None) for name in _OF_DAG_RUN))
    timestamp = next((each for each in known if each is not None), None)
    return float(timestamp.timestamp()) if timestamp else clock.now()


def sql_hook(conn_id: str, hook_params: Mapping[str, Any]) -> Any:
    """The ``DbApiHook`` of a connection.

    :raises KlaviyoConfigurationError: when its hook cannot be made, or is none of a SQL database.
    :raises KlaviyoError: when there is none.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    connection = find_connection(conn_id, "sql_conn_id")
    try:
        hook = connection.get_hook(hook_params=dict(hook_params))  # type: ignore[no-untyped-call]
    except (AirflowException, ImportError, TypeError) as error:
        msg = f"sql_conn_id={conn_id!r}: its hook cannot be made: {mask(str(error))}"
        raise KlaviyoConfigurationError(msg) from error
    if not isinstance(hook, DbApiHook):
        msg = (
            f"sql_conn_id={conn_id!r} is a connection of type {connection.conn_type!r}, "
            "which is no SQL database: its hook is not a DbApiHook."
        )
        raise KlaviyoConfigurationError(msg)
    return hook


def _has_run_before(context: Context) -> bool:
    lookup: Callable[[str], Any] = context.get
    try:
        return bool(lookup("prev_start_date_success"))  # a proxy, which is never None itself
    except Exception:  # Airflow asks its API server for it
        log.debug("The last successful run of the Dag is not known.", exc_info=True)
        return False
