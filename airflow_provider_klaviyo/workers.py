"""Threads that work off batches beside the thread of the run, into which an exception may break anywhere."""

from __future__ import annotations

import _thread
import logging
import queue
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from airflow_provider_klaviyo.wording import counted

log = logging.getLogger(__name__)

Work = Callable[[], None]

A = TypeVar("A")
B = TypeVar("B")

_LOOK = 0.25


class Workers:
    """A few threads that do what they are given, in its order.

    One thread gives, collects and stops. Airflow's timeouts are raised in it by a signal, wherever it is. So it calls
    nothing that breaks when it is broken off, as the locks and threads of ``threading`` do, nor ``concurrent.futures``,
    which is made of them; and what it had given is done before ``stop`` returns, or never begins. The threads keep no
    process alive.

    :param size: how many threads, at most.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._given: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._under_way: set[Work] = set()
        self._threads = 0
        self._is_stopped = False
        self.busy = 0
        """How much was given whose end was not collected."""

    def give(self, work: Work) -> None:
        """Have something done; each piece of work is an object of its own.

        :raises RuntimeError: when the machine has no thread for it.
        """
        self.busy += 1
        self._given.put(work)
        if self._threads < min(self._size, self.busy):
            self._begin_thread()

    def collect(self, timeout: float) -> bool:
        """Wait so many seconds for a piece of work to end; True when one has.

        :raises BaseException: what the work raised.
        """
        has_ended = False
        while self.busy:
            try:
                error = self._ended.get(timeout=0 if has_ended else timeout)
            except queue.Empty:
                break
            self.busy -= 1
            if error:
                raise error
            has_ended = True
        return has_ended

    def stop(self, patience: float = 0.0) -> None:
        """Let nothing begin any more, and wait so many seconds for what is under way; may be called again."""
        self._is_stopped = True
        for _ in range(self._size):
            self._given.put(None)
        left = patience
        while self._under_way and left > 0:
            try:
                self._ended.get(timeout=_LOOK)
            except queue.Empty:
                left -= _LOOK
        if patience and self._under_way:
            log.warning(
                "%s came to no end in %.0f s: given up.",
                counted(len(self._under_way), "request"),
                patience,
            )

    def _begin_thread(self) -> None:
        try:
            _thread.start_new_thread(self._work, ())
        except RuntimeError as error:
            if not self._threads:
                raise
            log.warning("Only %d of %d threads could be started: %s", self._threads, self._size, error)
            self._size = self._threads
        else:
            self._threads += 1

    def _work(self) -> None:
        while work := self._given.get():
            error: BaseException | None = None
            self._under_way.add(work)  # before the look, since ``stop`` looks here after it has said so
            try:
                if not self._is_stopped:
                    work()
            except BaseException as raised:
                error = raised
            self._under_way.discard(work)
            del work  # a thread that waits for more would keep a whole batch in memory
            self._ended.put(error)


def side_by_side(work: Callable[[A], B], arguments: Sequence[A]) -> list[B]:
    """What some work returns for each argument, in their order, each in a thread of its own.

    :raises BaseException: what the first to fail raised; the others are not waited for.
    """
    done: dict[int, B] = {}

    def keep(index: int, argument: A) -> None:
        done[index] = work(argument)

    workers = Workers(len(arguments))
    try:
        for index, argument in enumerate(arguments):
            workers.give(partial(keep, index, argument))
        while workers.busy:
            workers.collect(_LOOK)
    finally:
        workers.stop()
    return [done[index] for index in range(len(arguments))]
