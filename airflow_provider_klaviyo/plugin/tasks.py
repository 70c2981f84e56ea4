"""What Airflow knows of a task instance, for the words about one that has no report."""

from __future__ import annotations

import logging
from typing import NamedTuple

from airflow_provider_klaviyo.plugin.shelf import Address

log = logging.getLogger(__name__)


class Known(NamedTuple):
    """What Airflow knows; ``ended`` is in seconds since the epoch."""

    operator: str
    state: str
    ended: float | None

    @property
    def is_sync(self) -> bool:
        """Whether its operator is one of this package's, by its name; an unknown one may be."""
        return not self.operator or "klaviyo" in self.operator.casefold()


def look_up(address: Address) -> Known | None:
    """The task instance; None where Airflow has none of that address, or cannot be asked."""
    try:
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        query = select(TaskInstance.operator, TaskInstance.state, TaskInstance.end_date).where(
            TaskInstance.dag_id == address.dag_id,
            TaskInstance.run_id == address.run_id,
            TaskInstance.task_id == address.task_id,
            TaskInstance.map_index == address.map_index,
        )
        with create_session() as session:
            found = session.execute(query).first()
    except Exception as error:  # what Airflow's models are is its own affair: the page goes without
        log.warning("Airflow could not be asked for a task instance: %s", error)
        return None
    if found is None:
        return None
    operator, state, ended = found
    return Known(str(operator or ""), str(state or ""), ended.timestamp() if ended else None)
