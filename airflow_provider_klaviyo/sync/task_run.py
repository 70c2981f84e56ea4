"""Which run of which task a sync is."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.owner import Claim, Task


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One try of one task instance.

    :param due: what the run is of: the end of its data interval, in seconds since the epoch.
    :param map_index: which instance of a mapped task; -1 for a task that is not mapped.
    """

    task: Task
    run_id: str
    due: float
    map_index: int = -1
    try_number: int = 1

    def claim(self, state_key: str | None, *, is_alone: bool) -> Claim:
        """What gives the run its state: ``state_key``, or the Dag's id and the task's.

        :param is_alone: whether no other task instance of the Dag run may use it.
        :raises KlaviyoConfigurationError: when a mapped task names no shard.
        """
        if state_key is None and self.map_index >= 0:
            msg = (
                f"The mapped task {self.task.task_id} keeps state, and all its instances would share it: name the "
                'shard in state_key, such as state_key="vip-{{ region }}".'
            )
            raise KlaviyoConfigurationError(msg)
        return Claim(self.task, self.run_id, self.map_index, state_key, is_alone)

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
