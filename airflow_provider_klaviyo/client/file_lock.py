"""The lock of a file that all processes of a host share, waited for no longer than the caller has time."""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from airflow_provider_klaviyo.client.private_files import open_private
from airflow_provider_klaviyo.client.rate_limit_waits import Caller, StoreUnreachable, WaitStopped

_FIRST_PAUSE, _LONGEST_PAUSE = 0.000_2, 0.02
"""Seconds between two looks: a holder is through in a tenth of a millisecond, unless it is stopped."""

_LEAST = 1.0
"""Seconds that are waited in any case: close to a deadline, others who are just at work would look like a failure."""

_LOCKS = Path("/proc/locks")

_STOPPED = {"T": ", which is stopped", "t": ", which is being traced"}


@contextmanager
def locked(path: Path, caller: Caller) -> Iterator[int]:
    """Hold the lock of a file, which is created if there is none; gives its descriptor.

    The kernel frees the lock of a process that dies, but not that of one that is stopped.

    :raises StoreUnreachable: when another process holds it until the caller's deadline, and for a second.
    :raises WaitStopped: when told to stop.
    :raises OSError: when the file cannot be opened.
    """
    with _open_locked(path, caller) as file:
        try:
            yield file.fileno()
        finally:
            # Closing is not enough: a child forked by another thread meanwhile has the same lock in its hands.
            fcntl.flock(file, fcntl.LOCK_UN)


def _open_locked(path: Path, caller: Caller) -> FileIO:
    """Open anew each time: a descriptor kept across ``fork`` would give one lock to parent and child."""
    began, pause, patience = caller.clock.monotonic(), _FIRST_PAUSE, max(caller.seconds_left, _LEAST)
    while True:
        file = FileIO(os.fspath(path), "r+", opener=_opened_or_made)
        try:
            is_ours = _is_ours(file)
            if is_ours and os.fstat(file.fileno()).st_nlink:
                return file
            waited = caller.clock.monotonic() - began
            if not is_ours:
                _check(file, path, caller, waited, patience)
        except BaseException:
            file.close()
            raise
        file.close()  # another's, or deleted meanwhile: others use another file by now
        if not is_ours:
            caller.clock.sleep(random.uniform(0.5, 1.0) * min(pause, patience - waited))  # noqa: S311 - jitter
            pause = min(2 * pause, _LONGEST_PAUSE)


def _opened_or_made(path: str, flags: int) -> int:
    return open_private(path, flags | os.O_CREAT)


def _check(file: FileIO, path: Path, caller: Caller, waited: float, patience: float) -> None:
    """Whether to wait on for a lock that another has."""
    if caller.stop():
        msg = f"Told to stop while waiting for the lock of {path}."
        raise WaitStopped(msg)
    if waited >= patience:
        raise StoreUnreachable(_held(path, file, waited))


def _is_ours(file: FileIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(path: Path, file: FileIO, seconds: float) -> str:
    holder = _holder(file)
    condition = _condition(holder) if holder else ""
    who = f"process {holder}{condition}" if holder else "another process"
    if condition in _STOPPED.values():
        advice = f"Continue it (kill -CONT {holder}) or end it"
    else:
        advice = f"If it hangs, end it ({f'kill {holder}' if holder else f'fuser {path} names it'})"
    return (
        f"The rate-limit windows at {path} are locked by {who}, for {seconds:.0f} s now, so nothing is sent. "
        f"{advice}, or restart the host."
    )


def _holder(file: FileIO) -> int:
    """The process that has the lock, as far as the kernel tells; 0 where it does not."""
    found = os.fstat(file.fileno())
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        locks = [line.split() for line in _LOCKS.read_text("ascii").splitlines()]
    except OSError:
        return 0
    return next((int(lock[4]) for lock in locks if lock[1] == "FLOCK" and lock[5] == place), 0)


def _condition(process: int) -> str:
    """What is the matter with a process, where the kernel tells."""
    try:
        state = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
    return (_STOPPED | {"D": ", which waits for its disk"}).get(state, "")
