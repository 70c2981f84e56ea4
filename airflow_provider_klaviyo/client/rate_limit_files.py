"""Rate-limit windows that all processes of a host share: one small file for each account and endpoint.

A file is a header and a table of slots, each a token and the time when its request was, or will at the
latest be, over. Every change is one write of a few bytes under a lock that the kernel frees when its holder
dies, and writes follow in an order that errs towards too many slots taken, so a process may be killed at any
moment.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from airflow_provider_klaviyo.client.clock import Clock
from airflow_provider_klaviyo.client.file_lock import locked
from airflow_provider_klaviyo.client.private_files import private_folder
from airflow_provider_klaviyo.client.rate_limit import MAX_SECONDS, Rate, longest_window, seconds_until_slot
from airflow_provider_klaviyo.client.rate_limit_waits import Caller, Pause, RateLimitStoreError

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


class FileWindows:
    """Windows for all processes that share a directory of one host.

    The files keep a time of their own: it starts at the time of day and follows the machine's monotonic
    clock, so that setting the clock changes nothing. Only across a restart does the time of day count.

    :param directory: is created, for the owner alone; must not be on a network file system.
    :param boot_id: names the scale of the monotonic clock; this machine's if None.
    :raises RateLimitStoreError: when the directory cannot be made, or others may write to it.
    """

    def __init__(self, directory: Path, *, boot_id: str | None = None) -> None:
        self._directory = directory
        self._scale = hashlib.sha256((_boot_id() if boot_id is None else boot_id).encode()).digest()[:16]
        try:
            private_folder(directory)
        except OSError as error:
            raise _store_error(directory, error) from error

    def acquire(self, key: str, token: int, rates: Sequence[Rate], hold: float, caller: Caller) -> float:
        """See ``WindowStore``."""
        with self._open(key, caller) as file:
            file.remember_for(longest_window(rates))
            wait = file.seconds_until_slot(rates)
            if not wait:
                file.add(token, file.now + hold)
            return wait

    def release(self, key: str, token: int, caller: Caller) -> None:
        """See ``WindowStore``."""
        with self._open(key, caller) as file:
            file.move(token, file.now)

    def pause(self, key: str, seconds: float, why: str, caller: Caller) -> None:
        """See ``WindowStore``."""
        with self._open(key, caller) as file:
            file.pause_until(file.now + seconds, why)

    def pause_of(self, key: str, caller: Caller) -> Pause:
        """See ``WindowStore``."""
        with self._open(key, caller) as file:
            return file.pause

    def way_out(self, key: str) -> str:
        """See ``WindowStore``."""
        return f"delete {self._path(key)}"

    def _path(self, key: str) -> Path:
        return self._directory / quote(key, safe="")

    @contextmanager
    def _open(self, key: str, caller: Caller) -> Iterator[_WindowFile]:
        path = self._path(key)
        try:
            with locked(path, caller) as descriptor:
                file = _WindowFile(descriptor, _read(descriptor, path, self._scale, caller.clock))
                yield file
                file.save()
        except OSError as error:
            raise _store_error(path, error) from error


def _boot_id() -> str:
    """What changes when the monotonic clock of this process counts from another moment."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii") + os.readlink("/proc/self/ns/time")  # noqa: PTH115 - not a path
    except OSError:
        return ""


def _store_error(path: Path, error: OSError) -> RateLimitStoreError:
    return RateLimitStoreError(
        f"The rate-limit windows at {path} cannot be kept ({error.strerror or error}), so nothing is sent. "
        "Make the directory writable for the user that runs the tasks, and for nobody else, on a local disk."
    )


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
    header: _Header
    tokens: array[float]
    ends: array[float]
    latest_first: list[float]


def _read(descriptor: int, path: Path, scale: bytes, clock: Clock) -> _Content:
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
    return _Content(fresh, array("d"), array("d"), [])


def _parse(raw: bytes) -> _Content | None:
    if len(raw) < _TABLE or (len(raw) - _TABLE) % _PLACE.size:
        return None
    table = array("d", raw[_TABLE:])
    ends = table[1::2]
    return _Content(_Header(*_HEADER.unpack_from(raw)), table[::2], ends, sorted(ends, reverse=True))


def _is_sound(content: _Content) -> bool:
    header, ends = content.header, content.latest_first
    if header.magic != _MAGIC or len(ends) < header.slots:
        return False
    numbers = (header.offset, header.wall, header.seen, header.paused_until, header.longest, sum(ends))
    latest = max((header.paused_until, *ends[:1]))
    return all(map(math.isfinite, numbers)) and latest <= header.seen + MAX_SECONDS


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


class _WindowFile:
    """A file of windows, open and locked; its present moment is that of its opening."""

    def __init__(self, descriptor: int, content: _Content) -> None:
        self._descriptor = descriptor
        self._header, self._tokens, self._ends, self._latest_first = content

    @property
    def now(self) -> float:
        return self._header.seen

    def seconds_until_slot(self, rates: Sequence[Rate]) -> float:
        wait = seconds_until_slot(self._latest_first, rates, self.now)
        return max(self._header.paused_until - self.now, wait)

    def add(self, token: int, end: float) -> None:
        """Write a slot over the oldest one, or below all if some window still reaches back to that."""
        oldest = self._latest_first[-1] if self._latest_first else math.inf
        is_over = oldest + self._header.longest <= self.now
        self._write(self._ends.index(oldest) if is_over else len(self._ends), token, end)

    def move(self, token: int, end: float) -> None:
        """Give a slot another end; one whose time had run out is added again."""
        try:
            position = self._tokens.index(token)
        except ValueError:
            self.add(token, end)
        else:
            self._write(position, token, end)

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

    def _write(self, position: int, token: int, end: float) -> None:
        os.pwrite(self._descriptor, _PLACE.pack(token, end), _TABLE + position * _PLACE.size)
        self._header = self._header._replace(slots=max(self._header.slots, position + 1))
