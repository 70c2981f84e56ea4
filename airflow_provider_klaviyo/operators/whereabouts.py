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
