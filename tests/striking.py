"""Exceptions that break in anywhere, as Airflow's ``execution_timeout`` does: it is raised by a signal.

Python looks for signals behind a call, at the beginning of a function and at the end of a loop, so these are the places
of a strike. They are counted in the thread that runs ``work``, in this package and in what it hands work to threads by.
"""

from __future__ import annotations

import dis
import gc
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import _base, thread
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import airflow_provider_klaviyo
from airflow_provider_klaviyo.workers import Workers

EVERY_STRIKE = bool(os.environ.get("KLAVIYO_TESTS_EVERY_STRIKE"))
"""Strike at every place, instead of at a few dozen; minutes for each sync."""

_PACKAGE = str(Path(airflow_provider_klaviyo.__file__).parent) + os.sep
_UNSTRUCK = tuple(f"{_PACKAGE}{name}{os.sep}" for name in ("records", "emulator"))
"""What only computes, once for each row, and what runs in other threads."""

_LOOKS = ("CALL", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD", "CALL_KW", "CALL_INTRINSIC_1")
_SAMPLE = 60


class Place(NamedTuple):
    """Behind a call, or the like, in a function."""

    function: str
    line: int
    offset: int


class Struck(BaseException):
    """As ``AirflowTaskTimeout``, which is no ``Exception`` either."""


class Strike:
    """Breaks into ``work`` at its n-th place; at none where there are fewer. ``places`` are those that it came by."""

    def __init__(self, place: int = 0) -> None:
        self._place = place
        self._before: dict[FrameType, str] = {}
        self.places: list[Place] = []

    def into(self, work: Callable[[], Any]) -> Any:
        """What ``work`` returns.

        :raises Struck: where nothing of the work has turned that into something else.
        """
        before = sys.gettrace()
        sys.settrace(self._entered)
        try:
            return work()
        finally:
            sys.settrace(before)

    def _entered(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if not _is_struck(frame.f_code):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._came_by

    def _came_by(self, frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        if event == "return":
            self._before.pop(frame, None)
        elif event == "opcode":
            before = self._before.get(frame)
            self._before[frame] = _operations(frame.f_code).get(frame.f_lasti, "")
            if before in _LOOKS:
                place = Place(frame.f_code.co_qualname, frame.f_lineno, frame.f_lasti)
                self.places.append(place)
                if len(self.places) == self._place:
                    sys.settrace(None)
                    raise Struck(str(place))
        return self._came_by


def strikes(places: Sequence[Place], seed: int, sample: int = _SAMPLE) -> list[int]:
    """Where to strike: once at each place of those that were come by, whichever time; at a sample of them in CI.

    :param sample: how many, in CI.
    :returns: numbers as ``Strike`` takes them.
    """
    dice = random.Random(seed)
    times: dict[Place, list[int]] = {}
    for number, place in enumerate(places, 1):
        times.setdefault(place, []).append(number)
    every = [dice.choice(numbers) for numbers in times.values()]
    return sorted(every if EVERY_STRIKE else dice.sample(every, min(sample, len(every))))


def wait_for_workers() -> None:
    """Let the threads of deliveries come to the end of what they do; one that has nothing to do may live on."""
    until = time.monotonic() + 5
    while any(map(_is_at_work, sys._current_frames().values())):
        assert time.monotonic() < until, "a thread of a delivery does not end"
        time.sleep(0.001)


def let_go() -> None:
    """Have what struck runs left open collected now, not during a later test.

    pytest keeps the records of the log until the next test, with them exceptions, and with these the runs' frames.
    """
    for handler in logging.getLogger().handlers:
        getattr(handler, "records", []).clear()
    gc.collect()


def _is_at_work(frame: FrameType) -> bool:
    outer = frame.f_back
    while outer:
        if outer.f_code is Workers._work.__code__:
            return True
        outer = outer.f_back
    return False


@cache
def _is_struck(code: CodeType) -> bool:
    name = code.co_filename
    is_ours = name.startswith(_PACKAGE) and not name.startswith(_UNSTRUCK)
    return is_ours or name in (threading.__file__, thread.__file__, _base.__file__)


@cache
def _operations(code: CodeType) -> dict[int, str]:
    return {each.offset: each.opname for each in dis.get_instructions(code)}
