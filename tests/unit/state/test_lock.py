"""Who may run, and what the other is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from airflow_provider_klaviyo.state.errors import StateLocked
from airflow_provider_klaviyo.state.lock import LIFETIME, LOCK, Holder, StateLock
from airflow_provider_klaviyo.state.stores import store_of

NOBODY = 2**22 + 1
"""No process has this number: it is beyond the largest that Linux gives."""


@dataclass
class Tasks:
    path: Path
    time: float = 1_000_000.0
    locks: list[StateLock] = field(default_factory=list)

    def lock(self, run: str = "monday", attempt: int = 1, host: str = "here", pid: int = 0) -> StateLock:
        holder = Holder("shop", "sync", run, -1, attempt, host, pid or os.getpid())
        made = StateLock(store_of(self.path.parent), holder, now=lambda: self.time)
        self.locks.append(made)
        return made


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Tasks]:
    made = Tasks(tmp_path / "state" / LOCK)
    yield made
    for lock in made.locks:
        lock.release()


def test_a_second_run_is_told_who_is_at_it_since_when_and_what_to_do(tasks: Tasks) -> None:
    tasks.lock("monday").acquire()
    with pytest.raises(StateLocked) as told:
        tasks.lock("tuesday").acquire()
    for part in ("shop.sync, run monday, try 1", "since 1970-01-12", "its lock ends at", "max_active_runs=1"):
        assert part in str(told.value)


def test_a_lock_that_was_released_is_free(tasks: Tasks) -> None:
    first = tasks.lock("monday")
    first.acquire()
    first.release()
    tasks.lock("tuesday").acquire()


def test_a_dead_machines_lock_ends_by_itself(tasks: Tasks) -> None:
    tasks.lock("monday", host="there", pid=NOBODY).acquire()
    tasks.time += LIFETIME - 1
    with pytest.raises(StateLocked):
        tasks.lock("tuesday").acquire()
    tasks.time += 2
    tasks.lock("tuesday").acquire()


def test_renewing_keeps_it(tasks: Tasks) -> None:
    first = tasks.lock("monday", host="there")
    first.acquire()
    for _ in range(5):
        tasks.time += LIFETIME - 1
        first.renew()
    with pytest.raises(StateLocked):
        tasks.lock("tuesday").acquire()


def test_a_dead_process_of_this_machine_holds_nothing(tasks: Tasks) -> None:
    tasks.lock("monday", pid=NOBODY).acquire()
    tasks.lock("tuesday").acquire()


def test_a_retry_never_waits_for_the_try_that_was_killed(tasks: Tasks) -> None:
    tasks.lock("monday", attempt=1, host="there").acquire()
    tasks.lock("monday", attempt=2, host="elsewhere").acquire()


def test_a_deferred_task_keeps_it_although_its_process_ends(tasks: Tasks) -> None:
    first = tasks.lock("monday", pid=NOBODY)
    first.acquire()
    first.hold_until(tasks.time + 3_600)
    first.release()
    tasks.time += 3_000
    with pytest.raises(StateLocked, match="waits in the triggerer"):
        tasks.lock("tuesday").acquire()
    tasks.lock("monday", host="another worker").acquire()


def test_releasing_leaves_a_lock_that_was_taken_over(tasks: Tasks) -> None:
    first, second = tasks.lock("monday", pid=NOBODY), tasks.lock("tuesday")
    first.acquire()
    second.acquire()
    first.release()
    with pytest.raises(StateLocked, match="run tuesday"):
        tasks.lock("wednesday").acquire()


def test_a_garbled_file_blocks_nobody(tasks: Tasks) -> None:
    tasks.path.parent.mkdir()
    tasks.path.write_bytes(b"{")
    tasks.lock("monday").acquire()
