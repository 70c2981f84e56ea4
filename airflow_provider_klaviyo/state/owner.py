"""Whose a state is: one task's by its default name, or of all who give its name as ``state_key``.

Ids may have dots, so two tasks may have one default name: ``eu.vip`` of the Dag ``crm``, and ``vip`` of ``crm.eu``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_provider_klaviyo.state.errors import StateOfAnotherTask

BELONGS_TO = "belongs to"
"""The part of a state's target that says whose it is; former releases wrote none."""

ANYBODY = "whoever gives this state_key"

SHARD_KEY = 'state_key="vip-{{ task.parameters.shard }}"'
"""How a mapped task names its shard: by what is expanded, as its instance has it."""


class Task(NamedTuple):
    """A task of a Dag."""

    dag_id: str
    task_id: str

    def __str__(self) -> str:
        return f"Dag {self.dag_id}, task {self.task_id}"

    @property
    def default_key(self) -> str:
        """The name of its state, where it gives none."""
        return f"{self.dag_id}.{self.task_id}"


@dataclass(frozen=True, slots=True)
class Claim:
    """By what right a run uses a state: the task instance that it is, and the ``state_key`` where one is given.

    :param is_alone: whether no other task instance of the Dag run may use it, since each would undo what others do.
    """

    task: Task
    run_id: str
    map_index: int
    given_key: str | None
    is_alone: bool = False

    @property
    def state_key(self) -> str:
        """The name of the state."""
        return self.given_key or self.task.default_key

    @property
    def owner(self) -> str:
        """Whose the state is from now on."""
        return ANYBODY if self.given_key else str(self.task)

    def check(self, owner: str | None, runs: Sequence[Mapping[str, Any]]) -> None:
        """Make sure that a state is not another's.

        :param owner: whose it is by its target; None for one of a former release, which is its last run's.
        :param runs: those that it remembers.
        :raises StateOfAnotherTask: naming both, and what to do.
        """
        last = _task_of(runs[-1]) if runs else None
        if self._is_ours(owner, last):
            self._check_alone(runs)
            return
        whose = f"{owner} (the last: {last or 'unknown'})" if owner == ANYBODY else owner or str(last)
        what_to_do = "Give this sync a state_key of its own."
        if self.given_key:
            what_to_do = (
                "Choose another state_key; or, if that task or its Dag was renamed and this sync is to go on with its "
                f"state, run: python -m airflow_provider_klaviyo state release {self.given_key}"
            )
        shown = f"The state {self.state_key!r} belongs to {whose}; this run is of {self.task}."
        msg = f"{shown} Nothing was sent. {what_to_do}"
        raise StateOfAnotherTask(msg)

    def _is_ours(self, owner: str | None, last: Task | None) -> bool:
        if owner == ANYBODY:
            return self.given_key is not None or last == self.task
        if owner is not None:
            return owner == str(self.task)
        was_given = last is not None and last.default_key != self.state_key
        return last in (None, self.task) or (self.given_key is not None and was_given)

    def _check_alone(self, runs: Sequence[Mapping[str, Any]]) -> None:
        for run in runs if self.is_alone else ():
            task, map_index = _task_of(run), run.get("map_index", self.map_index)
            is_of_run = task and (task.dag_id, run["run"]) == (self.task.dag_id, self.run_id)
            if is_of_run and (task, map_index) != (self.task, self.map_index):
                msg = (
                    f"{_instance(task, map_index)} has used the state {self.state_key!r} in this very run, and so does "
                    f"{_instance(self.task, self.map_index)}: each would undo what the other does. Nothing was sent. "
                    f"Give each a state_key of its own, such as {SHARD_KEY}."
                )
                raise StateOfAnotherTask(msg)

    def shared_with(self, runs: Sequence[Mapping[str, Any]]) -> Task | None:
        """The task whose run was the last one, where that is another.

        :param runs: those that the state remembers, oldest first.
        """
        last = _task_of(runs[-1]) if runs else None
        return None if last == self.task else last


def _instance(task: Task | None, map_index: int) -> str:
    return f"{task} [{map_index}]" if map_index >= 0 else str(task)


def _task_of(run: Mapping[str, Any]) -> Task | None:
    """The task of a run, by the folders of its report, which every release has named after Dag and task."""
    folders = str(run.get("report_path") or "").split("/")[-3:-1]
    return Task(*folders) if len(folders) == 2 else None
