"""The folder in which a run keeps what does not fit into memory; gone after it.

A run that is killed leaves its folder, with rows of people in it. So each folder has a file that its run has locked,
and whoever comes next on this machine deletes the folders whose lock the kernel has freed.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError

log = logging.getLogger(__name__)

_PREFIX = "klaviyo-"
_LOCK = ".in-use"

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_NO_ROOM_FOR_DATABASE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)


class Others(NamedTuple):
    """Folders of other runs on this machine: those that were deleted, and those whose run is at work."""

    deleted: int
    at_work: int


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder. What killed runs have left is deleted before.

    :raises KlaviyoRetryableError: when none can be made.
    """
    delete_abandoned(lambda folder, why: log.info("%s stays: %s", folder, why))
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX)))
            lock = stack.enter_context((folder / f"{_LOCK}.draft").open("wb"))
        except OSError as error:
            raise KlaviyoRetryableError(_no_room("the temporary folder", error)) from error
        with suppress(OSError):  # a disk without locks: there, no folder is ever taken for abandoned
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f"{_LOCK}.draft").rename(folder / _LOCK)
        yield folder


def delete_abandoned(left: Callable[[object, object], None]) -> Others:
    """Delete what killed runs have left on this machine.

    :param left: told of each folder that could not be deleted, and why.
    """
    deleted = at_work = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if folder.lstat().st_uid != os.geteuid():
                continue
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                deleted += 1
        except BlockingIOError:
            at_work += 1
        except (FileNotFoundError, NotADirectoryError):
            continue  # it is something else's, or being deleted
        except OSError as error:
            left(folder, error)
    return Others(deleted, at_work)


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Say in words that there is no room in the folder of a run.

    :raises KlaviyoRetryableError: for what the system and SQLite say then.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if getattr(error, "errno", None) not in _NO_ROOM and code not in _NO_ROOM_FOR_DATABASE:
            raise
        raise KlaviyoRetryableError(_no_room(str(folder), error)) from error


def _no_room(where: str, error: Exception) -> str:
    return (
        f"There is no room in {where} for what a run keeps beside memory ({error}). Make some, or set the environment "
        "variable TMPDIR to a folder that has it."
    )
