"""Who may run, and what the other is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from airflow_provider_klaviyo.state import lock as state_lock
from airflow_provider_klaviyo.state.errors import StateConflict, StateLocked
from airflow_provider_klaviyo.state.holder import Holder, Whereabouts
from airflow_provider_klaviyo.state.lock import LOCK, StateLock
from airflow_provider_klaviyo.state.lock_note import LIFETIME
from airflow_provider_klaviyo.state.stores import DiskStore, store_of

NOBODY = 2**22 + 1
"""No process has this number: it is beyond the largest that Linux gives."""


@dataclass
class Tasks:
    path: Path
    time: float = 1_000_000.0
    locks: list[StateLock] = field(default_factory=list)
    whereabouts: Whereabouts = Whereabouts.UNKNOWN

    def lock(self, run: str = "monday", attempt: int = 1, host: str = "here", pid: int = 0) -> StateLock:
        holder = Holder("shop", "sync", run, -1, attempt, host, pid or os.getpid())
        made = StateLock(
            store_of(self.path.parent), holder, now=lambda: self.time, whereabouts=lambda _: self.whereabouts
        )
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
    for part in (
        "shop.sync, run monday, try 1",
        "since 1970-01-12",
        "its lock ends at",
        "max_active_tis_per_dag=1",
    ):
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


@pytest.fixture
def deferred(tasks: Tasks) -> StateLock:
    """A lock that is kept for a task in the triggerer."""
    lock = tasks.lock("monday", host="there", pid=NOBODY)
    lock.acquire()
    lock.hold_until(tasks.time + 21_600)
    lock.release()
    return lock


@pytest.mark.parametrize("known", [Whereabouts.ENDED, Whereabouts.NO_SUCH_RUN], ids=lambda known: known.name)
def test_a_deferred_task_that_does_not_come_back_holds_nothing(
    tasks: Tasks, deferred: StateLock, known: Whereabouts
) -> None:
    tasks.whereabouts = known
    lock = tasks.lock("tuesday")
    lock.acquire()
    assert lock.taken_from is not None
    assert lock.taken_from.run_id == "monday"


@pytest.mark.parametrize(
    ("known", "advice"),
    [
        (Whereabouts.AT_WORK, "mark that task instance as failed in Airflow"),
        (Whereabouts.UNKNOWN, "lock.json; then also delete the files"),
    ],
    ids=["waiting", "unknown"],
)
def test_a_deferred_task_that_may_come_back_keeps_it_and_the_message_says_how_to_end_that(
    tasks: Tasks, deferred: StateLock, known: Whereabouts, advice: str
) -> None:
    tasks.whereabouts = known
    with pytest.raises(StateLocked, match=advice):
        tasks.lock("tuesday").acquire()
    tasks.time += 21_601
    tasks.lock("tuesday").acquire()


def test_its_own_lock_is_nobody_elses(tasks: Tasks, deferred: StateLock) -> None:
    tasks.whereabouts = Whereabouts.AT_WORK
    lock = tasks.lock("monday", attempt=2)
    lock.acquire()
    assert lock.taken_from is None
    assert lock.left_by is None, "a task that is deferred writes nothing"


def test_a_machines_lock_ends_with_its_task(tasks: Tasks) -> None:
    tasks.lock("monday", host="there").acquire()
    tasks.whereabouts = Whereabouts.ENDED
    lock = tasks.lock("tuesday")
    lock.acquire()
    assert lock.taken_from is not None


def test_a_run_that_is_not_known_here_may_be_at_work_in_another_airflow(tasks: Tasks) -> None:
    tasks.lock("monday", host="there").acquire()
    tasks.whereabouts = Whereabouts.NO_SUCH_RUN
    with pytest.raises(StateLocked):
        tasks.lock("tuesday").acquire()


def test_what_is_not_whole_counts_as_a_lock_for_as_long_as_one_that_is(tasks: Tasks) -> None:
    tasks.path.parent.mkdir()
    tasks.path.write_bytes(b"{")
    tasks.time = tasks.path.stat().st_mtime + LIFETIME - 1
    with pytest.raises(StateLocked, match="is not whole"):
        tasks.lock("monday").acquire()
    tasks.time += 2
    tasks.lock("monday").acquire()


def test_what_may_not_be_read_is_not_taken_for_nothing(tasks: Tasks) -> None:
    tasks.path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        tasks.lock("monday").acquire()


@pytest.mark.parametrize("damage", ["torn", "unreadable"])
def test_a_lock_that_cannot_be_read_is_left_as_it_is_by_who_had_it(tasks: Tasks, damage: str) -> None:
    """It may be another's by now."""
    lock = tasks.lock("monday")
    lock.acquire()
    tasks.path.unlink()
    if damage == "torn":
        tasks.path.write_bytes(b"{")
    else:
        tasks.path.mkdir()
    assert not lock.keep()
    lock.release()
    assert tasks.path.exists()
    assert damage != "torn" or tasks.path.read_bytes() == b"{"


def test_who_finds_that_another_has_taken_over_keeps_nothing(tasks: Tasks) -> None:
    first, second = tasks.lock("monday", pid=NOBODY), tasks.lock("tuesday")
    first.acquire()
    assert first.keep()
    second.acquire()
    assert not first.keep()
    assert second.keep()


def test_a_lock_whose_file_is_gone_is_not_made_anew_and_its_run_is_told(tasks: Tasks) -> None:
    lock = tasks.lock("monday")
    lock.acquire()
    tasks.path.unlink()
    assert not lock.keep()
    assert "is gone" in lock.lost
    with pytest.raises(StateConflict, match="is gone"):
        lock.hold_until(tasks.time + 3_600)
    assert not tasks.path.exists()


def test_a_try_that_is_given_up_leaves_the_lock_of_the_next_one_alone(tasks: Tasks) -> None:
    orphan, retry = tasks.lock("monday"), tasks.lock("monday", attempt=2)
    orphan.acquire()
    retry.acquire()
    assert not orphan.keep()
    assert "a later try of this task has the state" in orphan.lost
    with pytest.raises(StateConflict):
        orphan.hold_until(tasks.time + 3_600)
    orphan.release()
    assert retry.keep()


def test_only_what_another_had_is_taken_over(tasks: Tasks, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for attempt, told in ((1, ""), (2, "is taken over")):
        lock = tasks.lock("monday", attempt=attempt)
        lock.acquire()
        lock.hold_until(tasks.time + 3_600)
        assert told in caplog.text
    back = tasks.lock("monday", attempt=2)
    caplog.clear()
    back.acquire()
    assert "taken over" not in caplog.text


class HangingStore(DiskStore):
    """A folder of a file server that does not answer a second time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.is_asked_again, self.answers = threading.Event(), threading.Event()
        self._reads = 0

    def read(self, name: str) -> bytes:
        self._reads += 1
        if self._reads == 2:
            self.is_asked_again.set()
            self.answers.wait()
        return super().read(name)


def test_a_renewal_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state_lock, "LIFETIME", 0.03)
    monkeypatch.setattr(state_lock, "_LAST_RENEWAL", 0.1)
    store = HangingStore(tmp_path)
    lock = StateLock(store, Holder("shop", "sync", "monday", -1, 1, "here", os.getpid()), now=lambda: 1_000.0)
    lock.acquire()
    assert store.is_asked_again.wait(10)
    lock.release()
    assert "still being renewed" in caplog.text
    assert store.names() == []
    store.answers.set()


def test_a_lock_that_was_not_given_back_may_be_of_somebody_alive(tasks: Tasks) -> None:
    first, retry = tasks.lock("monday"), tasks.lock("monday", attempt=2)
    first.acquire()
    retry.acquire()
    assert retry.left_by is not None
    assert retry.left_by.run_id == "monday"


def test_a_lock_that_was_given_back_is_of_nobody(tasks: Tasks) -> None:
    first, retry = tasks.lock("monday"), tasks.lock("monday", attempt=2)
    first.acquire()
    first.release()
    retry.acquire()
    assert retry.left_by is None
