"""What Airflow says of another task instance; a worker of Airflow 3 has no database, and asks the API server."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_klaviyo.state.holder import Holder, Whereabouts

log = logging.getLogger(__name__)

_ENDED = {None, "success", "failed", "skipped", "removed", "upstream_failed", "up_for_retry"}
"""The states in which no try of a task instance is at work. Without a state it was cleared: it begins anew, and what
was deferred does not come back. A word that is not known here counts as at work."""


_OVER = {"success", "failed", "skipped", "removed", "upstream_failed"}
"""The states of a task instance that nobody runs any more; one without a state is still to come."""


def older_run_to_come(ti: Any, dag_run: Any) -> str:
    """The id of the Dag's last older run whose instance of this task is not over; empty where there is none.

    Of runs that are queued only those of a backfill count, and not for others of one: any other might be queued
    because this run is one too many beside it (``max_active_runs``), and each would wait for the other.

    :param ti: the task instance that asks.
    :param dag_run: its run.
    """
    try:
        for state in ("running", "queued"):
            run = ti.get_previous_dagrun(state=state)
            if run and state == "queued" and (is_backfill(dag_run) or not is_backfill(run)):
                continue
            if run and _is_to_come(ti, run.run_id):
                return str(run.run_id)
    except Exception as error:
        log.warning("Airflow does not say whether an older run is still to come: %s", error)
    return ""


def is_backfill(dag_run: Any) -> bool:
    """Whether ``airflow backfill create`` made a Dag run."""
    run_type = getattr(dag_run, "run_type", "")
    return str(getattr(run_type, "value", run_type)) == "backfill"


def _is_to_come(ti: Any, run_id: str) -> bool:
    is_mapped = ti.map_index is not None and ti.map_index >= 0
    found: Mapping[str, Mapping[str, object]] = ti.get_task_states(
        dag_id=ti.dag_id,
        task_ids=[ti.task_id],
        run_ids=[run_id],
        map_index=ti.map_index if is_mapped else None,
    )
    states = found.get(run_id, {})
    name = f"{ti.task_id}_{ti.map_index}" if is_mapped else ti.task_id
    return name in states and str(states[name]) not in _OVER


def whereabouts(ti: Any, holder: Holder) -> Whereabouts:
    """Ask Airflow what became of a task instance.

    :param ti: the task instance that asks.
    """
    try:
        found: Mapping[str, Mapping[str, object]] = ti.get_task_states(
            dag_id=holder.dag_id,
            task_ids=[holder.task_id],
            run_ids=[holder.run_id],
            map_index=holder.map_index if holder.map_index >= 0 else None,
        )
        states = found.get(holder.run_id, {})
        name = holder.task_id if holder.map_index < 0 else f"{holder.task_id}_{holder.map_index}"
        if name not in states:
            return Whereabouts.NO_SUCH_RUN
        state = states[name]
    except Exception as error:
        log.warning("Airflow does not say what became of %s: %s", holder, error)
        return Whereabouts.UNKNOWN
    return Whereabouts.ENDED if (state and str(state)) in _ENDED else Whereabouts.AT_WORK
