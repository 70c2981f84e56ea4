"""Which run of which task a sync is."""

from __future__ import annotations

import math
import os
import socket
from dataclasses import dataclass

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.owner import SHARD_KEY, Claim, Task


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One try of one task instance.

    :param due: what the run is of: the end of its data interval, in seconds since the epoch.
    :param reads_now: whether the query is the same whatever the run is of, so that it reads what there is now.
    :param map_index: which instance of a mapped task; -1 for a task that is not mapped.
    """

    task: Task
    run_id: str
    due: float
    map_index: int = -1
    try_number: int = 1
    reads_now: bool = False

    @property
    def name(self) -> str:
        """What all tries of the run have in common."""
        return self.run_id if self.map_index < 0 else f"{self.run_id}[{self.map_index}]"

    @property
    def as_of(self) -> float:
        """The moment that the rows are of, in seconds since the epoch; endless where that is now, whenever that is."""
        return math.inf if self.reads_now else self.due

    def claim(self, state_key: str | None, *, is_alone: bool) -> Claim:
        """What gives the run its state: ``state_key``, or the Dag's id and the task's.

        :param is_alone: whether no other task instance of the Dag run may use it.
        :raises KlaviyoConfigurationError: when a mapped task names no shard.
        """
        if state_key is None and self.map_index >= 0:
            msg = (
                f"The mapped task {self.task.task_id} keeps state, and all its instances would share it: name the "
                f"shard in state_key, such as {SHARD_KEY}."
            )
            raise KlaviyoConfigurationError(msg)
        return Claim(self.task, self.run_id, self.map_index, state_key, is_alone)

    @property
    def told(self) -> dict[str, object]:
        """As reports name it."""
        return {
            "dag_id": self.task.dag_id,
            "task_id": self.task.task_id,
            "run_id": self.run_id,
            "map_index": self.map_index,
            "try_number": self.try_number,
        }

    @property
    def holder(self) -> Holder:
        """Who holds a lock that this process takes."""
        return Holder(
            dag_id=self.task.dag_id,
            task_id=self.task.task_id,
            run_id=self.run_id,
            map_index=self.map_index,
            try_number=self.try_number,
            host=socket.gethostname(),
            pid=os.getpid(),
        )
