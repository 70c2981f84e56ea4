"""Rate-limit windows that all processes of a host share: one small file for each account and endpoint.

What is in the files is the matter of ``window_file``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from airflow_provider_klaviyo.client.file_lock import locked
from airflow_provider_klaviyo.client.joint_calls import Call, JointCalls
from airflow_provider_klaviyo.client.private_files import private_folder
from airflow_provider_klaviyo.client.rate_limit_slots import Rate, longest_window
from airflow_provider_klaviyo.client.rate_limit_waits import (
    Caller,
    Pause,
    RateLimitStoreError,
    StoreUnreachable,
)
from airflow_provider_klaviyo.client.window_file import WindowFile, read

T = TypeVar("T")


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
        self._calls: dict[tuple[int, str], JointCalls[WindowFile]] = {}
        self._scale = hashlib.sha256((_boot_id() if boot_id is None else boot_id).encode()).digest()[:16]
        try:
            private_folder(directory)
        except OSError as error:
            raise _store_error(directory, error) from error

    def acquire(self, key: str, token: int, rates: Sequence[Rate], hold: float, caller: Caller) -> float:
        """See ``WindowStore``."""

        def take(file: WindowFile) -> float:
            file.remember_for(longest_window(rates))
            return file.acquire(token, rates, hold, caller)

        return self._have(key, take, caller)

    def release(self, key: str, token: int, ago: float, caller: Caller) -> None:
        """See ``WindowStore``."""
        self._have(key, lambda file: file.move(token, file.now - ago), caller)

    def pause(self, key: str, seconds: float, why: str, caller: Caller) -> None:
        """See ``WindowStore``."""
        self._have(key, lambda file: file.pause_until(file.now + seconds, why), caller)

    def pause_of(self, key: str, caller: Caller) -> Pause:
        """See ``WindowStore``."""
        return self._have(key, lambda file: file.pause, caller)

    def way_out(self, key: str) -> str:
        """See ``WindowStore``."""
        return f"delete {self._path(key)}"

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _path(self, key: str) -> Path:
        return self._directory / quote(key, safe="")

    def _have(self, key: str, work: Callable[[WindowFile], T], caller: Caller) -> T:
        """What some work with the windows of a key returns."""
        # A child that was forked in the midst of a call has calls of its own.
        own = os.getpid(), key
        calls = self._calls.get(own) or self._calls.setdefault(
            own, JointCalls(partial(self._make, self._path(key)))
        )
        return calls.do(work, caller)

    def _make(self, path: Path, caller: Caller, take: Callable[[], Sequence[Call[WindowFile]]]) -> None:
        """Make the calls that wait for a file."""
        calls: Sequence[Call[WindowFile]] = ()
        failure: BaseException | None = None
        try:
            with locked(path, caller) as descriptor:
                calls = take()
                file = WindowFile(descriptor, read(descriptor, path, self._scale, caller.clock))
                for call in calls:
                    call.make(file)
                file.save()
        except OSError as error:
            failure = error
            raise _store_error(path, error) from error
        except BaseException as error:
            failure = error
            raise
        finally:
            for call in calls:
                call.end(failure and _not_made(path, failure))


def _boot_id() -> str:
    """What changes when the monotonic clock of this process counts from another moment."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii") + os.readlink("/proc/self/ns/time")  # noqa: PTH115 - not a path
    except OSError:
        return ""


def _not_made(path: Path, failure: BaseException) -> RateLimitStoreError:
    """What those are told whose call another thread was to make."""
    if isinstance(failure, OSError):
        return _store_error(path, failure)
    return StoreUnreachable(
        f"A thread of this task was broken off with the rate-limit windows at {path} in its hands, so nothing is sent."
    )


def _store_error(path: Path, error: OSError) -> RateLimitStoreError:
    return RateLimitStoreError(
        f"The rate-limit windows at {path} cannot be kept ({error.strerror or error}), so nothing is sent. "
        "Make the directory writable for the user that runs the tasks, and for nobody else, on a local disk."
    )
