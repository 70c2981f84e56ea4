"""Calls that many threads of a process make at once, and one of them does for all who wait."""

from __future__ import annotations

import _thread
import queue
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from airflow_provider_klaviyo.client.rate_limit_waits import Caller, StoreUnreachable, WaitStopped

R = TypeVar("R")
T = TypeVar("T")

_PATIENCE = 0.25
"""Seconds after which a call that nobody has begun for its thread is made by it, beside the others."""

_LEAST = 1.0
"""Seconds that a call which has begun is waited for in any case."""


class Call(Generic[R]):
    """What a thread wants done with what only one may have in its hands, such as a locked file."""

    def __init__(self, work: Callable[[R], object]) -> None:
        self._work = work
        self._result: object = None
        self._ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def make(self, resource: R) -> None:
        """Do it; what comes of it is told by ``end``."""
        self._result = self._work(resource)

    def end(self, error: BaseException | None = None) -> None:
        """Tell the thread that waits that it is done, or why not."""
        self._ended.put(error)
        self._woken.put(None)

    def wake(self) -> None:
        """Have the thread that waits make the calls."""
        self._woken.put(None)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended or is woken within so many seconds of real time."""
        try:
            self._woken.get(timeout=seconds)
        except queue.Empty:
            return False
        return True

    @property
    def has_ended(self) -> bool:
        return not self._ended.empty()

    @property
    def outcome(self) -> object:
        """What it returned.

        :raises BaseException: what it raised.
        """
        if error := self._ended.get():
            raise error
        return self._result


class JointCalls(Generic[R]):
    """Takes the calls of all threads for one resource, and has one thread at a time make those that wait.

    Without it, each thread gets hold of the resource by itself: many that look for one lock keep each other from it.
    It is a shortcut only. A call that nobody comes to is made by its own thread beside the others, so that a thread
    which is broken off while it makes calls holds the others up for a moment and no more.

    :param get_hold: gets hold of the resource for a caller; then asks for the calls that wait, and makes and ends them.
    """

    def __init__(self, get_hold: Callable[[Caller, Callable[[], Sequence[Call[R]]]], None]) -> None:
        self._get_hold = get_hold
        self._waiting: deque[Call[R]] = deque()
        self._leads = _thread.allocate_lock()

    def do(self, work: Callable[[R], T], caller: Caller) -> T:
        """What some work with the resource returns, or raises.

        :raises StoreUnreachable: when another thread has begun it, and does not end it in the caller's time.
        :raises WaitStopped: when told to stop while another thread makes it.
        """
        call = Call(work)
        self._waiting.append(call)
        try:
            self._have_made(call, caller)
        finally:
            self._take_back(call)
        return call.outcome  # type: ignore[return-value]

    def _have_made(self, call: Call[R], caller: Caller) -> None:
        while not call.has_ended:
            if self._leads.acquire(blocking=False):
                self._lead(call, caller)
                self._wait_out(call, caller)  # which a thread may have taken that was then broken off
            elif call.wait(_PATIENCE):
                continue
            elif self._take_back(call):
                self._get_hold(caller, lambda: [call])
            else:
                self._wait_out(call, caller)

    def _lead(self, own: Call[R], caller: Caller) -> None:
        """Make all calls that wait, unless the own was made just now."""
        try:
            if not own.has_ended:
                self._get_hold(caller, self._take_all)
        finally:
            self._leads.release()
            self._wake_next()

    def _wait_out(self, call: Call[R], caller: Caller) -> None:
        """Another thread has it in its hands, unless it has ended."""
        clock = caller.clock
        end = clock.monotonic() + max(caller.seconds_left, _LEAST)
        while not call.has_ended:
            if caller.stop():
                msg = "Told to stop while another thread asked for the rate limits."
                raise WaitStopped(msg)
            if clock.monotonic() > end:
                msg = (
                    "Another thread of this task has the rate limits in its hands and does not come back, so nothing "
                    "is sent. If a retry ends the same, look at the disk with the host's temporary folder."
                )
                raise StoreUnreachable(msg)
            call.wait(_PATIENCE)

    def _take_all(self) -> list[Call[R]]:
        calls = []
        while self._waiting:
            try:
                calls.append(self._waiting.popleft())
            except IndexError:  # taken back meanwhile
                break
        return calls

    def _take_back(self, call: Call[R]) -> bool:
        """Whether nobody has begun it."""
        try:
            self._waiting.remove(call)
        except ValueError:
            return False
        return True

    def _wake_next(self) -> None:
        """Who came while the calls were made has seen that somebody leads, and waits."""
        with suppress(IndexError):
            self._waiting[0].wake()
