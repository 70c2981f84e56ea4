"""Who holds a lock, and what Airflow knows of that."""

from __future__ import annotations

from enum import Enum

import msgspec


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock: a try of a task, and the process that runs it."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    try_number: int
    host: str
    pid: int

    def __str__(self) -> str:
        mapped = f" [{self.map_index}]" if self.map_index >= 0 else ""
        return (
            f"{self.dag_id}.{self.task_id}{mapped}, run {self.run_id}, try {self.try_number} "
            f"(process {self.pid} on {self.host})"
        )

    def is_same_task(self, other: Holder) -> bool:
        """Whether both are of one task instance: Airflow never runs two tries of one at once."""
        return (self.dag_id, self.task_id, self.run_id, self.map_index) == (
            other.dag_id,
            other.task_id,
            other.run_id,
            other.map_index,
        )

    def is_beside(self, other: Holder) -> bool:
        """Whether both are instances of one mapped task in one Dag run, and not the same."""
        is_one_run = (self.dag_id, self.task_id, self.run_id) == (other.dag_id, other.task_id, other.run_id)
        return is_one_run and self.map_index != other.map_index


class Whereabouts(Enum):
    """What is known of the task instance of a holder; the values say it in words."""

    AT_WORK = "is at work"
    """It runs, waits in the triggerer, or is about to run again, when it takes over what its earlier tries had."""

    ENDED = "has ended"
    """No try of it is at work."""

    NO_SUCH_RUN = "is of no run that Airflow knows"
    """Airflow knows no such task instance, as after its run was deleted; or it is another Airflow's, or no task's."""

    UNKNOWN = "may be anywhere"
    """It cannot be asked for."""


def nobody_knows(holder: Holder) -> Whereabouts:  # noqa: ARG001 - as those that ask
    """Where nothing can be known of task instances: outside of Airflow."""
    return Whereabouts.UNKNOWN
