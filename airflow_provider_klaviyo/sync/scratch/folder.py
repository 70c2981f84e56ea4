"""The folder in which a run keeps what does not fit into memory; gone after it."""

from __future__ import annotations

import errno
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_NO_ROOM_FOR_DATABASE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder.

    :raises KlaviyoRetryableError: when none can be made.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="klaviyo-")
    except OSError as error:
        raise KlaviyoRetryableError(_no_room("the temporary folder", error)) from error
    with folder as path:
        yield Path(path)


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
