"""Calls of many threads for one resource, of which one thread makes those that wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.client.file_lock import locked
from airflow_provider_klaviyo.client.joint_calls import Call, JointCalls
from airflow_provider_klaviyo.client.rate_limit_files import FileWindows
from airflow_provider_klaviyo.client.rate_limit_slots import Rate
from airflow_provider_klaviyo.client.rate_limit_waits import (
    Caller,
    RateLimitStoreError,
    StoreUnreachable,
    WaitStopped,
)

CALLER = Caller(SystemClock())


class BrokenOff(BaseException):
    """What a timeout of Airflow's raises in a thread, wherever it is."""


class HurryingClock(SystemClock):
    """A clock that goes on by an hour whenever it is looked at."""

    def __init__(self) -> None:
        self._hours = 0.0

    def monotonic(self) -> float:
        self._hours += 3_600.0
        return self._hours


_ends_a_wait = pytest.mark.parametrize(
    ("caller", "expected"),
    [
        (Caller(SystemClock(), stop=lambda: True), WaitStopped),
        (Caller(HurryingClock(), deadline=0.0), StoreUnreachable),
    ],
    ids=["told to stop", "out of time"],
)


def _wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.001)


class LeadAfterALoss:
    """The lead that a thread gives back who has lost the calls that it took; there is one such thread."""

    def __init__(self, joint: JointCalls[Counter]) -> None:
        self._joint = joint
        self._led = 0

    def acquire(self, *, blocking: bool) -> bool:
        assert not blocking
        self._led += 1
        if self._led == 1:
            self._joint._take_all()
        assert self._led <= 2, "it leads again and again, and nobody is there to be led"
        return True

    def release(self) -> None:
        """Others may lead."""


class Counter:
    """A number that one thread at a time may have in its hands."""

    def __init__(self) -> None:
        self.value = 0
        self.holds: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.held = threading.Event()
        self._lock = threading.Lock()
        self.joint = JointCalls(self._get_hold)

    def _get_hold(self, _: Caller, take: Callable[[], Sequence[Call[Counter]]]) -> None:
        with self._lock:
            self.held.set()
            assert self.gate.wait(10)
            calls = take()
            self.holds.append(len(calls))
            failure: BaseException | None = None
            try:
                for call in calls:
                    call.make(self)
            except BaseException as error:
                failure = error
                raise
            finally:
                for call in calls:
                    call.end(failure and StoreUnreachable("broken off"))

    def add_one(self) -> int:
        self.value += 1
        return self.value


def test_each_call_is_made_once_and_returns_what_is_its_own() -> None:
    counter = Counter()
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda _: counter.joint.do(Counter.add_one, CALLER), range(2_000)))
    assert sorted(results) == list(range(1, 2_001))
    assert sum(counter.holds) == 2_000


def test_those_who_wait_are_served_by_one_hold() -> None:
    counter = Counter()
    counter.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(counter.joint.do, Counter.add_one, CALLER)
        assert counter.held.wait(10)
        others = [pool.submit(counter.joint.do, Counter.add_one, CALLER) for _ in range(7)]
        _wait_until(lambda: len(counter.joint._waiting) == 8)
        counter.gate.set()
        assert {first.result(), *(other.result() for other in others)} == set(range(1, 9))
    assert counter.holds[0] == 8
    assert sum(counter.holds[1:]) == 0


def test_who_is_broken_off_tells_those_whose_calls_it_had_in_its_hands() -> None:
    def break_off(_: Counter) -> None:
        raise BrokenOff

    counter = Counter()
    counter.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(counter.joint.do, break_off, CALLER)
        assert counter.held.wait(10)
        other = pool.submit(counter.joint.do, Counter.add_one, CALLER)
        _wait_until(lambda: len(counter.joint._waiting) == 2)
        counter.gate.set()
        assert isinstance(leader.exception(), BrokenOff)
        assert isinstance(other.exception(), StoreUnreachable)
    assert counter.joint.do(Counter.add_one, CALLER) == 1


def test_a_lead_that_was_never_given_back_holds_nobody_up_for_long() -> None:
    """The thread that led may be broken off before it knows that it leads."""
    counter = Counter()
    assert counter.joint._leads.acquire(blocking=False)
    assert [counter.joint.do(Counter.add_one, CALLER) for _ in range(3)] == [1, 2, 3]


@_ends_a_wait
def test_who_leads_waits_for_its_own_call_no_longer_than_others_do(
    caller: Caller, expected: type[Exception]
) -> None:
    """Another thread took it, and was broken off before it had it in its hands."""
    counter = Counter()
    counter.joint._leads = LeadAfterALoss(counter.joint)  # type: ignore[assignment]
    with pytest.raises(expected):
        counter.joint.do(Counter.add_one, caller)
    assert counter.joint.do(Counter.add_one, CALLER) == 1


@_ends_a_wait
def test_nobody_waits_for_ever_for_a_thread_that_does_not_come_back(
    caller: Caller, expected: type[Exception]
) -> None:
    counter, released = Counter(), threading.Event()
    counter.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(counter.joint.do, lambda _: released.wait(10), CALLER)
        assert counter.held.wait(10)
        other = pool.submit(counter.joint.do, Counter.add_one, caller)
        _wait_until(lambda: len(counter.joint._waiting) == 2)
        counter.gate.set()
        assert isinstance(other.exception(), expected)
        released.set()
        assert leader.result()


def test_all_who_wait_are_told_that_the_windows_cannot_be_kept(tmp_path: Path) -> None:
    windows = FileWindows(tmp_path)
    path, link = windows._path("key"), tmp_path / "link"
    link.symlink_to(tmp_path)
    with ThreadPoolExecutor(5) as pool:
        with locked(path, CALLER):
            waiters = [pool.submit(windows.acquire, "key", n, [], 1.0, CALLER) for n in range(5)]
            _wait_until(lambda: sum(len(calls._waiting) for calls in windows._calls.values()) == 5)
            link.replace(path)  # at once: who waits makes a file that is missing anew
        assert all(isinstance(waiter.exception(), RateLimitStoreError) for waiter in waiters)


def test_threads_that_ask_together_keep_to_the_windows(tmp_path: Path) -> None:
    """Nobody has more than its share, however many calls one hold of the file makes."""
    windows, rates = FileWindows(tmp_path), [Rate(10, 3_600.0)]
    with ThreadPoolExecutor(40) as pool:
        waits = list(
            pool.map(lambda n: windows.acquire("key", n, rates, 60.0, Caller(SystemClock())), range(40))
        )
    assert sum(wait <= 0 for wait in waits) == 10
