"""The file of the rate-limit windows of one account and endpoint: what is in it, and how it is changed.

It is a header and a table of rows. A row is a slot: a token, and the time when its request was, or will at the latest
be, over. Every change is one write of a few bytes under a lock that the kernel frees when its holder dies, and writes
follow in an order that errs towards too many slots taken, so a process may be killed at any moment.

Who waits for a slot has a row, too, which becomes its slot: minus the time of its coming, and when it looks again.
That makes a line in the order of arrival, so that nobody starves, and each waits for a slot of its own instead of all
for the next one. It is courtesy, and never makes a slot: who does not look again in its time is passed over.
"""

from __future__ import annotations

import logging
import math
import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from airflow_provider_klaviyo.client.clock import Clock
from airflow_provider_klaviyo.client.rate_limit import LATE, LOOK_AGAIN, MAX_SECONDS
from airflow_provider_klaviyo.client.rate_limit_slots import Rate, is_taken, wait_or_slot
from airflow_provider_klaviyo.client.rate_limit_waits import Caller, Pause

log = logging.getLogger(__name__)

RECOVERY_SECONDS = 120.0
"""How long nobody sends after a file was damaged: a minute's window, and as much for what may be in flight.

A daily window is not waited for: Klaviyo's own 429 does less harm than a day of standstill.
"""

_MAGIC = b"klvrate1"
_HEADER = struct.Struct("=8s16sdddddQ56s")
_PLACE = struct.Struct("=dd")
_TABLE = _HEADER.size
"""Where the table begins; a multiple of a slot's size, so that no slot lies across two pages."""


_APART = 2.0**-64
"""Seconds by which tokens part who came in the same moment: a quarter of a millisecond at most, in 52 bits."""


class _Header(NamedTuple):
    """What a file knows beside its slots; times are the file's own unless said otherwise.

    :param scale: names the monotonic clock that ``offset`` was made for.
    :param offset: the file's time minus that clock's.
    :param wall: the time of day at ``seen``.
    :param seen: when the file was last used.
    :param longest: seconds of the longest window asked for.
    :param slots: the length of the table, so that a shortened file is noticed.
    :param why: what the pause is for, filled up with zeros.
    """

    magic: bytes
    scale: bytes
    offset: float
    wall: float
    seen: float
    paused_until: float
    longest: float
    slots: int
    why: bytes


class _Content(NamedTuple):
    """A file as it was read."""

    header: _Header
    tokens: array[float]
    ends: array[float]


def read(descriptor: int, path: Path, scale: bytes, clock: Clock) -> _Content:
    """The file's content with its header at the present moment; anew when it is empty or damaged."""
    raw = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    content = _parse(raw)
    if content:
        content = content._replace(header=_at_present(content.header, scale, clock))
    if content and _is_sound(content):
        return content
    fresh = _new_header(scale, clock)
    if raw:
        log.warning("The rate-limit file %s is damaged; it starts anew in %.0f s.", path, RECOVERY_SECONDS)
        fresh = fresh._replace(paused_until=fresh.seen + RECOVERY_SECONDS, why=b"its file was damaged")
    os.pwrite(descriptor, _HEADER.pack(*fresh), 0)
    os.ftruncate(descriptor, _TABLE)
    return _Content(fresh, array("d"), array("d"))


def _parse(raw: bytes) -> _Content | None:
    if len(raw) < _TABLE or (len(raw) - _TABLE) % _PLACE.size:
        return None
    table = array("d", raw[_TABLE:])
    return _Content(_Header(*_HEADER.unpack_from(raw)), table[::2], table[1::2])


def _is_sound(content: _Content) -> bool:
    header, ends = content.header, content.ends
    if header.magic != _MAGIC or len(ends) < header.slots:
        return False
    numbers = (header.offset, header.wall, header.seen, header.paused_until, header.longest, sum(ends))
    latest = max((header.paused_until, *ends))
    is_sane = all(map(math.isfinite, numbers)) and latest <= header.seen + MAX_SECONDS
    return (
        is_sane and -min(content.tokens, default=0.0) <= header.seen + 1
    )  # a token whose sign was damaged is more


def _new_header(scale: bytes, clock: Clock) -> _Header:
    wall, monotonic = clock.now(), clock.monotonic()
    return _Header(_MAGIC, scale, wall - monotonic, wall, wall, 0.0, 0.0, 0, b"")


def _at_present(header: _Header, scale: bytes, clock: Clock) -> _Header:
    """Bring ``seen`` up to now: by the monotonic clock, or by the time of day where that clock began anew."""
    wall, monotonic = clock.now(), clock.monotonic()
    seen = monotonic + header.offset
    if header.scale == scale and seen >= header.seen:
        return header._replace(wall=wall, seen=seen)
    seen = header.seen + max(0.0, wall - header.wall)
    return header._replace(scale=scale, offset=seen - monotonic, wall=wall, seen=seen)


class WindowFile:
    """A file of windows, open and locked; its present moment is that of its opening."""

    def __init__(self, descriptor: int, content: _Content) -> None:
        self._descriptor = descriptor
        self._header, self._tokens, self._ends = content
        self._note_slots()

    @property
    def now(self) -> float:
        return self._header.seen

    def acquire(self, token: int, rates: Sequence[Rate], hold: float, caller: Caller) -> float:
        """As ``WindowStore`` has it; in line, if the caller is to wait as long."""
        place = -(min(caller.since + self._header.offset, self.now) + token * _APART)
        ahead = sum(map(place.__lt__, self._waiting())) if self._has_line else 0
        wait = wait_or_slot(self._latest_first, rates, self.now, self._header.paused_until, caller, ahead)
        if is_taken(wait):
            self._write(self._row_of(place), token, self.now + hold)
        elif wait <= caller.until - caller.clock.monotonic() and caller.since < math.inf:
            self._write(self._row_of(place), place, self.now + min(wait, LOOK_AGAIN))
        return wait

    def _note_slots(self) -> None:
        """Keep the ends of the slots in order, and whether somebody waits."""
        self._has_line = min(self._tokens, default=0.0) < 0
        rows = zip(self._tokens, self._ends, strict=True)
        slots = [end for token, end in rows if not token < 0] if self._has_line else self._ends
        self._latest_first = sorted(slots, reverse=True)

    def _waiting(self) -> Iterator[float]:
        """The places of those in the line who are not late."""
        first, last = self.now - LATE, self.now + LOOK_AGAIN
        for token, looks in zip(self._tokens, self._ends, strict=True):
            if token < 0 and first <= looks <= last:
                yield token

    def _row_of(self, place: float) -> int:
        """The row of somebody in line; a free one where there is none."""
        try:
            return self._tokens.index(place) if self._has_line else self._free_row()
        except ValueError:
            return self._free_row()

    def _free_row(self) -> int:
        """That of a waiter who did not come, or of the oldest slot; one below all if some window still reaches back."""
        if self._has_line:
            for row, (token, looks) in enumerate(zip(self._tokens, self._ends, strict=True)):
                if token < 0 and looks < self.now - LATE:
                    return row
        oldest = self._latest_first[-1] if self._latest_first else math.inf
        is_over = oldest + self._header.longest <= self.now
        return self._ends.index(oldest) if is_over else len(self._ends)

    def move(self, token: int, end: float) -> None:
        """Give a slot another end; one whose time had run out is added again."""
        try:
            row = self._tokens.index(token)
        except ValueError:
            row = self._free_row()
        self._write(row, token, end)

    @property
    def pause(self) -> Pause:
        why = self._header.why.rstrip(b"\0").decode("ascii", "replace")
        return Pause(max(self._header.paused_until - self.now, 0.0), why)

    def pause_until(self, timestamp: float, why: str) -> None:
        if timestamp > self._header.paused_until:
            self._header = self._header._replace(paused_until=timestamp, why=why.encode("ascii"))

    def remember_for(self, seconds: float) -> None:
        self._header = self._header._replace(longest=max(self._header.longest, seconds))

    def save(self) -> None:
        """Write the header, always after the slots that it counts."""
        os.pwrite(self._descriptor, _HEADER.pack(*self._header), 0)

    def _write(self, row: int, token: float, end: float) -> None:
        os.pwrite(self._descriptor, _PLACE.pack(token, end), _TABLE + row * _PLACE.size)
        self._header = self._header._replace(slots=max(self._header.slots, row + 1))
        self._tokens[row : row + 1], self._ends[row : row + 1] = array("d", [token]), array("d", [end])
        self._note_slots()
