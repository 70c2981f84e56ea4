"""Calls that may hang, such as a read from a socket: they get so much time, and end when the run is told to stop.

No timeout of a library bounds a whole call: one that waits for a piece at a time lasts as long as pieces come. So the
call runs in a thread of its own, and who waits for it decides how long.
"""

from __future__ import annotations

import _thread
import errno
import queue
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_STOP_CHECK = 0.25


class OutOfTime(Exception):
    """The call did not come back in its time. It may still be under way, and do what it was to do."""


class ToldToStop(Exception):
    """The caller was told to stop while the call was under way. It may still do what it was to do."""


class _Outcome(NamedTuple):
    value: object
    error: BaseException | None


def call_bounded(
    work: Callable[[], T],
    *,
    seconds: float,
    stop: Callable[[], bool] | None = None,
    grace: float = 0.0,
) -> T:
    """What ``work`` returns or raises, unless that takes too long.

    It is real time that counts here, whatever clock is used elsewhere. The thread of a call that is given up ends when
    the call does, and keeps no process alive; whoever gives one up should close what it waits for.

    :param stop: asked several times a second; True ends the wait.
    :param grace: seconds that a call has left, at most, when it is time to stop: its outcome may be worth them.
    :raises OutOfTime: when the call has not come back after so many ``seconds``.
    :raises ToldToStop: when told to stop.
    :raises BlockingIOError: when the machine has no thread for the call, which then has not begun.
    """
    outcomes: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome = _Outcome(work(), None)
        except BaseException as error:
            outcome = _Outcome(None, error)
        outcomes.put(outcome)

    # ``threading.Thread`` breaks where a timeout of Airflow's breaks into its start, and tells of a lock instead
    try:
        _thread.start_new_thread(copy_context().run, (run,))
    except RuntimeError as error:
        raise BlockingIOError(errno.EAGAIN, str(error)) from None
    end, is_stopping = time.monotonic() + seconds, False
    while True:
        if not is_stopping and stop and stop():
            end, is_stopping = min(end, time.monotonic() + grace), True
        try:
            outcome = outcomes.get(timeout=max(0.0, min(_STOP_CHECK, end - time.monotonic())))
        except queue.Empty:
            if time.monotonic() < end:
                continue
            raise (ToldToStop if is_stopping else OutOfTime) from None
        if outcome.error is not None:
            raise outcome.error
        return outcome.value  # type: ignore[return-value]
