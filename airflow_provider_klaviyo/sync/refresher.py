"""A thread that does something again and again beside the thread of the run, into which an exception may break."""

from __future__ import annotations

import _thread
import logging
import queue
from collections.abc import Callable

log = logging.getLogger(__name__)

_PATIENCE = 10.0
"""Seconds that the last piece of work may take."""


class Refresher:
    """Does some work every few seconds until it is told to stop; what the work raises is only logged.

    The threads of ``threading`` break when an exception breaks into starting or stopping them; see ``Workers``.

    :param work: runs in a thread of its own, which keeps no process alive.
    :param interval: seconds between two times.
    """

    def __init__(self, work: Callable[[], None], interval: float) -> None:
        self._work = work
        self._interval = interval
        self._orders: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._gone: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._has_begun = self._is_over = False
        self._was_told = False

    def begin(self) -> None:
        """Start, unless it has been."""
        if self._has_begun or self._is_over:
            return
        self._has_begun = True
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError as error:
            self._has_begun = False
            log.warning("There is no thread for the report to be refreshed by: %s", error)

    def end(self) -> None:
        """Let the work not be done any more: it is not under way when this returns, unless it hangs."""
        self._is_over = True
        self._orders.put(None)
        if self._has_begun:
            self._has_begun = False
            try:
                self._gone.get(timeout=_PATIENCE)
            except queue.Empty:
                log.warning("The report could not be refreshed for %.0f s.", _PATIENCE)

    def _run(self) -> None:
        while not self._is_over:
            try:
                self._orders.get(timeout=self._interval)
            except queue.Empty:
                self._try()
        self._gone.put(None)

    def _try(self) -> None:
        try:
            if not self._is_over:
                self._work()
        except Exception as error:
            if not self._was_told:
                log.info("The report could not be refreshed: %s", error)
            self._was_told = True
