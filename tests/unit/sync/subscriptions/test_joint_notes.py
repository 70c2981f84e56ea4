from __future__ import annotations

import queue
import threading

import pytest

from airflow_provider_klaviyo.sync.subscriptions.joint_notes import Asking, JointNotes
from airflow_provider_klaviyo.workers import Workers

ENOUGH = 20.0
"""Seconds to wait for what is to happen at once."""


class SlowState:
    """A state whose every entry is written when it is let."""

    def __init__(self) -> None:
        self.entries: list[Asking] = []
        self.began: queue.SimpleQueue[Asking] = queue.SimpleQueue()
        self._may_go_on: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def write(self, asking: Asking) -> None:
        self.began.put(asking)
        if error := self._may_go_on.get(timeout=ENOUGH):
            raise error
        self.entries.append(asking)

    def let(self, error: Exception | None = None) -> None:
        self._may_go_on.put(error)


class Noted:
    """Threads that have one person noted each; ``outcomes`` tells of everyone whose note is over."""

    def __init__(self, state: SlowState) -> None:
        self.outcomes: queue.SimpleQueue[tuple[int, Exception | None]] = queue.SimpleQueue()
        self._notes = JointNotes(state.write)
        self._workers = Workers(10)

    def add(self, number: int) -> None:
        came = threading.Event()
        self._workers.give(lambda: self._add(number, came))
        assert came.wait(ENOUGH)

    def _add(self, number: int, came: threading.Event) -> None:
        came.set()
        try:
            self._notes.add({number: -number})
        except Exception as error:
            self.outcomes.put((number, error))
        else:
            self.outcomes.put((number, None))

    def wait_for(self, people: int) -> None:
        """Until so many wait for the one that writes."""
        deadline = threading.Event()
        while len(self._notes._waiting) < people:
            deadline.wait(0.01)


@pytest.fixture
def state() -> SlowState:
    return SlowState()


def test_who_comes_while_one_writes_is_written_together_and_is_noted_when_that_is_stored(
    state: SlowState,
) -> None:
    noted = Noted(state)
    noted.add(1)
    assert state.began.get(timeout=ENOUGH) == {1: -1}
    for number in (2, 3, 4):
        noted.add(number)
    noted.wait_for(3)

    state.let()
    assert noted.outcomes.get(timeout=ENOUGH) == (1, None)
    assert state.began.get(timeout=ENOUGH) == {2: -2, 3: -3, 4: -4}
    assert noted.outcomes.empty()
    state.let()

    assert sorted(noted.outcomes.get(timeout=ENOUGH) for _ in range(3)) == [(2, None), (3, None), (4, None)]
    assert state.entries == [{1: -1}, {2: -2, 3: -3, 4: -4}]


def test_nobody_is_noted_by_an_entry_that_could_not_be_written_and_the_next_one_is_tried(
    state: SlowState,
) -> None:
    noted = Noted(state)
    noted.add(1)
    state.began.get(timeout=ENOUGH)
    for number in (2, 3):
        noted.add(number)
    noted.wait_for(2)

    state.let()
    full = OSError("the disk is full")
    state.let(full)
    outcomes = dict(noted.outcomes.get(timeout=ENOUGH) for _ in range(3))
    noted.add(4)
    state.let()

    assert outcomes == {1: None, 2: full, 3: full}
    assert noted.outcomes.get(timeout=ENOUGH) == (4, None)
    assert state.entries == [{1: -1}, {4: -4}]
