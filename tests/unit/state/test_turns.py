"""Who goes first when several runs wait for one state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from airflow_provider_klaviyo.state.errors import StateLocked
from airflow_provider_klaviyo.state.holder import Holder, Whereabouts
from airflow_provider_klaviyo.state.lock import StateLock
from airflow_provider_klaviyo.state.stores import DiskStore
from airflow_provider_klaviyo.state.turns import Turns


@dataclass
class Run:
    lock: StateLock
    turns: Turns


@dataclass
class Tasks:
    """Task instances of one sync, whose data is of the day that they are named after."""

    folder: Path
    time: float = 1_000_000.0
    whereabouts: dict[str, Whereabouts] = field(default_factory=dict)
    locks: list[StateLock] = field(default_factory=list)

    def run(self, day: int) -> Run:
        store = DiskStore(self.folder)
        holder = Holder("shop", "sync", f"day {day}", -1, 1, "here", os.getpid())
        turns = Turns(
            store,
            holder,
            float(day),
            now=lambda: self.time,
            whereabouts=lambda other: self.whereabouts.get(other.run_id, Whereabouts.AT_WORK),
        )
        lock = StateLock(store, holder, now=lambda: self.time, turns=turns)
        self.locks.append(lock)
        return Run(lock, turns)

    @property
    def notes(self) -> list[str]:
        return [file.name for file in self.folder.glob("waiting-*")]


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Tasks]:
    made = Tasks(tmp_path / "state")
    yield made
    for lock in made.locks:
        lock.release()


def refused(run: Run) -> str:
    with pytest.raises(StateLocked) as told:
        run.lock.acquire()
    return str(told.value)


def test_the_oldest_of_those_that_wait_goes_first(tasks: Tasks) -> None:
    busy = tasks.run(1)
    busy.lock.acquire()
    for day in (4, 2, 3):
        assert "run day 1" in refused(tasks.run(day))
        tasks.run(day).turns.wait(60.0)
    busy.lock.release()

    assert "run day 2" in refused(tasks.run(4))
    assert "run day 2" in refused(tasks.run(3))
    assert "run day 2" in refused(tasks.run(5)), "whoever has just come waits too"
    second = tasks.run(2)
    second.lock.acquire()
    second.lock.release()
    assert "run day 3" in refused(tasks.run(4))
    for day in (3, 4):
        run = tasks.run(day)
        run.lock.acquire()
        run.lock.release()
    assert tasks.notes == []


def test_who_waits_is_told_since_when_however_often_it_has_looked(tasks: Tasks) -> None:
    tasks.run(1).turns.wait(60.0)
    tasks.time += 50
    tasks.run(1).turns.wait(60.0)
    tasks.time += 50
    assert "waits since 1970-01-12T13:46:40Z" in refused(tasks.run(2))


def test_who_does_not_come_again_in_time_is_not_waited_for(tasks: Tasks) -> None:
    tasks.run(1).turns.wait(60.0)
    tasks.time += 61
    tasks.run(2).lock.acquire()
    assert tasks.notes == []


@pytest.mark.parametrize("where", [Whereabouts.ENDED, Whereabouts.NO_SUCH_RUN])
def test_who_was_marked_or_deleted_meanwhile_is_not_waited_for(tasks: Tasks, where: Whereabouts) -> None:
    tasks.run(1).turns.wait(60.0)
    tasks.whereabouts["day 1"] = where
    tasks.run(2).lock.acquire()
    assert tasks.notes == []


def test_a_task_that_has_the_lock_already_waits_for_nobody(tasks: Tasks) -> None:
    """As one that comes back from the triggerer."""
    tasks.run(2).lock.acquire()
    tasks.run(1).turns.wait(60.0)
    tasks.run(2).lock.acquire()


def test_a_damaged_note_keeps_nobody_waiting(tasks: Tasks) -> None:
    tasks.run(1).turns.wait(60.0)
    (note,) = tasks.folder.glob("waiting-*")
    note.write_text("{")
    tasks.run(2).lock.acquire()
    assert tasks.notes == []
    tasks.run(2).turns.wait(60.0)
