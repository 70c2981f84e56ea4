"""Threads that work: what they were given is done, or never begins."""

from __future__ import annotations

import _thread
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from airflow_provider_klaviyo.workers import Workers, side_by_side


def put_into(done: list[int], number: int) -> Callable[[], None]:
    return lambda: done.append(number)


def collect_all(workers: Workers) -> None:
    while workers.busy:
        workers.collect(timeout=5)


def test_everything_that_was_given_is_done() -> None:
    done: list[int] = []
    workers = Workers(3)
    for number in range(50):
        workers.give(put_into(done, number))
    collect_all(workers)
    workers.stop()
    assert sorted(done) == list(range(50))


def test_so_many_things_are_done_at_once_and_no_more() -> None:
    together, done = threading.Barrier(3), threading.Event()
    most: list[int] = []
    workers = Workers(3)

    def meet() -> None:
        together.wait(5)
        most.append(1)
        done.wait(5)

    for _ in range(6):
        workers.give(meet)
    while len(most) < 3:
        pass
    assert len(most) == 3
    done.set()
    collect_all(workers)
    workers.stop()


def test_what_work_raises_is_raised_to_who_collects() -> None:
    def fail() -> None:
        msg = "nothing there"
        raise LookupError(msg)

    workers = Workers(1)
    workers.give(fail)
    with pytest.raises(LookupError, match="nothing there"):
        collect_all(workers)
    assert workers.busy == 0
    workers.stop()


def test_a_thread_that_waits_for_more_keeps_nothing_of_what_it_has_done() -> None:
    class Batch(list[int]):
        """A list to which there are weak references."""

    workers, batch = Workers(1), Batch([1, 2])
    kept = weakref.ref(batch)
    workers.give(partial(batch.append, 3))
    del batch
    collect_all(workers)
    assert kept() is None
    workers.stop()


def test_what_has_not_begun_when_it_is_stopped_never_begins() -> None:
    has_begun, may_end = threading.Event(), threading.Event()
    done: list[int] = []

    def wait() -> None:
        has_begun.set()
        may_end.wait(5)
        done.append(1)

    workers = Workers(1)
    workers.give(wait)
    workers.give(put_into(done, 2))
    has_begun.wait(5)
    threading.Timer(0.05, may_end.set).start()
    workers.stop(patience=5)
    assert done == [1], "what was under way is waited for"
    workers.give(put_into(done, 3))
    assert done == [1]


def test_what_never_ends_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    may_end, has_begun = threading.Event(), threading.Event()

    def hang() -> None:
        has_begun.set()
        may_end.wait()

    workers = Workers(1)
    workers.give(hang)
    has_begun.wait(5)
    workers.stop(patience=0.3)
    assert "1 request came to no end" in caplog.text
    may_end.set()


def test_a_machine_without_more_threads_does_with_fewer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, left = _thread.start_new_thread, [1]

    def start_new_thread(*arguments: Any) -> int:
        if not left:
            msg = "can't start new thread"
            raise RuntimeError(msg)
        left.pop()
        return start(*arguments)

    monkeypatch.setattr(_thread, "start_new_thread", start_new_thread)
    done: list[int] = []
    workers = Workers(4)
    for number in range(20):
        workers.give(put_into(done, number))
    collect_all(workers)
    workers.stop()
    assert sorted(done) == list(range(20))
    assert "Only 1 of 4 threads could be started: can't start new thread" in caplog.text
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Workers(4).give(put_into(done, 0))


def test_side_by_side_the_order_stays() -> None:
    together = threading.Barrier(5)

    def double(number: int) -> int:
        together.wait(5)
        return 2 * number

    assert side_by_side(double, range(5)) == [0, 2, 4, 6, 8]
    assert side_by_side(double, []) == []


def test_side_by_side_nobody_waits_for_what_hangs_beside_a_failure() -> None:
    may_end = threading.Event()

    def work(number: int) -> int:
        if number:
            may_end.wait()
        return 1 // number

    with pytest.raises(ZeroDivisionError):
        side_by_side(work, [1, 0, 2])
    may_end.set()
